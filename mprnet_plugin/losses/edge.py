"""Edge loss: Charbonnier between Laplacians (MPRNet paper, eq. 4)."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mprnet_plugin.losses.charbonnier import charbonnier_loss, check_reduction

# Burt and Adelson's 5-tap generating kernel with a = 0.4.
TAPS = (0.05, 0.25, 0.4, 0.25, 0.05)


@functools.lru_cache(maxsize=16)
def _taps(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the kernel on a device; made once, as each copy to a GPU would wait for it."""
    return torch.tensor(TAPS, device=device, dtype=dtype)


def _blur(x: Tensor, step: int = 1) -> Tensor:
    """Filter (N, C, H, W) with the separable 5x5 kernel, borders replicated, and keep every ``step``-th pixel."""
    channels = x.shape[1]
    taps = _taps(x.device, x.dtype)
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    x = F.conv2d(x, taps.view(1, 1, 5, 1).expand(channels, 1, 5, 1), stride=(step, 1), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 1, 5).expand(channels, 1, 1, 5), stride=(1, step), groups=channels)


def laplacian(x: Tensor) -> Tensor:
    """Return ``x - G(up(down(G x)))`` for images (N, C, H, W).

    G blurs; ``down`` keeps every second pixel; ``up`` puts them back, four times as bright, among zeros.
    """
    coarse = torch.zeros_like(x)
    coarse[..., ::2, ::2] = 4.0 * _blur(x, step=2)
    return x - _blur(coarse)


def edge_loss(pred: Tensor, target: Tensor, eps: float = 1e-3, reduction: str = "mean") -> Tensor:
    """Return the Charbonnier loss between the Laplacians of ``pred`` and ``target``.

    The Laplacian is linear, so it is taken once, of the difference.

    Args:
        pred: Restored images, (N, C, H, W).
        target: Sharp images of the same shape.
        eps: As in :func:`~mprnet_plugin.losses.charbonnier.charbonnier_loss`.
        reduction: As there.
    """
    difference = laplacian(pred - target)
    return charbonnier_loss(difference, torch.zeros_like(difference), eps, reduction)


class EdgeLoss(nn.Module):
    """:func:`edge_loss` as a module, in the form the host builds from YAML.

    Args:
        loss_weight: Factor on the loss; the paper's is 0.05.
        eps: The Charbonnier eps, squared inside (unlike the host's ``CharbonnierLoss``).
        reduction: ``mean``, or ``sum`` over all values.

    Raises:
        InputError: Another reduction.
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-3, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.loss_weight = loss_weight
        self.eps = eps
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the weighted loss of (N, C, H, W) images."""
        return self.loss_weight * edge_loss(pred, target, self.eps, self.reduction)
