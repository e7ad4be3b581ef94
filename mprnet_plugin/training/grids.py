"""Before/after pictures: degraded, restored and sharp middles side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.files import whole_file
from mprnet_plugin.training.validation import BGRPicture, Restored

__all__ = ["SIDE", "draw_grid", "middles", "write_png"]

SIDE = 320
"""Sides of a grid's pictures are cut to this many pixels: a blur or a grain must stay visible."""
_GAP = 4


def draw_grid(images: list[Restored]) -> NDArray[np.uint8]:
    """Return rows of degraded, restored and sharp middles as one (H, W, 3) uint8 BGR picture."""
    rows = [
        np.hstack([_middle(picture) for picture in (image.lq, image.result, image.gt) if picture is not None])
        for image in images
    ]
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def middles(image: Restored) -> Restored:
    """Return what a grid shows of an image, 8 bits: little enough to keep for many, and a copy of its own."""
    gt = None if image.gt is None else _middle(image.gt).copy()
    return Restored(image.name, _middle(image.lq).copy(), _middle(image.result).copy(), gt)


def _middle(picture: BGRPicture) -> NDArray[np.uint8]:
    top, left = (max(length - SIDE, 0) // 2 for length in picture.shape[:2])
    return _eight_bits(picture[top : top + SIDE, left : left + SIDE])


def _eight_bits(picture: BGRPicture) -> NDArray[np.uint8]:
    return picture if picture.dtype == np.uint8 else np.rint(picture * 255).astype(np.uint8)


def write_png(picture: BGRPicture, path: Path) -> None:
    """Write a picture as PNG of 8 bits, whole or not at all, making its folder.

    Raises:
        InputError: It cannot be written.
    """
    content = cv2.imencode(".png", _eight_bits(picture))[1].tobytes()
    with whole_file(path) as part:
        part.write_bytes(content)
