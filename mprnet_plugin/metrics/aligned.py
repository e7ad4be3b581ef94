"""PSNR and SSIM after alignment: the protocol of RealBlur (Rim et al., ECCV 2020).

RealBlur's sharp and blurred images come from two cameras, so a restored image is brought onto the target first: scaled
in intensity by least squares, then warped by the homography that maximises the enhanced correlation coefficient (ECC).
Pixels that the warp takes from outside the restored image do not count.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.image_pair import MetricImage, check_pair
from mprnet_plugin.metrics.psnr import psnr_of_error
from mprnet_plugin.metrics.ssim import blur_plane, ssim_map, valid

__all__ = ["Aligned", "align", "psnr_aligned", "ssim_aligned"]

ITERATIONS = 100
SMOOTHING = 5
"""Side in pixels of the Gaussian that ECC looks through."""


class Aligned(NamedTuple):
    """A restored image on its target's pixels."""

    restored: NDArray[np.float64]
    """(H, W, 3) in [0, 1], up to what bicubic resampling overshoots."""
    target: NDArray[np.float64]
    """(H, W, 3) in [0, 1]."""
    mask: NDArray[np.bool_]
    """(H, W): where both images have content."""


def psnr_aligned(restored: MetricImage, target: MetricImage) -> float:
    """Return the PSNR over the pixels that both images show, in dB, L = 1.

    Args:
        restored: (H, W, 3), RGB, uint8, or floating point in [0, 1].
        target: The same shape and kind of numbers.

    Raises:
        InputError: Shapes, dtypes or values that do not fit, or images too different to be aligned.
    """
    aligned = align(restored, target)
    return psnr_of_error((aligned.restored - aligned.target)[aligned.mask], 1.0)


def ssim_aligned(restored: MetricImage, target: MetricImage) -> float:
    """Return the SSIM per channel, valid region only, over the pixels that both images show, L = 1.

    Args:
        restored: (H, W, 3), RGB, at least 11 x 11, uint8, or floating point in [0, 1].
        target: The same shape and kind of numbers.

    Raises:
        InputError: Shapes, dtypes or values that do not fit, or images too different to be aligned.
    """
    aligned = align(restored, target)
    mask = aligned.mask[..., None]
    scores = valid(ssim_map(aligned.restored * mask, aligned.target * mask, 1.0, blur_plane))
    return float(scores[valid(aligned.mask)].mean())


def align(restored: MetricImage, target: MetricImage) -> Aligned:
    """Bring a restored image onto its target.

    Args:
        restored: (H, W, 3), RGB, uint8, or floating point in [0, 1].
        target: The same shape and kind of numbers.

    Raises:
        InputError: Shapes, dtypes or values that do not fit, or images too different to be aligned.
    """
    data_range = check_pair(restored, target)
    x, y = (np.divide(image, data_range, dtype=np.float64) for image in (target, restored))
    energy = np.vdot(y, y)
    if energy > 0:
        y *= np.vdot(x, y) / energy
    height, width = x.shape[:2]
    warp = _homography(_gray(x), _gray(y), (height, width))
    # Not in float64: there OpenCV 5.0 rounds to whole numbers whatever touches the border.
    moved = cv2.warpPerspective(
        y.astype(np.float32),
        warp,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    mask = cv2.warpPerspective(
        np.ones((height, width), np.uint8), warp, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return Aligned(np.asarray(moved, np.float64), x, mask.astype(bool))


def _gray(image: NDArray[np.float64]) -> bytes:
    return np.asarray(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)).tobytes()


@functools.lru_cache(maxsize=1)
def _homography(target: bytes, restored: bytes, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the warp from target to restored pixels; remembered, since PSNR and SSIM ask for the same one in turn."""
    gray_target, gray_restored = (np.frombuffer(gray, np.float32).reshape(shape) for gray in (target, restored))
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, ITERATIONS, 0.0)
    start, everywhere = np.eye(3, dtype=np.float32), np.ones(shape, np.uint8)
    try:
        _, warp = cv2.findTransformECC(
            gray_target, gray_restored, start, cv2.MOTION_HOMOGRAPHY, criteria, everywhere, SMOOTHING
        )
    except cv2.error as error:
        raise InputError(
            f"images of {shape[1]}x{shape[0]} cannot be aligned (ECC did not converge): check that they show one scene"
        ) from error
    return np.asarray(warp, np.float32)
