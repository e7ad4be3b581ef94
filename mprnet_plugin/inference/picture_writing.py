"""Pictures written to files, whole or not at all, with as much of their metadata as the format holds."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file
from mprnet_plugin.inference.metadata import entries, of_entries, tag_name
from mprnet_plugin.inference.picture_files import BGR_ORDER, PICTURE_FORMATS, PNG_START, Picture, png_chunk

__all__ = ["check_format_holds", "write_picture"]

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_deflate"},
}
_LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_LARGEST_JPEG_PROFILE = 255 * 65_519
"""As many segments as it can be cut into, each as long as it can be; Pillow would count on from 0."""
_DESCRIPTION = int(ExifTags.Base.ImageDescription)
_PROBE_SIDE = 8
_NAMED = 4


def check_format_holds(path: Path, pixels: Pixels) -> str:
    """Check that a file of this name can hold pixels of this shape and type.

    Returns:
        Pillow's name of the format.

    Raises:
        InputError: It cannot, or no format has this suffix.
    """
    form = PICTURE_FORMATS.get(path.suffix.lower())
    if form is None:
        raise InputError(f"{path}: suffix {path.suffix!r} is not known; use one of {', '.join(PICTURE_FORMATS)}")
    if pixels.dtype != np.uint8 and form not in ("PNG", "TIFF"):
        raise InputError(f"{path}: {form} holds 8 bits, the picture is {pixels.dtype}; write PNG or TIFF")
    if pixels.dtype.kind == "f" and form == "PNG":
        raise InputError(f"{path}: PNG holds no floating point; write TIFF")
    if form == "JPEG" and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        raise InputError(f"{path}: JPEG holds no alpha; write PNG")
    height, width = pixels.shape[:2]
    if max(height, width) > _LARGEST_SIDE.get(form, max(height, width)):
        raise InputError(
            f"{path}: {form} holds sides up to {_LARGEST_SIDE[form]}, the picture is {width} x {height}; write PNG"
        )
    return form


def write_picture(path: Path, picture: Picture) -> tuple[str, ...]:
    """Write a picture whole or not at all, in the format of the suffix.

    JPEG is written with quality 95 and full colour resolution, WebP lossless. Profile, EXIF and resolution go along
    where the format has room: BMP takes none, 16-bit TIFF only text entries.

    Returns:
        What of the metadata was left out because the format cannot hold it, in words.

    Raises:
        InputError: An unknown suffix, pixels that the format cannot hold, or a file that cannot be written.
    """
    form = check_format_holds(path, picture.pixels)
    fitting, notes = _fit_metadata(picture, form)
    try:
        content = _encode(fitting, form)
    except Exception as error:  # encoders raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: could not be encoded as {form} ({reason}); write PNG or TIFF") from error
    with whole_file(path) as part:
        part.write_bytes(content)
    return notes


def _fit_metadata(picture: Picture, form: str) -> tuple[Picture, tuple[str, ...]]:
    """Leave out what metadata the format cannot hold, found out with a few pixels in place of the picture's."""
    few = np.zeros((_PROBE_SIDE, _PROBE_SIDE, *picture.pixels.shape[2:]), picture.pixels.dtype)
    if _can_be_encoded(picture._replace(pixels=few), form):
        return picture, ()
    bare = Picture(few, None, Image.Exif(), None)
    lost = []
    icc, dpi = picture.icc, picture.dpi
    if not _can_be_encoded(bare._replace(icc=icc), form):
        icc, lost = None, [f"its colour profile ({len(picture.icc or b'')} bytes)"]
    if not _can_be_encoded(bare._replace(dpi=dpi), form):
        dpi, lost = None, [*lost, "its resolution"]
    parts = list(entries(picture.exif))
    kept = [part for part in parts if _can_be_encoded(bare._replace(exif=of_entries([part])), form)]
    if not _can_be_encoded(bare._replace(exif=of_entries(kept)), form):
        kept = []  # each has room, all together have not
    if len(kept) < len(parts):
        names = [tag_name(part) for part in parts if part not in kept]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lost.append(f"EXIF entries {', '.join(names[:_NAMED])}{more}")
    fitting = picture._replace(icc=icc, dpi=dpi, exif=of_entries(kept))
    if not _can_be_encoded(fitting._replace(pixels=few), form):
        fitting, lost = bare._replace(pixels=picture.pixels), ["all of its metadata"]
    return fitting, (f"written without {', '.join(lost)}, which {form} cannot hold",)


def _can_be_encoded(picture: Picture, form: str) -> bool:
    try:
        _encode(picture, form)
    except Exception:
        return False
    return True


def _encode(picture: Picture, form: str) -> bytes:
    if picture.pixels.dtype == np.uint8:
        return _encode_plain(picture, form)
    return _encode_deep_png(picture) if form == "PNG" else _encode_deep_tiff(picture)


def _encode_plain(picture: Picture, form: str) -> bytes:
    options: dict[str, Any] = dict(_OPTIONS.get(form, {}))
    if picture.dpi is not None and form in ("JPEG", "PNG", "TIFF"):
        options["dpi"] = picture.dpi
    if form != "BMP":
        if picture.icc is not None:
            if form == "JPEG" and len(picture.icc) > _LARGEST_JPEG_PROFILE:
                raise ValueError("colour profile is too long")
            options["icc_profile"] = picture.icc
        if len(picture.exif):
            options["exif"] = picture.exif
        if form == "TIFF" and any(folder is not None for folder, _, _ in entries(picture.exif)):
            # Pillow writes an EXIF folder into a TIFF only without compression, and only from its bytes.
            options |= {"compression": "raw", "exif": picture.exif.tobytes()}
    if form == "BMP" and picture.pixels.ndim == 3:
        return _encode_with_opencv(picture.pixels, ".bmp")  # Pillow drops the alpha
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _encode_deep_png(picture: Picture) -> bytes:
    """Encode 16 bits with OpenCV, then add the chunks that it cannot write, right behind the header."""
    content = _encode_with_opencv(picture.pixels, ".png")
    header = len(PNG_START) + 25
    extra = b""
    if picture.icc is not None:
        extra += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc))
    if len(picture.exif):
        extra += png_chunk(b"eXIf", picture.exif.tobytes().removeprefix(b"Exif\0\0"))
    return content[:header] + extra + content[header:]


def _encode_with_opencv(pixels: Pixels, suffix: str) -> bytes:
    ordered = pixels if pixels.ndim == 2 else pixels[:, :, BGR_ORDER[pixels.shape[2]]]
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(ordered))[1].tobytes())


def _encode_deep_tiff(picture: Picture) -> bytes:
    import tifffile

    channels = picture.pixels.shape[2] if picture.pixels.ndim == 3 else 1
    # As bytes, since tifffile takes ASCII only; latin-1 gives back the very bytes that Pillow read.
    text = {
        tag: value.encode("latin-1", "replace")
        for tag, value in picture.exif.items()
        if isinstance(value, str) and value
    }
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        picture.pixels,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        iccprofile=picture.icc,
        resolution=picture.dpi,
        resolutionunit=None if picture.dpi is None else "inch",
        metadata=None,
        software=False,
        description=text.pop(_DESCRIPTION, None),
        extratags=[(tag, "s", 0, value, True) for tag, value in text.items()],
    )
    return buffer.getvalue()
