"""What results should be: the target of a picture, and both as the scores take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.picture_files import PICTURE_FORMATS, read_picture

__all__ = ["read_target", "rgb8", "size_text"]


def read_target(root: Path, relative: Path, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the target of a picture, (H, W, 3) of 8 bits.

    Args:
        root: A file, or a folder of files of the pictures' names.
        relative: The picture's path below its own folder.
        pixels: The picture, whose size the target must have.

    Raises:
        InputError: There is none, it cannot be read, or has another size.
    """
    wanted = root / relative if root.is_dir() else root
    if not wanted.is_file():
        # The same name with another suffix: results of JPEG inputs are often compared with PNG targets.
        others = (wanted.with_suffix(suffix) for suffix in PICTURE_FORMATS)
        wanted = next((other for other in others if other.is_file()), wanted)
    target = rgb8(read_picture(wanted).pixels)
    if target.shape[:2] != pixels.shape[:2]:
        raise InputError(
            f"{wanted}: is {size_text(target)}, its input {size_text(pixels)} pixels; give targets of one size"
        )
    return target


def size_text(pixels: NDArray[Any]) -> str:
    """Return width and height in words."""
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def rgb8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (H, W, 3) of 8 bits, alpha dropped."""
    peak = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(pixels.dtype, 1)
    colours = pixels[..., None] if pixels.ndim == 2 else pixels[..., : 3 if pixels.shape[2] >= 3 else 1]
    colours = (
        colours if peak == 255 else np.rint(colours.astype(np.float64).clip(0, peak) * (255 / peak)).astype(np.uint8)
    )
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))
