"""Names of weights: ``mprnet://TASK``, ``mprnet://demo/TASK``, files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.weights import choice
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.download import CACHE_VARIABLE, demo_weights


@pytest.mark.parametrize("task", list(TASKS))
def test_demo_weights_by_full_and_short_name_without_a_network(task: str) -> None:
    path = choice.find_file(f"mprnet://demo/{task}")
    assert path == demo_weights(task) == choice.find_file(f"mprnet://demo/{TASKS[task].short}")
    assert load_network(path).config.n_feat == 16


def test_published_weights_come_from_the_cache_or_their_publisher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(choice, "fetch", lambda task: tmp_path / f"{task}.pdparams")
    assert choice.find_file("mprnet://deblur") == tmp_path / "Deblurring.pdparams"
    assert choice.published_task("mprnet://deblur") == "Deblurring"


def test_anything_else_is_a_file(tmp_path: Path) -> None:
    for name in ("runs/net.pth", "mprnet://runs/net.pth", "demo/Denoising", "mprnet://demo/net.pth", "~nosuchuser/x"):
        assert choice.published_task(name) is None
        assert choice.find_file(name) == Path(name.removeprefix("mprnet://"))


def test_names_that_mean_nothing_are_one_line() -> None:
    with pytest.raises(InputError, match="task 'Denoisen' is unknown, did you mean 'denoise'"):
        choice.find_file("mprnet://demo/Denoisen")
    with pytest.raises(InputError, match="Deblurring-light: these weights have no address of their own"):
        choice.find_file("mprnet://Deblurring-light")
