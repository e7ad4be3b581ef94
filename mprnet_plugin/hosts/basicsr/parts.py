"""Optimisers and learning rate schedules by the names that options files give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from basicsr.models import lr_scheduler

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.schedules import WarmupCosineLR

__all__ = ["check_schedule", "optimizers", "schedulers"]

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
