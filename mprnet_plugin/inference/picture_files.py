"""Pictures read from files with nothing lost: depth, alpha, orientation, colour profile, EXIF."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError, features

from mprnet_plugin.data.decoding import KNOWN_FORMATS, Pixels, is_truncated_jpeg, jpeg_segments, own_size_limit
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import read_regular
from mprnet_plugin.inference.metadata import descriptive, orientation, resolution
from mprnet_plugin.memory import check_pixels_fit

__all__ = [
    "BGR_ORDER",
    "PHONE_FORMATS",
    "PICTURE_FORMATS",
    "PNG_START",
    "Picture",
    "png_chunk",
    "read_picture",
    "readable_formats",
]

PICTURE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
"""Suffix to Pillow's name of the format; these are read and written."""
PHONE_FORMATS = {".heic": "HEIF", ".heif": "HEIF", ".avif": "AVIF"}
"""What phones write; read only, and where a decoder is there."""
PNG_START = b"\x89PNG\r\n\x1a\n"
BGR_ORDER = {2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}
"""RGB to OpenCV's BGR and back; OpenCV writes no grey with alpha, so grey goes to all three colours."""

_EXTRA_SAMPLES, _TILE_WIDTH, _TILE_LENGTH = 338, 322, 323
_ASSOCIATED, _WHITE_IS_ZERO = 1, 0
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "RGBA": "RGBA", "RGBa": "RGBA", "PA": "RGBA"}
"""Pillow's modes that do not become RGB."""
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_DESCRIPTIVE_MARKERS = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
"""JPEG's segments for applications and comments, but for those that say how colours are coded (APP0, APP14)."""
_LONGEST_REASON = 200

Tag = Callable[[int, Any], Any]
"""Returns a TIFF entry, or the given default."""


class Picture(NamedTuple):
    """A decoded file.

    ``pixels`` are (H, W), (H, W, 2 to 4), upright, RGB, alpha last; uint8, uint16 or float32. ``icc`` is the colour
    profile, ``exif`` the descriptive entries of the EXIF block, ``dpi`` the resolution, where the file has them.
    ``notes`` say what of the file is not in here.
    """

    pixels: Pixels
    icc: bytes | None
    exif: Image.Exif
    dpi: tuple[float, float] | None
    notes: tuple[str, ...] = ()


@functools.cache
def readable_formats() -> dict[str, str]:
    """Return suffix and format of all that can be read here: HEIC with pillow-heif, AVIF with a Pillow that has it."""
    able = {"AVIF"} if features.check("avif") else set()
    with contextlib.suppress(ImportError, OSError):
        importlib.import_module("pillow_heif").register_heif_opener()
        able.add("HEIF")
    return PICTURE_FORMATS | {suffix: form for suffix, form in PHONE_FORMATS.items() if form in able}


def read_picture(path: Path) -> Picture:
    """Read a file; its content decides the format.

    EXIF orientation is applied, palettes and CMYK become RGB. 16-bit PNG and TIFF keep their 16 bits and float TIFF
    its values. Metadata that is damaged is left out, and a note says so.

    Raises:
        InputError: The file cannot be read, is empty, truncated, damaged, no picture, or an animation, or its pixels do
            not fit into memory.
    """
    data = read_regular(path)
    if not data:
        raise InputError(f"{path}: is empty (0 bytes); copy it again from its source")
    if is_truncated_jpeg(data):
        raise InputError(f"{path}: is a truncated JPEG ({len(data)} bytes); copy it again from its source")
    try:
        with own_size_limit():
            # A phone's formats by their own names only: few decoders look at what a stranger's .png holds.
            form = readable_formats().get(path.suffix.lower(), "") if path.suffix.lower() in PHONE_FORMATS else ""
            return _decode_in_spite_of_metadata(data, [*KNOWN_FORMATS, *filter(None, [form])])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except MemoryError as error:
        raise InputError(f"{path}: needs more memory than there is; use a machine with more") from error
    except Exception as error:  # decoders raise nearly anything for damaged data
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no picture that is known" if unknown else f"damaged: {error or type(error).__name__}"
        reason = " ".join(reason.split())[:_LONGEST_REASON]
        raise InputError(
            f"{path}: cannot be decoded ({reason}); expected a whole {', '.join(PICTURE_FORMATS)}"
        ) from error


def _decode_in_spite_of_metadata(data: bytes, formats: list[str]) -> Picture:
    try:
        return _decode(data, formats)
    except (InputError, MemoryError):
        raise
    except Exception:
        bare = _without_metadata(data)
        if len(bare) == len(data):
            raise
        picture = _decode(bare, formats)
        return picture._replace(notes=(*picture.notes, "its metadata is damaged and was left out"))


def _without_metadata(data: bytes) -> bytes:
    """Return a PNG or JPEG with nothing but what its pixels need, anything else as it is."""
    if data.startswith(PNG_START):
        parts, start = [PNG_START], len(PNG_START)
        while start + 8 <= len(data):
            end = start + 12 + int.from_bytes(data[start : start + 4], "big")
            if data[start + 4 : start + 8] in _PIXEL_CHUNKS:
                parts.append(data[start:end])
            start = end
        return b"".join(parts)
    if not data.startswith(b"\xff\xd8"):
        return data
    parts, kept = [], 0
    for marker, start, end in jpeg_segments(data):
        if marker in _DESCRIPTIVE_MARKERS:
            parts.append(data[kept:start])
            kept = end
    return b"".join([*parts, data[kept:]])


def _decode(data: bytes, formats: list[str]) -> Picture:
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        if not data.startswith(_TIFF_STARTS):
            raise
        return _decode_tiff(data)  # such as three channels of floating point
    with image:
        notes = _check_frames(image)
        tag = getattr(image, "tag_v2", {}).get
        bits = tag(ExifTags.Base.BitsPerSample, (8,)) if data.startswith(_TIFF_STARTS) else (8,)
        depth = max(bits if isinstance(bits, tuple) else (bits,), default=8)
        _check_memory(image.size, tag, max(4, len(image.getbands()) * depth // 8))
        icc = image.info.get("icc_profile")
        if depth > 8:
            pixels = _deep_tiff_pixels(data, tag)
        elif data.startswith(PNG_START) and data[24] == 16:
            pixels = _deep_png_pixels(data, image)
        else:
            pixels, icc = _plain_pixels(image, icc)
        if icc is None and image.info.get("icc_profile") is not None:
            notes.append("its colour profile is damaged and was left out")
        # After the pixels, as looking for entries behind those of a PNG would hide that they are damaged.
        exif, problems = descriptive(image)
    dpi = resolution(image.info.get("dpi"))
    return Picture(np.ascontiguousarray(pixels), icc, exif, dpi, (*notes, *problems))


def _check_frames(image: Image.Image) -> list[str]:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise InputError(f"has more than one frame ({frames}); expected one picture: extract one")
    return [f"holds {frames} pictures, of which the first is taken"] if frames > 1 else []


def _check_memory(size: tuple[int, int], tag: Tag, bytes_per_pixel: float) -> None:
    width, height = size
    # A tile is decoded whole, however little of it the picture needs.
    tile = [max(side, 1) for side in (tag(_TILE_WIDTH, 1), tag(_TILE_LENGTH, 1)) if isinstance(side, int)]
    if len(tile) == 2 and tile[0] * tile[1] > 4 * max(width * height, 1 << 20):
        raise InputError(f"is cut into tiles of {tile[0]} x {tile[1]} pixels, far beyond its {width} x {height}")
    check_pixels_fit(width, height, bytes_per_pixel)


def _decode_tiff(data: bytes) -> Picture:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if len(file.pages) > 1:
            raise InputError(f"has more than one page ({len(file.pages)}); expected one picture: extract one")
        page = file.pages.first
        tag = page.tags.valueof
        size, samples = (page.imagewidth, page.imagelength), int(tag(ExifTags.Base.SamplesPerPixel, 1))
        _check_memory(size, tag, max(4, samples * int(page.bitspersample) / 8))
        icc = tag(int(ExifTags.Base.InterColorProfile), None)
        return Picture(_deep_tiff_pixels(data, tag), icc, Image.Exif(), None)


def _deep_tiff_pixels(data: bytes, tag: Tag) -> Pixels:
    """Decode a TIFF of more than 8 bits, and compare with its tags what came out: OpenCV leaves some channels out."""
    pixels = _deep_pixels(data)
    samples = int(tag(ExifTags.Base.SamplesPerPixel, 1))
    found = pixels.shape[2] if pixels.ndim == 3 else 1
    if found != samples or pixels.dtype == np.uint8:
        raise InputError(f"is a TIFF of {samples} channels whose layout is not supported; save it as a 16-bit PNG")
    extra = tag(_EXTRA_SAMPLES, ())
    if _ASSOCIATED in (extra if isinstance(extra, tuple) else (extra,)):
        raise InputError("has colours multiplied by alpha; save it with straight alpha, as PNG has")
    if int(tag(ExifTags.Base.PhotometricInterpretation, 1)) != _WHITE_IS_ZERO:
        return pixels
    if pixels.dtype != np.uint16:
        raise InputError("is a TIFF of floating point whose white is 0; save it with black at 0")
    return np.asarray(65535 - pixels)


def _deep_png_pixels(data: bytes, image: Image.Image) -> Pixels:
    image.load()  # so that its check sums are compared, all of them
    # Unlike its TIFF decoder, OpenCV's PNG decoder leaves the orientation to the caller.
    pixels = _upright(_deep_pixels(data), orientation(image))
    pixels = pixels[:, :, 2:] if image.mode == "LA" else pixels
    if pixels.ndim == 2 and "transparency" in image.info:
        pixels = np.stack([pixels, np.where(pixels == image.info["transparency"], 0, 65535)], 2).astype(np.uint16)
    return pixels


def _deep_pixels(data: bytes) -> Pixels:
    """Decode more than 8 bits a channel, which Pillow would cut to 8 or not read at all."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError("is damaged, or has more than 8 bits in a layout that is not supported; save it as 16-bit PNG")
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"holds {pixels.dtype} values; expected 8 or 16 bits, or floating point: convert it")
    return pixels if pixels.ndim == 2 else pixels[:, :, BGR_ORDER[pixels.shape[2]]]


def _upright(pixels: Pixels, turned: int) -> Pixels:
    """Apply an EXIF orientation (1 to 8) to (H, W, ...)."""
    if turned >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turned in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turned in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _plain_pixels(image: Image.Image, icc: bytes | None) -> tuple[Pixels, bytes | None]:
    """Decode 8 bits a channel to L, LA, RGB or RGBA, with the profile that fits the result."""
    image.load()
    turned = orientation(image)  # after the pixels: Pillow applies that of a TIFF as it decodes them, and drops it
    if image.mode == "CMYK":
        # A CMYK profile is wrong for RGB values: convert through it, to the profile that is then named.
        converted, icc = _from_cmyk(image, icc)
        return _upright(np.asarray(converted), turned), icc
    wanted = _MODES.get(image.mode, "RGB")
    if "transparency" in image.info:
        wanted = {"L": "LA", "RGB": "RGBA"}.get(wanted, wanted)
    return _upright(np.asarray(image.convert(wanted)), turned), icc


def _from_cmyk(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None]:
    if icc is None:
        return image.convert("RGB"), None
    target = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB"), None
    assert converted is not None  # noqa: S101 - it is None only where the picture is changed in place
    return converted, ImageCms.ImageCmsProfile(target).tobytes()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk with its length and check sum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
