"""PSNR by the protocols of the papers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.image_pair import MetricImage, check_pair

__all__ = ["psnr_rgb", "psnr_y_uint8", "rgb_to_y_uint8"]

STUDIO_LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""ITU-R BT.601, studio swing, for 8-bit R, G, B; 16 is added."""


def psnr_rgb(restored: MetricImage, target: MetricImage, data_range: float | None = None) -> float:
    """Return the peak signal-to-noise ratio over all pixels and channels, in dB (protocols ``gopro`` and ``sidd``).

    ``10 log10(L² / mean((restored - target)²))`` with L the width of the range; infinity for equal images.

    Args:
        restored: (H, W, 3), uint8, or floating point in [0, L].
        target: The same shape and kind of numbers.
        data_range: L; by default 255 for uint8 and 1 for floating point.

    Raises:
        InputError: Shapes, dtypes or values that do not fit.

    Example:
        >>> round(psnr_rgb(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)), 6)
        0.0
    """
    data_range = check_pair(restored, target, data_range)
    return psnr_of_error(np.subtract(restored, target, dtype=np.float64), data_range)


def psnr_y_uint8(restored: MetricImage, target: MetricImage) -> float:
    """Return the PSNR of the luma rounded to 8 bits, in dB (protocol ``rain``).

    Args:
        restored: (H, W, 3), RGB, uint8.
        target: The same.

    Raises:
        InputError: Shapes that do not fit, or not uint8.
    """
    luma_restored, luma_target = luma_pair(restored, target)
    return psnr_of_error(np.subtract(luma_restored, luma_target, dtype=np.float64), 255.0)


def rgb_to_y_uint8(image: MetricImage) -> NDArray[np.uint8]:
    """Return the luma (H, W), 16 to 235, of an RGB image (H, W, 3) as MATLAB's ``rgb2ycbcr`` does: rounded to uint8."""
    luma = image.astype(np.float64) @ STUDIO_LUMA + 16
    return np.floor(luma + 0.5).astype(np.uint8)


def luma_pair(restored: MetricImage, target: MetricImage) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Check two uint8 images and return their rounded lumas."""
    check_pair(restored, target)
    if restored.dtype != np.uint8:
        raise InputError(
            f"images are {restored.dtype}, expected uint8: this protocol is defined on 8-bit images, round"
        )
    return rgb_to_y_uint8(restored), rgb_to_y_uint8(target)


def psnr_of_error(error: NDArray[np.float64], data_range: float) -> float:
    """Return the PSNR in dB of a difference of any shape."""
    mean_square = float(np.vdot(error, error)) / error.size
    return math.inf if mean_square == 0 else 10 * math.log10(data_range**2 / mean_square)
