"""Charbonnier loss: a smooth L1."""

from __future__ import annotations

import torch
from torch import Tensor


def charbonnier_loss(pred: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """Return the mean of ``sqrt((pred - target)**2 + eps**2)`` (MPRNet paper, eq. 3).

    BasicSR's ``CharbonnierLoss`` does not square its eps: the paper's 1e-3 is 1e-6 there.

    Args:
        pred: Restored images, any shape.
        target: Sharp images of the same shape.
        eps: Half-width of the rounded bottom, in the images' unit.
    """
    return torch.sqrt((pred - target).square() + eps**2).mean()
