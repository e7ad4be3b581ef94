"""A loss with what a list of losses says of it: its weight, and the stages whose images it sees."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

__all__ = ["WeightedLoss"]


class WeightedLoss(nn.Module):
    """A loss times a weight, of some stages.

    Args:
        loss: Maps (restored, sharp) to a number, or to several, of which None are left out, as perceptual losses do.
        weight: Factor.
        stages: Numbers of the stages whose images it sees, counted from 1, the final one's the highest; None: all.

    Attributes:
        reduction: That of the loss, ``mean`` unless it says ``sum``.
    """

    def __init__(self, loss: nn.Module, weight: float = 1.0, stages: Collection[int] | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        self.stages = stages
        self.reduction = getattr(loss, "reduction", "mean")

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the weighted loss of (N, C, H, W) images."""
        found = self.loss(restored, sharp)
        parts = [found] if isinstance(found, Tensor) else [part for part in found if part is not None]
        return self.weight * torch.stack([part.reshape(()) for part in parts]).sum()
