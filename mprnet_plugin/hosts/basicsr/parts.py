"""Optimisers and learning rate schedules by the names that options files give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from basicsr.models import lr_scheduler

from mprnet_plugin.training.schedules import WarmupCosineLR

__all__ = ["optimizers", "schedulers"]

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
