"""Pictures in linear light, in which cameras add and average, and as files hold them: the sRGB curve both ways."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.data.decoding import DecodedImage

__all__ = ["LinearImage", "SRGBImage", "to_linear", "to_srgb"]

LinearImage = NDArray[np.float32]
"""(H, W, 3) RGB in linear light, 0 to 1."""
SRGBImage = NDArray[np.uint8]
"""(H, W, 3) RGB as stored in a file, 0 to 255, sRGB curve applied."""


def to_linear(picture: DecodedImage) -> LinearImage:
    """Undo the sRGB curve of a picture of 8 or 16 bits (IEC 61966-2-1)."""
    linear: LinearImage = _linear_curve(np.iinfo(picture.dtype).max)[picture]
    return linear


def to_srgb(linear: LinearImage) -> SRGBImage:
    """Clip to [0, 1], apply the sRGB curve and round to 8 bits, as a camera does last (16 bits linear in between)."""
    steps = np.rint(np.clip(linear, 0, 1) * 65535).astype(np.uint16)
    picture: SRGBImage = _srgb_curve()[steps]
    return picture


@functools.cache
def _linear_curve(top: int) -> LinearImage:
    values = np.arange(top + 1) / top
    curve = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.asarray(curve, np.float32)


@functools.cache
def _srgb_curve() -> SRGBImage:
    values = np.arange(65536) / 65535
    curve = np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(curve * 255), np.uint8)
