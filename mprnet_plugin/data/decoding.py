"""Decoding of image files: one documented way for folders, LMDBs and the packing tools."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from mprnet_plugin.errors import InputError
from mprnet_plugin.memory import check_pixels_fit

_LIMIT = threading.Lock()
_limits: list[int | None] = []
"""Pillow's limit as it was, then an entry for each thread that has lifted it."""

DecodedImage = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""(H, W, 3), RGB."""
Pixels = npt.NDArray[Any]
"""(H, W, channels), or (H, W) where a function says so, of any dtype."""

KNOWN_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")
"""Pillow's names of the formats that are looked at. Others would be recognised by their content whatever a file's name
says, and some of their decoders start programs."""
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

# COLOR applies EXIF orientation, drops alpha and replicates grey; ANYDEPTH keeps 16 bits. (UNCHANGED does neither of
# the first two.)
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xda", b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])")
"""Any number of fill bytes, then what kind of segment follows."""
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
"""Those without a length."""
_HUGE = 1 << 26
"""Pixels from which it is worth a moment to look whether they fit."""


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
        InputError: The content is empty, truncated, corrupt, no picture, of another depth (float), or has more pixels
            than fit into memory.
    """
    data = bytes(data)
    if not data:
        raise InputError(f"{name} is empty; copy the file again from its source")
    if is_truncated_jpeg(data):
        raise InputError(f"{name} is a truncated JPEG ({len(data)} bytes); copy the file again from its source")
    _check_size(data, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error:  # for example a header that asks for more pixels than OpenCV allows
        image = None
    if image is None:
        raise InputError(f"{name} cannot be decoded (corrupt, truncated or no image); copy it again from its source")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{name} holds {image.dtype} pixels; expected 8 or 16 bits per channel, convert it first")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)  # type: ignore[return-value]


@contextmanager
def own_size_limit() -> Iterator[None]:
    """Lift Pillow's fixed limit of pixels, for callers that compare a header's size with the memory there is."""
    with _LIMIT:
        if not _limits:
            _limits.append(PillowImage.MAX_IMAGE_PIXELS)
        _limits.append(None)
        PillowImage.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _LIMIT:
            _limits.pop()
            if len(_limits) == 1:
                PillowImage.MAX_IMAGE_PIXELS = _limits.pop()


def _check_size(data: bytes, name: str) -> None:
    try:
        with own_size_limit(), PillowImage.open(io.BytesIO(data), formats=KNOWN_FORMATS) as image:
            width, height = image.size
    except Exception:  # of a header that only OpenCV can tell something about
        return
    if width * height > _HUGE:
        try:
            check_pixels_fit(width, height, 3)
        except InputError as error:
            raise InputError(f"{name} {error}") from error


def is_truncated_jpeg(data: bytes) -> bool:
    """Return whether a JPEG ends before its end marker; some OpenCV versions decode such files half grey."""
    if not data.startswith(_JPEG_START):
        return False
    # From segment to segment to the picture's own scan: a thumbnail in one of them has markers too.
    scan = max((end for _, _, end in jpeg_segments(data)), default=2)
    return scan >= len(data) or data.find(_JPEG_END, scan) < 0


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment of a JPEG that lies before its first scan."""
    start = 2
    while (found := _JPEG_MARKER.match(data, start)) is not None and found[1] != _JPEG_SCAN:
        marker, end = found[1][0], found.end()
        if marker not in _BARE_MARKERS:
            end += max(int.from_bytes(data[end : end + 2], "big"), 2)
        yield marker, start, end
        start = end
