"""The learning rate of the recipes: a linear warm-up, then a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mprnet_plugin.errors import InputError
from mprnet_plugin.typed_options import Number, Options

__all__ = ["Auto", "ScheduleOptions", "WarmupCosineLR", "describe", "learning_rate", "with_numbers"]

Auto = Literal["auto"]
_NEARLY = 0.03
"""A schedule that ends this share of the run before or after it ends with it: such is the rounding to whole epochs."""


def learning_rate(epoch: float, base_lr: float, warmup_epochs: int, cosine_epochs: float, eta_min: float) -> float:
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
    cosine_epochs: Auto | Annotated[Number, Field(gt=0, le=1e9)] = Field(
        "auto",
        description="epochs of the cosine; training may end before it does. auto: from the warm-up to total_iter",
    )
    eta_min: Annotated[Number, Field(ge=0)] = Field(description="the rate at the end of the cosine")
    iters_per_epoch: Auto | Annotated[int, Field(ge=1, le=10**12)] = Field(
        "auto", description="optimiser steps in an epoch; auto: the training set's samples by the batch, rounded up"
    )
    per_epoch: bool = Field(True, description="constant within an epoch, as published; false: changes with every step")


def with_numbers(section: Mapping[str, Any], total_iter: int, iters_per_epoch: int, where: str = "") -> dict[str, Any]:
    """Return a section of :class:`ScheduleOptions` with numbers for each ``auto``, those left out included.

    Args:
        section: The options, left as they are.
        total_iter: Optimiser steps of the run.
        iters_per_epoch: Optimiser steps in which the training set is gone through once, for ``auto``; 0: unknown.
        where: The section's path, for messages.

    Raises:
        InputError: An option is wrong, or ``auto`` where the length of an epoch is not known.

    Example:
        >>> with_numbers({"warmup_epochs": 3, "eta_min": 1e-6}, 396000, 132)["cosine_epochs"]
        2997.0
    """
    options = ScheduleOptions.read(section, where)
    length = iters_per_epoch if options.iters_per_epoch == "auto" else options.iters_per_epoch
    if not length:
        raise InputError(
            f"{where + ':' if where else ''}iters_per_epoch: auto is counted from the training set, which is not known "
            "here: give a number"
        )
    cosine = options.cosine_epochs
    if cosine == "auto":
        left = total_iter / length - options.warmup_epochs
        cosine = left if left > 0 else 1.0  # a run that ends within the warm-up never comes to it
    return {**options.model_dump(), "iters_per_epoch": length, "cosine_epochs": cosine}


def describe(section: Mapping[str, Any], base_lr: float, total_iter: int) -> str:
    """Say in one line how a schedule goes, and where it does not end with the run.

    Args:
        section: As :func:`with_numbers` returns it.
        base_lr: The rate after the warm-up.
        total_iter: Optimiser steps of the run.

    Example:
        >>> section = with_numbers({"warmup_epochs": 3, "eta_min": 1e-6, "cosine_epochs": 117}, 480000, 6000)
        >>> print(describe(section, 2e-4, 480000))  # doctest: +ELLIPSIS
        learning rate: 18,000 iterations of warm-up (3 epochs of 6,000) to 0.0002, then a cosine to 1e-06 at...
    """
    warmup, cosine, length = section["warmup_epochs"], section["cosine_epochs"], section["iters_per_epoch"]
    begin, end = warmup * length, round((warmup + cosine) * length)
    text = f"learning rate: {begin:,d} iterations of warm-up ({warmup:,d} epochs of {length:,d}) to {base_lr:g}"
    if begin >= total_iter:
        return f"{text}, within which the run's {total_iter:,d} iterations end: fewer warmup_epochs would let it begin"
    rate = learning_rate((total_iter - 1) // length, base_lr, warmup, cosine, section["eta_min"])
    hint = "cosine_epochs: auto ends it with the run"
    if abs(end - total_iter) <= _NEARLY * total_iter:
        where = ", with the run"
    elif end < total_iter:
        where = f"; the run's last {total_iter - end:,d} of {total_iter:,d} iterations stay there ({hint})"
    else:
        where = f"; the run ends before, at {total_iter:,d}, with a rate of {rate:.2g} ({hint})"
    return f"{text}, then a cosine to {section['eta_min']:g} at iteration {end:,d}{where}"


class WarmupCosineLR(LRScheduler):
    """:func:`learning_rate` as a scheduler that is stepped once an iteration, as the host does.

    The rate depends on the number of steps alone, so a run that is resumed with ``state_dict`` goes on exactly.

    Args:
        optimizer: Its groups' learning rates are each group's rate after the warm-up.
        warmup_epochs: Epochs of warm-up, 0 or more.
        eta_min: The rate at the end of the cosine.
        cosine_epochs: Epochs of the cosine, above 0. Here a number: :func:`with_numbers` turns ``auto`` into one.
        iters_per_epoch: Optimiser steps in an epoch, a number too.
        per_epoch: Constant within an epoch, as published; otherwise it changes smoothly with every iteration.
        last_epoch: Steps taken so far, in torch's terms: -1 for a new run.

    Raises:
        InputError: A number out of range, or ``auto``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_epochs: int,
        *,
        eta_min: float,
        cosine_epochs: float | Auto = "auto",
        iters_per_epoch: int | Auto = "auto",
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
        if options.cosine_epochs == "auto" or options.iters_per_epoch == "auto":
            raise InputError("WarmupCosineLR: cosine_epochs and iters_per_epoch must be numbers here, auto is a run's")
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
