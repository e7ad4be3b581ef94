"""Decoding of image files: one documented way for folders, LMDBs and the packing tools."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mprnet_plugin.errors import InputError

DecodedImage = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""(H, W, 3), RGB."""
Pixels = npt.NDArray[Any]
"""(H, W, channels), or (H, W) where a function says so, of any dtype."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

# COLOR applies EXIF orientation, drops alpha and replicates grey; ANYDEPTH keeps 16 bits. (UNCHANGED does neither of
# the first two.)
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"


def decode_rgb(data: bytes | memoryview, name: str) -> DecodedImage:
    """Decode the bytes of an image file.

    EXIF orientation is applied, alpha is dropped (not blended), grey and palettes become RGB, 16-bit sources stay
    16-bit.

    Args:
        data: Content of a PNG, JPEG, BMP, TIFF, WebP or Netpbm file.
        name: What to call the image in an error.

    Returns:
        Array (H, W, 3), RGB, uint8 or uint16, C-contiguous.

    Raises:
        InputError: The content is empty, truncated, corrupt, no picture, or of another depth (float).
    """
    data = bytes(data)
    if not data:
        raise InputError(f"{name} is empty; copy the file again from its source")
    if is_truncated_jpeg(data):
        raise InputError(f"{name} is a truncated JPEG ({len(data)} bytes); copy the file again from its source")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error:  # for example a header that asks for more pixels than OpenCV allows
        image = None
    if image is None:
        raise InputError(f"{name} cannot be decoded (corrupt, truncated or no image); copy it again from its source")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{name} holds {image.dtype} pixels; expected 8 or 16 bits per channel, convert it first")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)  # type: ignore[return-value]


def is_truncated_jpeg(data: bytes) -> bool:
    """Return whether a JPEG ends before its end marker; some OpenCV versions decode such files half grey."""
    if not data.startswith(_JPEG_START):
        return False
    # From segment to segment to the picture's own scan: a thumbnail in one of them has markers too.
    segment = 2
    while data[segment : segment + 1] == b"\xff" and data[segment : segment + 2] != _JPEG_SCAN:
        segment += 2 + int.from_bytes(data[segment + 2 : segment + 4], "big")
    return segment >= len(data) or data.find(_JPEG_END, segment) < 0
