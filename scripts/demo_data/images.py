"""Pictures as files hold them: reading and writing PNG, and rows of pictures with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mprnet_plugin.data.linear_light import SRGBImage
from mprnet_plugin.errors import InputError

__all__ = ["SRGBImage", "read_image", "side_by_side", "write_png"]


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
