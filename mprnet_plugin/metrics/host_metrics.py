"""The protocols as BasicSR calls them: ``metric(img=restored, img2=target)`` on HWC arrays in BGR order.

The host hands over uint8, or float32 in [0, 1] where the model validates without rounding. None has options, so a
misspelt one in YAML is an error.
"""

from __future__ import annotations

import numpy as np

from mprnet_plugin.metrics import aligned, psnr, ssim
from mprnet_plugin.metrics.images import Image

__all__ = [
    "METRICS",
    "calculate_psnr_aligned",
    "calculate_psnr_rgb",
    "calculate_psnr_y_uint8",
    "calculate_ssim_aligned",
    "calculate_ssim_volume",
    "calculate_ssim_y_uint8",
]


def _rgb(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])


def calculate_psnr_rgb(img: Image, img2: Image) -> float:
    """Protocols ``gopro`` (uint8) and ``sidd`` (float); see :func:`mprnet_plugin.metrics.psnr.psnr_rgb`."""
    return psnr.psnr_rgb(_rgb(img), _rgb(img2))


def calculate_ssim_volume(img: Image, img2: Image) -> float:
    """Protocols ``gopro`` (uint8) and ``sidd`` (float); see :func:`mprnet_plugin.metrics.ssim.ssim_volume`."""
    return ssim.ssim_volume(_rgb(img), _rgb(img2))


def calculate_psnr_y_uint8(img: Image, img2: Image) -> float:
    """Protocol ``rain`` (uint8); see :func:`mprnet_plugin.metrics.psnr.psnr_y_uint8`."""
    return psnr.psnr_y_uint8(_rgb(img), _rgb(img2))


def calculate_ssim_y_uint8(img: Image, img2: Image) -> float:
    """Protocol ``rain`` (uint8); see :func:`mprnet_plugin.metrics.ssim.ssim_y_uint8`."""
    return ssim.ssim_y_uint8(_rgb(img), _rgb(img2))


def calculate_psnr_aligned(img: Image, img2: Image) -> float:
    """Protocol ``realblur``; see :func:`mprnet_plugin.metrics.aligned.psnr_aligned`."""
    return aligned.psnr_aligned(_rgb(img), _rgb(img2))


def calculate_ssim_aligned(img: Image, img2: Image) -> float:
    """Protocol ``realblur``; see :func:`mprnet_plugin.metrics.aligned.ssim_aligned`."""
    return aligned.ssim_aligned(_rgb(img), _rgb(img2))


METRICS = [
    calculate_psnr_rgb,
    calculate_ssim_volume,
    calculate_psnr_y_uint8,
    calculate_ssim_y_uint8,
    calculate_psnr_aligned,
    calculate_ssim_aligned,
]
"""What the host's registry gets."""
