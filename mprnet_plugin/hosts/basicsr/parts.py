"""Optimisers and learning rate schedules by the names that options files give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from basicsr.models import lr_scheduler

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.schedules import WarmupCosineLR, describe, with_numbers

__all__ = ["check_schedule", "describe_schedule", "optimizers", "schedule_arguments", "schedulers"]

_NO_STEP = {"LBFGS", "Optimizer", "SparseAdam"}
"""Those that need more than dense gradients to step, and the class that all derive from."""


def optimizers() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """Return the optimisers of ``torch.optim`` that take a step from gradients alone."""
    return {
        name: found
        for name, found in vars(torch.optim).items()
        if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer) and name not in _NO_STEP
    }


def schedulers() -> dict[str, type]:
    """Return the host's schedules and ours."""
    return {
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
        InputError: It ends before, which the host's cosine answers with a TypeError in the middle of the run.
    """
    if isinstance(scheduler, lr_scheduler.CosineAnnealingRestartLR) and scheduler.cumulative_period[-1] < total_iter:
        raise InputError(
            f"the schedule's periods {list(scheduler.periods)} sum to {scheduler.cumulative_period[-1]}, fewer than "
            f"train:total_iter {total_iter}: lengthen them, or start anew with path:pretrain_network_g"
        )
