from __future__ import annotations

import importlib.util

import pytest

pytest.importorskip("basicsr")

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.log_writers import guarded_tensorboard
from mprnet_plugin.hosts.basicsr.option_checks import check_wandb
from mprnet_plugin.hosts.basicsr.run_options import LoggerOptions, WandbOptions


class Full:
    """A writer on a full disk."""

    calls = 0

    def add_scalar(self, *_: object) -> None:
        self.calls += 1
        raise OSError(28, "No space left on device")


def test_tensorboard_that_fails_is_said_once_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    full = Full()
    writer = guarded_tensorboard(lambda: full)
    assert writer is not None
    for step in range(3):
        writer.add_scalar("l_pix", 0.5, step)
    writer.close()
    assert full.calls == 1
    assert capsys.readouterr().err == (
        "mprnet-plugin: TensorBoard's files cannot be written ([Errno 28] No space left on device); the training goes "
        "on without\n"
    )


def test_a_writer_that_cannot_even_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    def make() -> None:
        raise OSError(30, "Read-only file system")

    writer = guarded_tensorboard(make)
    assert writer is not None  # the host calls it without asking
    writer.add_scalar("l_pix", 0.5, 1)
    assert "Read-only file system" in capsys.readouterr().err
    assert guarded_tensorboard(lambda: None) is None


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_wandb_that_is_not_there() -> None:
    logger = LoggerOptions(print_freq=1, save_checkpoint_freq=1, wandb=WandbOptions(project="mprnet"))
    with pytest.raises(InputError, match=r"logger:wandb: is not installed: pip install wandb, or leave it out"):
        check_wandb(logger)
    check_wandb(logger.model_copy(update={"wandb": WandbOptions()}))  # as in the host's own files: off
