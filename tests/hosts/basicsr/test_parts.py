"""Schedules, losses and averages by the names of options files."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.options import StepOptions, TrainOptions
from mprnet_plugin.training.step import TrainingStep
from mprnet_plugin.training.weighted_loss import WeightedLoss

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.parts import build_losses, check_schedule, schedulers
from mprnet_plugin.hosts.basicsr.resumable_model import _settings

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [4]},
    "MultiStepRestartLR": {"milestones": [4]},
    "ConstantLR": {},
    "LinearLR": {},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 9},
    "CosineAnnealingLR": {"T_max": 10},
    "CosineAnnealingRestartLR": {"periods": [20]},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
    "CyclicLR": {"base_lr": 1e-4, "max_lr": 1e-2, "step_size_up": 3},
    "OneCycleLR": {"max_lr": 1e-2, "total_steps": 20},
    "WarmupCosineLR": {"warmup_epochs": 1, "cosine_epochs": 9, "iters_per_epoch": 1, "eta_min": 0},
}
TRAIN: dict[str, Any] = {
    "total_iter": 10,
    "optim_g": {"type": "Adam", "lr": 1e-3},
    "scheduler": {"type": "StepLR", "step_size": 3},
}


def training(name: str) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = torch.optim.Adam(nn.Linear(1, 1).parameters(), lr=1e-3)
    return optimizer, schedulers()[name](optimizer, **SCHEDULES[name])


def test_schedules_of_the_host_and_of_torch_are_there() -> None:
    assert SCHEDULES.keys() <= schedulers().keys()  # a later torch may have more
    assert not {"LambdaLR", "SequentialLR", "ReduceLROnPlateau", "_LRScheduler"} & schedulers().keys()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore:Detected call of")  # the optimiser takes no steps here
def test_a_schedule_goes_on_from_a_checkpoint_of_plain_data(name: str) -> None:
    optimizer, scheduler = training(name)
    rates, stream = [], io.BytesIO()
    for step in range(12):
        if step == 5:
            torch.save([optimizer.state_dict(), scheduler.state_dict()], stream)
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    assert len(set(rates)) > 1
    resumed, second = training(name)
    before = _settings(second)
    stream.seek(0)
    states = torch.load(stream, weights_only=True)
    resumed.load_state_dict(states[0])
    second.load_state_dict(states[1])
    assert _settings(second) == before  # else resuming would say that the options have changed
    for rate in rates[5:]:
        assert resumed.param_groups[0]["lr"] == rate
        second.step()


def test_a_schedule_that_ends_before_the_run_is_refused() -> None:
    check_schedule(training("OneCycleLR")[1], 20)
    with pytest.raises(InputError, match="total_steps are 20, fewer than train:total_iter 21"):
        check_schedule(training("OneCycleLR")[1], 21)


def test_losses_have_their_labels_weights_and_stages() -> None:
    listed: list[dict[str, Any]] = [
        {"type": "L1Loss", "weight": 3},
        {"type": "MSELoss", "stages": [3, 1]},
        {"type": "L1Loss", "loss_weight": 0.5, "weight": 4, "reduction": "sum", "stages": [2]},
    ]
    section = {**TRAIN, "edge_opt": {"type": "EdgeLoss", "loss_weight": 0.05}, "losses": listed}
    losses = build_losses(TrainOptions.read(section))
    assert list(losses) == ["l_edge", "l_L1Loss", "l_MSELoss", "l_L1Loss_2"]
    step = TrainingStep(StepOptions(), losses)
    gt = torch.zeros(1, 1, 2, 2)
    found = step.stage_losses([torch.full_like(gt, value) for value in (3.0, 2.0, 1.0)], gt)
    assert {label: value.item() for label, value in found.items() if "edge" not in label} == {
        **{f"l_L1Loss_stage{number}": 3.0 * number for number in (1, 2, 3)},
        "l_MSELoss_stage1": 1.0,
        "l_MSELoss_stage3": 9.0,
        "l_L1Loss_2_stage2": 4 * 0.5 * 2 * 4,
    }
    assert sum("edge" in label for label in found) == 3
    with pytest.raises(InputError, match=r"l_MSELoss is of the stages \[3, 1\], but the network gives 2 images"):
        step.stage_losses([gt, gt], gt)


def test_losses_of_several_numbers_are_added() -> None:
    """The host's perceptual loss returns two, None where one is off."""

    class Two(nn.Module):
        def forward(self, restored: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor | None]:
            return (restored - sharp).abs().sum(), None

    assert WeightedLoss(Two(), 2.0)(torch.ones(2), torch.zeros(2)).item() == 4
