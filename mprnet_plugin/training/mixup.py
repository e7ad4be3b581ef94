"""Mixup (Zhang et al., ICLR 2018) of pairs of images, as in the denoising recipe."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mprnet_plugin.errors import InputError

__all__ = ["draw_lambda", "mixup"]


def mixup(lq: Tensor, gt: Tensor, generator: torch.Generator, alpha: float = 0.6) -> tuple[Tensor, Tensor]:
    """Blend every sample with one of the same batch: ``λ x + (1 - λ) x[permutation]``.

    λ is drawn for each sample from Beta(alpha, alpha); degraded and sharp images share it and the partner.

    Args:
        lq: Degraded images, floating point, (N, C, H, W), on any device.
        gt: Sharp images of the same shape.
        generator: On the CPU, whatever the images' device: the draws are the same everywhere, nothing waits for a GPU.
        alpha: Positive; small values blend little.

    Returns:
        New tensors in the place of ``lq`` and ``gt``.

    Raises:
        InputError: ``alpha`` is not positive, or the batches differ in length.
    """
    if len(lq) != len(gt):
        raise InputError(f"lq has {len(lq)} samples, gt has {len(gt)}: mixup needs pairs")
    permutation = torch.randperm(len(lq), generator=generator)
    weights = draw_lambda(len(lq), generator, alpha).to(lq.dtype)[:, None, None, None]
    if lq.is_cuda:  # copies out of pinned memory do not wait for the GPU
        permutation, weights = permutation.pin_memory(), weights.pin_memory()
    permutation = permutation.to(lq.device, non_blocking=True)
    weights = weights.to(lq.device, non_blocking=True)
    return torch.lerp(lq[permutation], lq, weights), torch.lerp(gt[permutation], gt, weights)


def draw_lambda(count: int, generator: torch.Generator, alpha: float = 0.6) -> Tensor:
    """Draw from Beta(alpha, alpha), float64, (count,).

    Raises:
        InputError: ``alpha`` is not positive.
    """
    if not alpha > 0:
        raise InputError(f"mixup's alpha={alpha} must be positive: 0.6 in the denoising recipe")
    # NumPy draws, since torch's distributions take no generator.
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count))
