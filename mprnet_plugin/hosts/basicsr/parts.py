"""Optimisers, learning rate schedules and losses by the names that options files give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.models import lr_scheduler
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.options import TrainOptions
from mprnet_plugin.training.schedules import WarmupCosineLR, describe, with_numbers
from mprnet_plugin.training.weighted_loss import WeightedLoss

__all__ = [
    "build_losses",
    "check_schedule",
    "describe_schedule",
    "optimizers",
    "schedule_arguments",
    "schedulers",
]

_NO_STEP = {"LBFGS", "Optimizer", "SparseAdam"}
"""Those that need more than dense gradients to step, and the class that all derive from."""
_NO_NUMBERS = {
    "LRScheduler",
    "_LRScheduler",
    "LambdaLR",
    "MultiplicativeLR",
    "SequentialLR",
    "ChainedScheduler",
    "ReduceLROnPlateau",
}
"""The class that all derive from, and schedules of functions, of other schedules, or of a metric in each step."""


def optimizers() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """Return the optimisers of ``torch.optim`` that take a step from gradients alone."""
    return {
        name: found
        for name, found in vars(torch.optim).items()
        if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer) and name not in _NO_STEP
    }


def schedulers() -> dict[str, type]:
    """Return torch's schedules that numbers alone describe, the host's and ours; each steps once an iteration."""
    found = [one for one in vars(torch.optim.lr_scheduler).values() if inspect.isclass(one)]
    torchs = [one for one in found if issubclass(one, LRScheduler) and one.__name__ not in _NO_NUMBERS]
    return {
        **{one.__name__: one for one in torchs},
        "MultiStepLR": lr_scheduler.MultiStepRestartLR,
        "MultiStepRestartLR": lr_scheduler.MultiStepRestartLR,
        "CosineAnnealingRestartLR": lr_scheduler.CosineAnnealingRestartLR,
        "WarmupCosineLR": WarmupCosineLR,
    }


def schedule_arguments(
    name: str, arguments: Mapping[str, Any], total_iter: int, iters_per_epoch: int
) -> dict[str, Any]:
    """Return a schedule's arguments with numbers where ours may say ``auto``.

    Args:
        name: The schedule's.
        arguments: As the options have them.
        total_iter: Iterations of the run.
        iters_per_epoch: As data and batch make it; 0: unknown.

    Raises:
        InputError: An argument is wrong, or ``auto`` where the length of an epoch is not known.
    """
    ours = schedulers().get(name) is WarmupCosineLR
    return with_numbers(arguments, total_iter, iters_per_epoch) if ours else dict(arguments)


def describe_schedule(scheduler: Any, total_iter: int) -> str:
    """Say in a line how a schedule goes and where it ends; nothing of those that have no end."""
    if isinstance(scheduler, WarmupCosineLR):
        return describe(vars(scheduler), float(scheduler.base_lrs[0]), total_iter)
    if isinstance(scheduler, lr_scheduler.CosineAnnealingRestartLR) and scheduler.cumulative_period[-1] > total_iter:
        end = scheduler.cumulative_period[-1]
        return f"learning rate: its cosine would end at iteration {end:,d}, the run ends before, at {total_iter:,d}"
    return ""


def check_schedule(scheduler: object, total_iter: int) -> None:
    """Check that a schedule lasts as long as the run.

    Raises:
        InputError: It ends before, which is an error in the middle of the run.
    """
    if isinstance(scheduler, OneCycleLR) and scheduler.total_steps < total_iter:
        raise InputError(
            f"the schedule's total_steps are {scheduler.total_steps}, fewer than train:total_iter {total_iter}: "
            "lengthen them, or start anew with path:pretrain_network_g"
        )
    if isinstance(scheduler, lr_scheduler.CosineAnnealingRestartLR) and scheduler.cumulative_period[-1] < total_iter:
        raise InputError(
            f"the schedule's periods {list(scheduler.periods)} sum to {scheduler.cumulative_period[-1]}, fewer than "
            f"train:total_iter {total_iter}: lengthen them, or start anew with path:pretrain_network_g"
        )


def build_losses(options: TrainOptions) -> dict[str, nn.Module]:
    """Return the losses of a training by the labels that the log has for them."""
    sections = {"l_pix": options.pixel_opt, "l_edge": options.edge_opt, "l_percep": options.perceptual_opt}
    losses: dict[str, nn.Module] = {
        label: WeightedLoss(build_loss(section.model_dump()))
        for label, section in sections.items()
        if section is not None
    }
    types: list[str] = []
    for one in options.losses or []:
        types.append(one.type)
        count = types.count(one.type)
        loss = build_loss({"type": one.type, **one.arguments})
        losses[f"l_{one.type}" + (f"_{count}" if count > 1 else "")] = WeightedLoss(loss, one.weight, one.stages)
    return losses
