from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.weights.checkpoint import load_network
from tests.helpers import TINY, fill

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr import disk as module
from mprnet_plugin.hosts.basicsr import resume
from mprnet_plugin.hosts.basicsr.disk import Disk, Validated, optimizer_bytes, weight_bytes
from mprnet_plugin.training.checkpoints import expendable


def disk(folder: Path, resume_state: str | None = None, total: int = 100, **logger: Any) -> Disk:
    path = {"models": str(folder / "models"), "training_states": str(folder / "states"), "resume_state": resume_state}
    return Disk({"path": path, "logger": {"save_checkpoint_freq": 10, **logger}, "train": {"total_iter": total}})


def save(folder: Path, *iterations: int) -> None:
    for iteration in iterations:
        for name in ("models", "states"):
            (folder / name).mkdir(exist_ok=True)
        net = nn.Linear(1, 1).state_dict()
        torch.save({"params": net}, folder / "models" / f"net_g_{iteration}.pth")
        state = {"iter": iteration, "epoch": 0, "optimizers": [], "schedulers": []}
        torch.save(state, folder / "states" / f"{iteration}.state")


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def pairs(*iterations: int) -> list[str]:
    return sorted(name for one in iterations for name in (f"net_g_{one}.pth", f"{one}.state"))


def newest(folder: Path) -> int:
    opt = {"path": {"models": str(folder / "models"), "training_states": str(folder / "states")}}
    found = resume._newest(opt)
    assert found is not None
    return int(found.state["iter"])


@pytest.mark.parametrize(("newest", "every", "gone"), [(1, None, [10, 20, 30]), (3, None, [10]), (1, 20, [10, 30])])
def test_which_may_go(newest: int, every: int | None, gone: list[int]) -> None:
    assert expendable([30, 10, 40, 20], newest, every) == gone
    assert expendable([], newest, every) == []


def test_the_newest_and_the_milestones_stay_and_nothing_else_is_touched(tmp_path: Path) -> None:
    save(tmp_path, 10, 20, 30, 40, 50, 60)
    others = [tmp_path / "models" / name for name in ("net_g_best.pth", "net_g_latest.pth", "net_g_5_mine.pth")]
    for path in others:
        path.touch()
    disk(tmp_path, keep_checkpoints=2, keep_every=20).prune(50)  # 60 is of a future that is trained anew
    assert left(tmp_path) == sorted([*pairs(20, 40, 50, 60), *(path.name for path in others)])
    disk(tmp_path).prune(60)  # without the option all stay
    assert len(left(tmp_path)) == 8 + len(others)


def test_a_state_that_the_options_name_stays(tmp_path: Path) -> None:
    save(tmp_path, 10, 20, 30, 40)
    disk(tmp_path, str(tmp_path / "states" / "20.state"), keep_checkpoints=1).prune(40)
    assert left(tmp_path) == pairs(20, 40)


@pytest.mark.parametrize("killed", range(5))
def test_a_kill_at_any_moment_leaves_whole_checkpoints_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    save(tmp_path, 10, 20, 30)
    unlink, count = Path.unlink, itertools.count()

    def deadly(path: Path, missing_ok: bool = False) -> None:
        if next(count) == killed:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", deadly)
        if killed < 4:
            with pytest.raises(KeyboardInterrupt):
                disk(tmp_path, keep_checkpoints=1).prune(30)
        else:
            disk(tmp_path, keep_checkpoints=1).prune(30)
    assert newest(tmp_path) == 30
    names = left(tmp_path)  # never a state without its network
    assert all(f"net_g_{name.removesuffix('.state')}.pth" in names for name in names if name.endswith(".state"))
    disk(tmp_path, keep_checkpoints=1).prune(30)
    assert left(tmp_path) == pairs(30)


def test_a_network_without_a_state_does_not_count_as_one_of_the_newest(tmp_path: Path) -> None:
    """As killed between the two files of iteration 40, and resumed from 20 since 30 is damaged."""
    save(tmp_path, 10, 20, 30, 40)
    (tmp_path / "states" / "40.state").unlink()
    (tmp_path / "states" / "10.state").unlink()
    disk(tmp_path, keep_checkpoints=2).prune(30)
    assert left(tmp_path) == sorted([*pairs(20, 30), "net_g_40.pth"])


def test_sizes_and_deletions_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10, 20, 30)
    monkeypatch.setattr(module, "get_root_logger", logging.getLogger)  # the host's own does not propagate
    with caplog.at_level("INFO"):
        disk(tmp_path, total=1500).announce(80_000_000, 160_000_000)
        disk(tmp_path, total=1500, keep_checkpoints=2, keep_every=500).announce(80_000_000, 160_000_000)
        disk(tmp_path, total=10**9).announce(80_000_000, None)
    text = [" ".join(record.getMessage().split()) for record in caplog.records]
    assert text[0] == (
        "Disk: a checkpoint is 240.0 MB (weights 80.0 MB, state 160.0 MB), all 150 of this run 36.0 GB; all stay, "
        "unless logger:keep_checkpoints says how many"
    )
    assert text[1].endswith("newest 2 and every 500th iteration's stay, older ones are deleted: 960.0 MB in the end")
    assert "2 of the 3 checkpoints that are there will be deleted at the next save, iterations 10 to 20" in text[2]
    assert "state of unknown size" in text[3]
    assert "make room" in text[4]
    assert len(text) == 5


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "NAdam", "Adagrad"])
def test_sizes_are_those_of_the_files(tmp_path: Path, name: str) -> None:
    net = MPRNet(**TINY)
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 5)  # wraps the optimiser's step
    said = optimizer_bytes(optimizer)
    assert said is not None
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    tensors = [value for state in optimizer.state.values() for value in state.values()]
    assert said == sum(value.nbytes for value in tensors)
    # PReLU has one number and many names.
    assert weight_bytes(net) == sum(parameter.nbytes for parameter in net.parameters())


def test_an_optimiser_that_looks_at_values_is_of_unknown_size() -> None:
    assert optimizer_bytes(torch.optim.ASGD(nn.Linear(2, 2).parameters())) is None


def test_the_best_is_kept_over_resumptions_and_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    best = tmp_path / "models" / "net_g_best.pth"
    net = fill(MPRNet(**TINY))

    def validated(value: float, iteration: int, metric: str = "psnr", lower: bool = False) -> Any:
        scaled = {name: one * iteration for name, one in net.state_dict().items()}
        networks = {"params": net.state_dict(), "params_ema": scaled}
        disk(tmp_path, safetensors=True).keep_best(networks, Validated("GoPro", metric, value, iteration, lower))
        return torch.load(best, weights_only=True)["best"]

    first = {"dataset": "GoPro", "metric": "psnr", "value": 30.0, "iter": 1, "lower_is_better": False}
    assert validated(30.0, 1) == first
    assert validated(29.0, 2) == first
    assert validated(30.0, 3) == first  # the first of equals, as in the log
    assert validated(float("nan"), 4) == first
    assert validated(31.0, 5)["iter"] == 5
    for path in (best, best.with_suffix(".safetensors")):  # what everybody reads: the average that was validated
        loaded = load_network(path).state_dict()
        assert all(torch.equal(loaded[name], value * 5) for name, value in net.state_dict().items())
    assert validated(0.5, 6, "lpips", lower=True)["iter"] == 6  # another metric has no best yet
    assert validated(0.6, 7, "lpips", lower=True)["iter"] == 6
    assert validated(0.4, 8, "lpips", lower=True)["iter"] == 8
    best.write_bytes(best.read_bytes()[:-50])
    assert validated(0.9, 9, "lpips", lower=True)["iter"] == 9
