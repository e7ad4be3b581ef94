from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.schedules import WarmupCosineLR, describe, learning_rate, with_numbers
from tests.helpers import VECTORS

RECIPES = {"deblurring": (3000, 2997), "denoising": (80, 117), "deraining": (250, 247)}
"""Task: epochs of training, epochs of the cosine."""
TOLERANCE = 5e-4


def optimizer(*rates: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates or (2e-4,)]
    return torch.optim.Adam(groups, lr=1)


def scheduler(opt: torch.optim.Optimizer, **changes: Any) -> WarmupCosineLR:
    options = {"warmup_epochs": 3, "cosine_epochs": 7, "eta_min": 1e-6, "iters_per_epoch": 4}
    return WarmupCosineLR(opt, **(options | changes))


def run(opt: torch.optim.Optimizer, schedule: WarmupCosineLR, first: int, last: int) -> list[float]:
    """Step as the host does: before each iteration but the first."""
    rates = []
    for iteration in range(first, last + 1):
        if iteration > 1:
            opt.step()
            schedule.step()
        rates.append(opt.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("task", RECIPES)
def test_every_epoch_of_the_recipe(task: str) -> None:
    epochs, cosine = RECIPES[task]
    with np.load(VECTORS / "lr_per_epoch.npz") as vectors:
        expected = vectors[task]
    assert len(expected) == epochs
    closed = [learning_rate(epoch, 2e-4, 3, cosine, 1e-6) for epoch in range(epochs)]
    assert np.abs(np.array(closed) / expected - 1).max() < TOLERANCE
    opt = optimizer()
    rates = run(opt, scheduler(opt, cosine_epochs=cosine, iters_per_epoch=2), 1, 2 * epochs)
    np.testing.assert_array_equal(np.array(rates).reshape(epochs, 2), np.array(closed)[:, None].repeat(2, 1))


@pytest.mark.parametrize(
    ("task", "pairs", "total", "written"),
    [
        ("deblurring", 2103, 396_000, {}),
        ("denoising", 96_000, 480_000, {"cosine_epochs": 117}),
        ("deraining", 13_712, 214_250, {}),
    ],
)
def test_auto_is_what_the_recipes_had_written_out(task: str, pairs: int, total: int, written: dict[str, int]) -> None:
    epochs, cosine = RECIPES[task]
    length = -(-pairs // 16)
    section = with_numbers({"warmup_epochs": 3, "eta_min": 1e-6, **written}, total, length)
    assert (section["cosine_epochs"], section["iters_per_epoch"]) == (cosine, length)
    auto, numbers = (
        WarmupCosineLR(optimizer(), **options)
        for options in (section, {**section, "cosine_epochs": cosine, "iters_per_epoch": total // epochs})
    )
    for step in range(0, total, 97):
        auto.last_epoch = numbers.last_epoch = step
        assert auto.get_lr() == numbers.get_lr()  # to the last bit


@pytest.mark.parametrize(
    ("options", "total", "message"),
    [
        (
            {},
            1000,
            "396 iterations of warm-up (3 epochs of 132) to 0.0002, then a cosine to 1e-06 at iteration 1,000, with",
        ),
        ({"cosine_epochs": 5}, 1000, "at iteration 1,056; the run ends before, at 1,000, with a rate of 2e-05"),
        ({"cosine_epochs": 2}, 1000, "iteration 660; the run's last 340 of 1,000 iterations stay there"),
        ({}, 300, "within which the run's 300 iterations end"),
        ({"iters_per_epoch": 10}, 1000, "30 iterations of warm-up (3 epochs of 10)"),
        ({"cosine_epochs": 97.5, "iters_per_epoch": 10}, 1000, "at iteration 1,005, with the run"),
    ],
)
def test_where_a_schedule_ends_is_said(options: dict[str, Any], total: int, message: str) -> None:
    section = with_numbers({"warmup_epochs": 3, "eta_min": 1e-6, **options}, total, 132)
    assert message in describe(section, 2e-4, total)


def test_auto_needs_to_know_the_data() -> None:
    with pytest.raises(
        InputError, match="x:iters_per_epoch: auto is counted from the training set, which is not known"
    ):
        with_numbers({"warmup_epochs": 3, "eta_min": 1e-6}, 1000, 0, "x")
    assert with_numbers({"warmup_epochs": 0, "eta_min": 0.0, "iters_per_epoch": 4}, 10, 0)["cosine_epochs"] == 2.5


def test_cosine_is_torchs() -> None:
    opt, reference = optimizer(), optimizer()
    ours = run(opt, scheduler(opt, warmup_epochs=0, iters_per_epoch=1), 1, 8)
    theirs = CosineAnnealingLR(reference, 7, 1e-6)
    for rate in ours:
        assert rate == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        reference.step()
        theirs.step()


def test_smooth_form_passes_through_the_epochs_and_never_jumps() -> None:
    opt, other = optimizer(), optimizer()
    stepped = run(opt, scheduler(opt, iters_per_epoch=50), 1, 500)
    smooth = run(other, scheduler(other, iters_per_epoch=50, per_epoch=False), 1, 500)
    np.testing.assert_allclose(smooth[::50], stepped[::50], rtol=1e-12)
    assert np.abs(np.diff(smooth)).max() < 2e-4 / 100
    assert len(set(stepped)) == 9  # the third epoch's and the fourth's are equal
    assert len(set(smooth)) > 400


def test_stays_at_the_end() -> None:
    assert learning_rate(10, 2e-4, 3, 7, 1e-6) == 1e-6
    assert learning_rate(1000, 2e-4, 3, 7, 1e-6) == 1e-6


@pytest.mark.parametrize("per_epoch", [True, False])
@pytest.mark.parametrize("stop", [1, 5, 13])
def test_resumed_run_goes_on_exactly(per_epoch: bool, stop: int) -> None:
    opt = optimizer()
    whole = run(opt, scheduler(opt, per_epoch=per_epoch), 1, 40)
    first = optimizer()
    schedule = scheduler(first, per_epoch=per_epoch)
    rates = run(first, schedule, 1, stop)
    second = optimizer()
    resumed = scheduler(second, per_epoch=per_epoch)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert rates + run(second, resumed, stop + 1, 40) == whole


def test_groups_keep_their_own_rates() -> None:
    opt = optimizer(2e-4, 1e-3)
    schedule = scheduler(opt)
    assert schedule.get_last_lr() == [pytest.approx(2e-4 / 3), pytest.approx(1e-3 / 3)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_epochs": -1}, "warmup_epochs: -1 must be a whole number, at least 0"),
        ({"cosine_epochs": 0}, "cosine_epochs: 0 must be auto or a number, above 0"),
        ({"iters_per_epoch": 1.5}, "iters_per_epoch: 1.5 must be"),
        ({"iters_per_epoch": "auto"}, "must be numbers here"),
        ({"eta_min": "1e-6"}, "eta_min: '1e-6' must be a number"),
        ({"eta_min": float("nan")}, "eta_min: nan must be a number"),
    ],
)
def test_numbers_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scheduler(optimizer(), **changes)
