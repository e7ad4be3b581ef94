"""What every metric of a pair of images asks of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError

__all__ = ["MetricImage", "check_pair"]

MetricImage = NDArray[Any]
"""(H, W, 3), RGB; uint8, or floating point in [0, 1]."""


def check_pair(restored: MetricImage, target: MetricImage, data_range: float | None = None) -> float:
    """Check that two images can be compared, and return the width of their value range.

    Args:
        restored: (H, W, 3), uint8 or floating point.
        target: The same shape and kind of numbers.
        data_range: The width of the range; by default 255 for uint8 and 1 for floating point.

    Raises:
        InputError: Shapes or dtypes that do not fit, floating-point values outside [0, range], a range of 0 or less.
    """
    if restored.shape != target.shape or restored.ndim != 3 or restored.shape[2] != 3 or restored.size == 0:
        raise InputError(f"images have shapes {restored.shape} and {target.shape}, expected (H, W, 3) twice: crop one")
    kinds = {"uint8" if image.dtype == np.uint8 else image.dtype.kind for image in (restored, target)}
    if kinds not in ({"uint8"}, {"f"}):
        raise InputError(
            f"images have dtypes {restored.dtype} and {target.dtype}, expected uint8 or floating point for both: "
            "convert one"
        )
    if data_range is not None and not data_range > 0:
        raise InputError(f"data_range={data_range} must be positive: 255 for 8 bits, 1 for [0, 1]")
    if kinds == {"uint8"}:
        return 255.0 if data_range is None else data_range
    data_range = 1.0 if data_range is None else data_range
    low = min(restored.min(), target.min())
    high = max(restored.max(), target.max())
    if low < 0 or high > data_range:
        raise InputError(
            f"images have values from {low:g} to {high:g}, expected [0, {data_range:g}]: clip or scale them"
        )
    return data_range
