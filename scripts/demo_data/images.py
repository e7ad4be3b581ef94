"""Images in linear light and as files hold them: the sRGB curve, PNG, and rows of pictures with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError

__all__ = ["LinearImage", "SRGBImage", "read_image", "side_by_side", "to_linear", "to_srgb", "write_png"]

LinearImage = NDArray[np.float32]
"""(H, W, 3) RGB in linear light, 0 to 1."""
SRGBImage = NDArray[np.uint8]
"""(H, W, 3) RGB as stored in a file, 0 to 255, sRGB curve applied."""


def to_linear(picture: SRGBImage) -> LinearImage:
    """Undo the sRGB curve of an 8-bit picture (IEC 61966-2-1)."""
    values = np.arange(256) / 255
    curve = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear: LinearImage = curve.astype(np.float32)[picture]
    return linear


def to_srgb(linear: LinearImage) -> SRGBImage:
    """Clip to [0, 1], apply the sRGB curve and round to 8 bits, as a camera does last (16 bits linear in between)."""
    values = np.arange(65536) / 65535
    curve = np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
    steps = np.rint(np.clip(linear, 0, 1) * 65535).astype(np.uint16)
    picture: SRGBImage = np.rint(curve * 255).astype(np.uint8)[steps]
    return picture


def read_image(path: Path) -> SRGBImage:
    """Read a picture as RGB.

    Raises:
        InputError: It is absent or damaged.
    """
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if read is None:
        raise InputError(f"{str(path)!r} cannot be read as a picture; replace it or make it again")
    return np.ascontiguousarray(read[..., ::-1], dtype=np.uint8)


def write_png(path: Path, picture: SRGBImage) -> None:
    """Write an RGB picture as PNG."""
    _, data = cv2.imencode(".png", picture[..., ::-1])
    path.write_bytes(data.tobytes())


def side_by_side(pictures: Sequence[tuple[str, SRGBImage]]) -> SRGBImage:
    """Put pictures of one size in a row, each under its caption; for previews, RGB."""
    captioned = []
    for caption, picture in pictures:
        bar = np.full((24, picture.shape[1], 3), 255, np.uint8)
        cv2.putText(bar, caption, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        captioned.append(np.vstack([bar, picture]))
    row: SRGBImage = np.hstack(captioned)
    return row
