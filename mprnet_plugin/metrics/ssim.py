"""SSIM (Wang et al., IEEE TIP 2004) by the protocols of the papers.

With local means m, variances v and covariance c under a Gaussian window (11 taps, sigma 1.5), every position scores
``(2 m1 m2 + C1)(2 c + C2) / ((m1² + m2² + C1)(v1 + v2 + C2))``, C1 = (0.01 L)², C2 = (0.03 L)². The protocols differ in
the window's dimensions and in what happens at the border, and the numbers differ a lot with them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.image_pair import MetricImage, check_pair
from mprnet_plugin.metrics.psnr import luma_pair

__all__ = ["ssim_volume", "ssim_y_uint8"]

TAPS = 11
RADIUS = TAPS // 2
WINDOW: NDArray[np.float64] = np.asarray(cv2.getGaussianKernel(TAPS, 1.5, cv2.CV_64F))
STRIP = 64
"""Rows filtered at once: the intermediate maps of a strip stay in the processor's cache."""

Maps = NDArray[np.float64]


def _window_over_channels(channels: int = 3) -> Maps:
    """Return the window along the channel axis, border replicated, as the matrix that it is there."""
    matrix = np.zeros((channels, channels))
    for row in range(channels):
        for tap in range(TAPS):
            matrix[row, np.clip(row + tap - RADIUS, 0, channels - 1)] += WINDOW[tap, 0]
    return matrix


OVER_CHANNELS = _window_over_channels()


def ssim_volume(restored: MetricImage, target: MetricImage, data_range: float | None = None) -> float:
    """Return the SSIM of two RGB images taken as volumes (protocols ``gopro`` and ``sidd``).

    This is what MATLAB's ``ssim(A, B)`` computes for H x W x 3: the window is 11 x 11 x 11, the border is replicated
    along all three axes, and every voxel counts.

    Args:
        restored: (H, W, 3), uint8, or floating point in [0, L].
        target: The same shape and kind of numbers.
        data_range: L; by default 255 for uint8 and 1 for floating point.

    Raises:
        InputError: Shapes, dtypes or values that do not fit.

    Example:
        >>> image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
        >>> ssim_volume(image, image)
        1.0
    """
    data_range = check_pair(restored, target, data_range)
    height = restored.shape[0]
    total = 0.0
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        rows = slice(max(top - RADIUS, 0), bottom + RADIUS)
        scores = ssim_map(restored[rows], target[rows], data_range, _blur_volume)
        total += float(scores[top - rows.start : bottom - rows.start].sum())
    return total / restored.size


def ssim_y_uint8(restored: MetricImage, target: MetricImage) -> float:
    """Return the SSIM of the luma rounded to 8 bits (protocol ``rain``): Wang's original, valid region only.

    Args:
        restored: (H, W, 3), RGB, uint8, at least 11 x 11.
        target: The same.

    Raises:
        InputError: Shapes that do not fit, smaller than the window, or not uint8.
    """
    luma_restored, luma_target = luma_pair(restored, target)
    return float(valid(ssim_map(luma_restored, luma_target, 255.0, blur_plane)).mean())


def valid(scores: MetricImage) -> MetricImage:
    """Return the part of a map (H, W, ...) where the window lay inside the image."""
    if min(scores.shape[:2]) < TAPS:
        raise InputError(
            f"images are {scores.shape[1]}x{scores.shape[0]}, expected at least {TAPS}x{TAPS}: use larger ones"
        )
    return scores[RADIUS:-RADIUS, RADIUS:-RADIUS]


def ssim_map(image1: MetricImage, image2: MetricImage, data_range: float, blur: Callable[[Maps], Maps]) -> Maps:
    """Return every position's SSIM in the shape of the images; ``blur`` is the mean under the window."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    x, y = image1.astype(np.float64), image2.astype(np.float64)
    mean_x, mean_y = blur(x), blur(y)
    # Variances only occur as a sum, so four blurred maps are enough.
    product = 2 * mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    covariance = 2 * blur(x * y) - product
    variances = blur(x * x + y * y) - squares
    scores: Maps = ((product + c1) * (covariance + c2)) / ((squares + c1) * (variances + c2))
    return scores


def blur_plane(values: Maps) -> Maps:
    """Mean under the window along height and width, border replicated."""
    return np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, WINDOW, WINDOW, borderType=cv2.BORDER_REPLICATE))


def _blur_volume(values: Maps) -> Maps:
    return np.asarray(cv2.transform(blur_plane(values), OVER_CHANNELS))
