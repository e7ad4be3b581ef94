"""Trainings that are killed again and again at random moments end as if nothing had happened.

``MPRNET_KILLS=50`` kills fifty times, in each way; CI does it once, in the hardest way alone.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.test_interruptions import TRAIN, Running, experiment, ranks_of, records, start
from tests.e2e.tiny_run import make_folder, models, options, same
from tests.helpers import write_options

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MPRNET_KILLS", "1"))
TWO = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", *TRAIN, "--launcher", "pytorch")
COMMANDS = {1: TRAIN, 2: TWO}
WAYS = [(1, signal.SIGKILL), (1, signal.SIGTERM), (2, signal.SIGTERM), (2, signal.SIGKILL)][0 if KILLS > 1 else -1 :]
ITERATIONS = 20 + 25 * KILLS - KILLS % 2 * 5
"""Enough that the last kill does not come after the end: some ten iterations lie between two of them."""


class Uninterrupted(NamedTuple):
    """A run that nobody disturbed."""

    folder: Path
    losses: dict[int, tuple[str, ...]]


def long_options() -> dict[str, Any]:
    """Save and validate all the time, load in processes, mix: everything that a kill may interrupt."""
    content = options()
    content["train"] |= {
        "total_iter": ITERATIONS,
        "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [ITERATIONS]},
        "mixup": {"alpha": 0.6, "start_iter": 2},
    }
    content["datasets"]["train"] |= {"num_worker_per_gpu": 2, "persistent_workers": True, "batch_size": 2}
    content["val"]["val_freq"] = content["logger"]["save_checkpoint_freq"] = 5
    content["val"]["save_img"] = True
    content["logger"] |= {"keep_checkpoints": 2, "save_best": "psnr", "safetensors": True}
    return content


def losses(text: str) -> dict[int, tuple[str, ...]]:
    """Return what was learnt in each iteration, as logged; of one that was trained again, the last."""
    found = {}
    for number, rest in re.findall(r"iter: +([\d,]+)(.*l_total: .*)", text):
        found[int(number.replace(",", ""))] = tuple(re.findall(r"lr:\([^)]*\)|(?:l_\w+|grad_norm): \S+", rest))
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Uninterrupted]:
    """Return what gives the undisturbed run on a number of processes, made once."""

    @functools.cache
    def run_through(processes: int) -> Uninterrupted:
        folder = make_folder(tmp_path_factory.mktemp("straight"))
        write_options(folder, long_options())
        status, text = start(folder, *COMMANDS[processes]).finish(1800)
        assert status == 0, text
        return Uninterrupted(folder, losses(text))

    return run_through


def end_at_random(running: Running, processes: int, number: signal.Signals, draw: np.random.Generator) -> int | None:
    """Send a signal some time after the first iteration, or in one of ten times while it starts; return the status."""
    wait = draw.uniform(1.5, 6) if draw.random() < 0.1 else draw.uniform(0, 1.5)
    if wait < 1.5:
        while running.process.poll() is None and "l_total" not in running.log.read_text():
            time.sleep(0.01)
    end = time.monotonic() + wait
    while time.monotonic() < end and running.process.poll() is None:
        time.sleep(0.005)
    if running.process.poll() is not None:
        return running.process.returncode
    ranks = ranks_of(running) if processes == 2 and number == signal.SIGKILL and draw.random() < 0.5 else []
    if ranks:  # one process alone; torchrun then ends the rest
        os.kill(ranks[-1], number)
    else:
        os.killpg(running.process.pid, number)
    return running.process.wait(120)


def assert_as_uninterrupted(folder: Path, texts: list[str], straight: Uninterrupted) -> None:
    last = f"net_g_{ITERATIONS}.pth"
    assert same(models(folder) / last, models(straight.folder) / last)
    assert same(models(folder) / "net_g_latest.pth", models(straight.folder) / "net_g_latest.pth")
    assert records(folder) == records(straight.folder)
    best, expected = (
        torch.load(models(one) / "net_g_best.pth", weights_only=True) for one in (folder, straight.folder)
    )
    assert best.pop("best") == expected.pop("best")
    assert all(torch.equal(value, expected[group][key]) for group in expected for key, value in best[group].items())
    assert len(list((experiment(folder) / "training_states").iterdir())) == 2
    for name in ("latest", "best"):
        # Not their bytes: the library writes the entries of its header in any order.
        shared = [load_file(models(one) / f"net_g_{name}.safetensors") for one in (folder, straight.folder)]
        assert shared[0].keys() == shared[1].keys()
        assert all(torch.equal(shared[1][key], value) for key, value in shared[0].items())
    assert losses("".join(texts)) == straight.losses
    pictures = [
        sorted(p.name for p in (experiment(f) / "visualization").rglob("*.png")) for f in (folder, straight.folder)
    ]
    assert pictures[0] == pictures[1]
    assert not list((folder / "experiments").rglob(".mprnet-*"))


@pytest.mark.parametrize(("processes", "number"), WAYS)
@pytest.mark.timeout(7200)
def test_random_ends_change_nothing(
    tmp_path: Path, uninterrupted: Callable[[int], Uninterrupted], processes: int, number: signal.Signals
) -> None:
    straight = uninterrupted(processes)
    draw = np.random.default_rng([processes, number])
    folder = make_folder(tmp_path)
    write_options(folder, long_options())
    texts: list[str] = []
    statuses: list[int | None] = []
    for _ in range(KILLS if number == signal.SIGKILL else max(KILLS * 3 // 10, 1)):
        running = start(folder, *COMMANDS[processes], "--auto_resume")
        statuses.append(end_at_random(running, processes, number, draw))
        texts.append(running.log.read_text())
    assert 0 not in statuses, "the run was over before its last kill"
    status, text = start(folder, *COMMANDS[processes], "--auto_resume").finish(1800)
    assert status == 0, text
    assert_as_uninterrupted(folder, [*texts, text], straight)
    if number == signal.SIGTERM and processes == 1:
        begun = [status for status, text in zip(statuses, texts, strict=True) if "l_total" in text]
        assert begun == [128 + signal.SIGTERM] * len(begun)
