"""Charbonnier loss: a smooth L1."""

from __future__ import annotations

import torch
from torch import Tensor

from mprnet_plugin.errors import InputError

REDUCTIONS = ("mean", "sum")


def charbonnier_loss(pred: Tensor, target: Tensor, eps: float = 1e-3, reduction: str = "mean") -> Tensor:
    """Return the mean, or the sum, of ``sqrt((pred - target)**2 + eps**2)`` (MPRNet paper, eq. 3).

    BasicSR's ``CharbonnierLoss`` does not square its eps: the paper's 1e-3 is 1e-6 there.

    Args:
        pred: Restored images, any shape.
        target: Sharp images of the same shape.
        eps: Half-width of the rounded bottom, in the images' unit.
        reduction: ``mean``, or ``sum`` over all values.

    Raises:
        InputError: Another reduction.
    """
    check_reduction(reduction)
    loss = torch.sqrt((pred - target).square() + eps**2)
    return loss.mean() if reduction == "mean" else loss.sum()


def check_reduction(reduction: str) -> None:
    """Check how values become one.

    Raises:
        InputError: Neither ``mean`` nor ``sum``.
    """
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction {reduction!r} is not known: use {' or '.join(REDUCTIONS)}")
