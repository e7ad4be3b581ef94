"""What the checks say of losses, schedules, files that stay and early ends."""

from __future__ import annotations

from typing import Any

import pytest

from mprnet_plugin.errors import InputError

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.command_line import apply_override
from mprnet_plugin.hosts.basicsr.option_checks import check_options
from tests.hosts.basicsr.test_options import opt

__all__ = ["opt"]


@pytest.mark.parametrize(
    "override",
    [
        "train:losses=[{type: L1Loss}, {type: PSNRLoss, weight: 0.1, stages: [3]}]",
        "train:scheduler={type: CosineAnnealingLR, T_max: 6}",
        "train:scheduler={type: OneCycleLR, max_lr: 1e-3, total_steps: 6}",
        "logger={print_freq: 1, save_checkpoint_freq: 1, keep_checkpoints: 3, keep_every: 5, save_best: psnr}",
        "logger:save_best=val/psnr",
        "val:early_stopping={patience: 3}",
        "datasets:val:protocol=gopro",
    ],
)
def test_good_options_pass(opt: dict[str, Any], override: str) -> None:
    del opt["val"]["metrics"]["psnr"]["crop_border"]
    opt["val"]["metrics"]["psnr"] = {"type": "calculate_psnr_rgb"}
    apply_override(opt, override)
    check_options(opt, "run.yml", is_train=True)


@pytest.mark.parametrize(
    ("override", "message"),
    {
        "train:losses=[{type: L2Loss}]": "train:losses:0:type: 'L2Loss' is not known, did you mean 'L1Loss'",
        "train:losses=[{type: L1Loss, wieght: 1}]": "option train:losses:0:wieght is read by nobody",
        "train:losses=[{type: L1Loss, weight: 0}]": "train:losses:0:weight: 0 must be a number, above 0",
        "train:losses=[{weight: 1}]": "option train:losses:0:type is missing",
        "train:losses=[3]": "train:losses:0: 3 must be",
        "train:losses=[{type: L1Loss, stages: [4]}]": "stages: [4], but MPRNet has the stages 1 to 3",
        "train:losses=[{type: L1Loss, stages: []}]": "train:losses:0:stages: [] must be a list",
        "train:losses=[{type: L1Loss, reduction: none}]": "train:losses:0:reduction: none leaves no number",
        "train:losses=[{type: WeightedTVLoss}]": "train:losses:0:type: WeightedTVLoss takes weight, not the sharp",
        "train:perceptual_opt={type: GANLoss, gan_type: vanilla}": "GANLoss takes target_is_real, not the sharp",
        "train:pixel_opt=~": "train: pixel_opt is missing: a loss, such as",
        "train:gan_opt={}": "option train:gan_opt: write losses",
        "train:scheduler={type: LambdaLR, lr_lambda: x}": "train:scheduler:type: 'LambdaLR' is not known",
        "train:scheduler={type: OneCycleLR, max_lr: 1, total_steps: 5}": "the schedule's total_steps are 5, fewer",
        "train={total_iter: 6, warmup_iter: 2, optim_g: {type: Adam, lr: 1}, scheduler: {type: StepLR, step_size: 2}, "
        "pixel_opt: {type: L1Loss}}": "train:warmup_iter: StepLR goes on from the rate of the moment",
        "logger:keep_checkpoints=0": "logger:keep_checkpoints: 0 must be a whole number, at least 1",
        "logger:keep_every=5": "logger: keep_every keeps some of what keep_checkpoints deletes",
        "logger:save_best=pnsr": "logger:save_best: 'pnsr' is not a metric of the validation sets, did you mean 'psnr'",
        "val:early_stopping={}": "option val:early_stopping:patience is missing",
        "val:early_stopping={patience: 1, metric: niqe}": "val:early_stopping:metric: 'niqe' is not a metric",
    }.items(),
)
def test_bad_values_are_named(opt: dict[str, Any], override: str, message: str) -> None:
    apply_override(opt, override)
    with pytest.raises(InputError) as caught:
        check_options(opt, "run.yml", is_train=True)
    assert str(caught.value).startswith("run.yml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_best_of_a_network_that_is_never_validated(opt: dict[str, Any]) -> None:
    opt["logger"]["save_best"] = "psnr"
    del opt["val"], opt["datasets"]["val"]
    with pytest.raises(InputError, match="logger:save_best: needs validation"):
        check_options(opt, "run.yml", is_train=True)
