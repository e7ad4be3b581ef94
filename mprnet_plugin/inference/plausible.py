"""A result and its input: mixed, and compared, as networks of this kind break or tint some pictures."""

from __future__ import annotations

import numpy as np

from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.inference.targets import rgb8

__all__ = ["mixed", "moved_far"]

_BLOCK = 32
"""Side in pixels of the parts whose means are compared: noise, streaks and blur leave them nearly as they were."""
_TINT, _BREAK = 0.08, 0.25
"""How far the whole picture's mean colour, and any part's, may move, as a share of the range."""


def mixed(before: Pixels, after: Pixels, strength: float) -> Pixels:
    """Return a picture between input and result.

    Args:
        before: Of any shape; integers or floating point.
        after: Of the same shape and type.
        strength: 1 is the result.
    """
    if strength == 1:
        return after
    blend = before + strength * (after.astype(np.float64) - before)
    return (np.rint(blend) if before.dtype.kind == "u" else blend).astype(before.dtype)


def moved_far(before: Pixels, after: Pixels) -> str:
    """Say in words what of a result is far from its input; nothing where nothing is.

    Args:
        before: (H, W) or (H, W, C), 8 or 16 bits or floats in [0, 1].
        after: Of the same shape.
    """
    moved = np.abs(_means(before, _BLOCK) - _means(after, _BLOCK)).max(2)
    tint = float(np.abs(_means(before) - _means(after)).max())
    broken = float((moved > _BREAK).mean())
    if tint > _TINT:
        what = f"its colours moved by {tint:.0%} of the range in the mean"
    elif broken:
        what = f"{max(broken, 0.01):.0%} of it looks nothing like the input"
    else:
        return ""
    return f"look at this result, {what}; --strength 0.5 mixes it with the input, or try another task or weights"


def _means(pixels: Pixels, block: int | None = None) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the mean colour of each block, in [0, 1]; of the whole picture if there are none."""
    image = rgb8(pixels)
    rows, columns = (np.arange(0, side, block or side) for side in image.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(image, rows, 0, np.float64), columns, 1)
    heights, widths = np.diff(np.append(rows, image.shape[0])), np.diff(np.append(columns, image.shape[1]))
    return np.asarray(sums / (255 * heights[:, None, None] * widths[None, :, None]))
