"""PSNR as a loss: the logarithm of each picture's mean squared error."""

from __future__ import annotations

from torch import Tensor, nn

from mprnet_plugin.losses.charbonnier import check_reduction


def psnr_loss(pred: Tensor, target: Tensor, eps: float = 1e-8, reduction: str = "mean") -> Tensor:
    """Return ``10 log10(mse + eps)`` of each picture, the mean over the batch: the negative PSNR in dB.

    It is what NAFNet (Chen et al., ECCV 2022) trains with.

    Args:
        pred: Restored images, (N, C, H, W) in [0, 1].
        target: Sharp images of the same shape.
        eps: Keeps the logarithm finite; 1e-8 is a PSNR of 80 dB at most.
        reduction: ``mean``, or ``sum`` over the batch.

    Raises:
        InputError: Another reduction.
    """
    check_reduction(reduction)
    decibels = 10 * ((pred - target).square().mean(dim=(1, 2, 3)) + eps).log10()
    return decibels.mean() if reduction == "mean" else decibels.sum()


class PSNRLoss(nn.Module):
    """:func:`psnr_loss` as a module, in the form the host builds from YAML.

    Args:
        loss_weight: Factor on the loss.
        reduction: ``mean``, or ``sum`` over the batch.

    Raises:
        InputError: Another reduction.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the weighted loss of (N, C, H, W) images; below 0 for pictures that are at all alike."""
        return self.loss_weight * psnr_loss(pred, target, reduction=self.reduction)
