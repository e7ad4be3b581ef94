"""The learning rate of the recipes: a linear warm-up, then a cosine."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mprnet_plugin.typed_options import Number, Options

__all__ = ["ScheduleOptions", "WarmupCosineLR", "learning_rate"]


def learning_rate(epoch: float, base_lr: float, warmup_epochs: int, cosine_epochs: int, eta_min: float) -> float:
    """Return the learning rate at a point of training.

    The warm-up gives ``base_lr`` times 1/W, 2/W, ... 1 to its W epochs; the cosine then falls from ``base_lr`` to
    ``eta_min``, where it stays.

    Args:
        epoch: Epochs that have passed, 0 in the first; whole for a rate that is constant within an epoch. In between,
            the rate runs continuously through the whole epochs' rates.
        base_lr: The rate after the warm-up.
        warmup_epochs: W; 0 for none.
        cosine_epochs: Length of the fall; training may end before it does.
        eta_min: The rate at the end of the fall.

    Example:
        >>> [round(learning_rate(epoch, 3.0, 3, 2, 0.0), 3) for epoch in range(7)]
        [1.0, 2.0, 3.0, 3.0, 1.5, 0.0, 0.0]
    """
    if epoch < warmup_epochs:
        return base_lr * min(epoch + 1, warmup_epochs) / warmup_epochs
    progress = min((epoch - warmup_epochs) / cosine_epochs, 1.0)
    return eta_min + (base_lr - eta_min) * (1 + math.cos(math.pi * progress)) / 2


class ScheduleOptions(Options):
    """The recipes' learning rate: a linear warm-up, then a cosine from the optimiser's ``lr`` to ``eta_min``."""

    warmup_epochs: Annotated[int, Field(ge=0, le=10**9)] = Field(description="epochs of warm-up")
    cosine_epochs: Annotated[int, Field(ge=1, le=10**9)] = Field(
        description="epochs of the cosine; training may end before it does"
    )
    eta_min: Annotated[Number, Field(ge=0)] = Field(description="the rate at the end of the cosine")
    iters_per_epoch: Annotated[int, Field(ge=1, le=10**12)] = Field(description="optimiser steps in an epoch")
    per_epoch: bool = Field(True, description="constant within an epoch, as published; false: changes with every step")


class WarmupCosineLR(LRScheduler):
    """:func:`learning_rate` as a scheduler that is stepped once an iteration, as the host does.

    The rate depends on the number of steps alone, so a run that is resumed with ``state_dict`` goes on exactly.

    Args:
        optimizer: Its groups' learning rates are each group's rate after the warm-up.
        warmup_epochs: Epochs of warm-up, 0 or more.
        cosine_epochs: Epochs of the cosine, at least 1.
        eta_min: The rate at the end of the cosine.
        iters_per_epoch: Optimiser steps in an epoch.
        per_epoch: Constant within an epoch, as published; otherwise it changes smoothly with every iteration.
        last_epoch: Steps taken so far, in torch's terms: -1 for a new run.

    Raises:
        InputError: A number out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_epochs: int,
        cosine_epochs: int,
        eta_min: float,
        iters_per_epoch: int,
        per_epoch: bool = True,
        last_epoch: int = -1,
    ) -> None:
        options = ScheduleOptions.read(
            {
                "warmup_epochs": warmup_epochs,
                "cosine_epochs": cosine_epochs,
                "eta_min": eta_min,
                "iters_per_epoch": iters_per_epoch,
                "per_epoch": per_epoch,
            },
            "WarmupCosineLR",
        )
        self.warmup_epochs = options.warmup_epochs
        self.cosine_epochs = options.cosine_epochs
        self.eta_min = options.eta_min
        self.iters_per_epoch = options.iters_per_epoch
        self.per_epoch = options.per_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return each group's rate for the iteration that comes next."""
        steps = self.last_epoch
        epoch = steps // self.iters_per_epoch if self.per_epoch else steps / self.iters_per_epoch
        return [
            learning_rate(epoch, float(base_lr), self.warmup_epochs, self.cosine_epochs, self.eta_min)
            for base_lr in self.base_lrs
        ]
