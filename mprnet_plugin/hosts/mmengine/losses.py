"""The Charbonnier loss with the eps that OpenMMLab's and BasicSR's users write: not squared."""

from __future__ import annotations

import math

from torch import Tensor, nn

from mprnet_plugin.losses.charbonnier import charbonnier_loss, check_reduction

__all__ = ["CharbonnierLoss"]


class CharbonnierLoss(nn.Module):
    """The weighted mean, or sum, of ``sqrt((pred - target)**2 + eps)``.

    Args:
        loss_weight: Factor on the loss.
        reduction: ``mean``, or ``sum`` over all values.
        eps: Not squared: the paper's 1e-3 is 1e-6 here, as in the recipes for BasicSR.

    Raises:
        InputError: Another reduction.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", eps: float = 1e-6) -> None:
        super().__init__()
        check_reduction(reduction)
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the weighted loss of two batches of one shape."""
        return self.loss_weight * charbonnier_loss(pred, target, math.sqrt(self.eps), self.reduction)
