"""PSNR and SSIM as PaddleGAN computes them for MPRNet, and as BasicSR's own ``calculate_psnr`` and ``calculate_ssim``.

A border of 4 pixels is cut off; then RGB (deblurring) or the unrounded luma (denoising, deraining) is scored on the
scale of 8 bits, SSIM per channel in the valid region.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.image_pair import MetricImage, check_pair
from mprnet_plugin.metrics.psnr import STUDIO_LUMA, psnr_of_error
from mprnet_plugin.metrics.ssim import blur_plane, ssim_map, valid

__all__ = ["psnr_paddlegan_rgb", "psnr_paddlegan_y", "ssim_paddlegan_rgb", "ssim_paddlegan_y"]

BORDER = 4
Planes = NDArray[np.float64]


def psnr_paddlegan_rgb(restored: MetricImage, target: MetricImage) -> float:
    """Return the PSNR over all channels without the border, in dB, L = 255.

    Args:
        restored: (H, W, 3), RGB, uint8, H and W over 8.
        target: The same.

    Raises:
        InputError: Shapes that do not fit, or not uint8.
    """
    return psnr_of_error(np.subtract(*_inner(restored, target)), 255.0)


def ssim_paddlegan_rgb(restored: MetricImage, target: MetricImage) -> float:
    """Return the mean over the channels of each one's SSIM; arguments as :func:`psnr_paddlegan_rgb`, sides over 18."""
    return _ssim(*_inner(restored, target))


def psnr_paddlegan_y(restored: MetricImage, target: MetricImage) -> float:
    """Return the PSNR of the unrounded luma; arguments as :func:`psnr_paddlegan_rgb`."""
    return psnr_of_error(np.subtract(*_luma(restored, target)), 255.0)


def ssim_paddlegan_y(restored: MetricImage, target: MetricImage) -> float:
    """Return the SSIM of the unrounded luma; arguments as :func:`psnr_paddlegan_rgb`, sides over 18."""
    return _ssim(*_luma(restored, target))


def _inner(restored: MetricImage, target: MetricImage) -> tuple[Planes, Planes]:
    check_pair(restored, target)
    if restored.dtype != np.uint8 or min(restored.shape[:2]) <= 2 * BORDER:
        raise InputError(
            f"images are {restored.dtype} {restored.shape}, expected uint8 and sides over {2 * BORDER}: round, or "
            "choose another protocol"
        )
    first, second = (image[BORDER:-BORDER, BORDER:-BORDER].astype(np.float64) for image in (restored, target))
    return first, second


def _luma(restored: MetricImage, target: MetricImage) -> tuple[Planes, Planes]:
    first, second = (image @ STUDIO_LUMA + 16 for image in _inner(restored, target))
    return first, second


def _ssim(restored: Planes, target: Planes) -> float:
    return float(valid(ssim_map(restored, target, 255.0, blur_plane)).mean())
