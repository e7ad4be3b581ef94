"""Picture files in and out, with nothing lost: depth, alpha, orientation, colour profile, EXIF."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from mprnet_plugin.data.decoding import Pixels, is_truncated_jpeg
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file

__all__ = ["PICTURE_FORMATS", "Picture", "read_picture", "write_picture"]

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

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_deflate"},
}
_SWAPPED = {2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}
"""RGB to OpenCV's BGR and back; OpenCV writes no grey with alpha, so grey goes to all three colours."""
_EXTRA_SAMPLES, _ASSOCIATED, _WHITE_IS_ZERO = 338, 1, 0
_PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "RGBA": "RGBA", "RGBa": "RGBA", "PA": "RGBA"}
"""Pillow's modes that do not become RGB."""
_DESCRIPTIVE = frozenset(
    int(getattr(ExifTags.Base, name))
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright")
)
_RESOLUTION = frozenset(
    {int(ExifTags.Base.XResolution), int(ExifTags.Base.YResolution), int(ExifTags.Base.ResolutionUnit)}
)
_FOLDERS = frozenset({int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)})


class Picture(NamedTuple):
    """A decoded file.

    ``pixels`` are (H, W), (H, W, 2 to 4), upright, RGB, alpha last; uint8, uint16 or float32. ``icc`` is the colour
    profile, ``exif`` the descriptive entries of the EXIF block, ``dpi`` the resolution, where the file has them.
    """

    pixels: Pixels
    icc: bytes | None
    exif: Image.Exif
    dpi: tuple[float, float] | None


def read_picture(path: Path) -> Picture:
    """Read a file; its content decides the format.

    EXIF orientation is applied, palettes and CMYK become RGB. 16-bit PNG and TIFF keep their 16 bits and float TIFF
    its values.

    Raises:
        InputError: The file cannot be read, is empty, truncated, damaged, no picture, or an animation.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InputError(f"{path}: is no regular file; give a picture file")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if not data:
        raise InputError(f"{path}: is empty (0 bytes); copy it again from its source")
    if is_truncated_jpeg(data):
        raise InputError(f"{path}: is a truncated JPEG ({len(data)} bytes); copy it again from its source")
    try:
        return _decode(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise nearly anything for damaged data
        reason = "no picture that is known" if isinstance(error, UnidentifiedImageError) else f"damaged: {error}"
        raise InputError(
            f"{path}: cannot be decoded ({reason}); expected a whole {', '.join(PICTURE_FORMATS)}"
        ) from error


def _decode(data: bytes) -> Picture:
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if not data.startswith(_TIFF_STARTS):
            raise
        return _decode_tiff(data)  # such as three channels of floating point
    with image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise InputError("has more than one frame; expected one picture: extract one")
        exif, icc, dpi = _descriptive(image.getexif()), image.info.get("icc_profile"), image.info.get("dpi")
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(ExifTags.Base.BitsPerSample, (8,))
        if data.startswith(_TIFF_STARTS) and max(bits if isinstance(bits, tuple) else (bits,)) > 8:
            pixels = _deep_tiff_pixels(data, tags.get)
        elif data.startswith(_PNG_START) and data[24] == 16:
            # Unlike its TIFF decoder, OpenCV's PNG decoder leaves the orientation to the caller.
            pixels = _upright(_deep_pixels(data), int(image.getexif().get(ExifTags.Base.Orientation, 1)))
            pixels = pixels[:, :, 2:] if image.mode == "LA" else pixels
            if pixels.ndim == 2 and "transparency" in image.info:
                pixels = np.stack([pixels, np.where(pixels == image.info["transparency"], 0, 65535)], 2)
                pixels = pixels.astype(np.uint16)
        else:
            pixels, icc = _plain_pixels(image, icc)
    return Picture(np.ascontiguousarray(pixels), icc, exif, dpi)


def _decode_tiff(data: bytes) -> Picture:
    import tifffile  # the host's dependency by way of scikit-image

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if len(file.pages) > 1:
            raise InputError("has more than one page; expected one picture: extract one")
        tags = file.pages.first.tags
        icc = tags.valueof(int(ExifTags.Base.InterColorProfile))
        return Picture(_deep_tiff_pixels(data, tags.valueof), icc, Image.Exif(), None)


def _deep_tiff_pixels(data: bytes, tag: Callable[[int, Any], Any]) -> Pixels:
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


def _deep_pixels(data: bytes) -> Pixels:
    """Decode more than 8 bits a channel, which Pillow would cut to 8 or not read at all."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError("is damaged, or has more than 8 bits in a layout that is not supported; save it as 16-bit PNG")
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"holds {pixels.dtype} values; expected 8 or 16 bits, or floating point: convert it")
    return pixels if pixels.ndim == 2 else pixels[:, :, _SWAPPED[pixels.shape[2]]]


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1 to 8) to (H, W, ...)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _plain_pixels(image: Image.Image, icc: bytes | None) -> tuple[Pixels, bytes | None]:
    """Decode 8 bits a channel to L, LA, RGB or RGBA, with the profile that fits the result."""
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "CMYK" and icc is not None:
        # A CMYK profile is wrong for RGB values: convert through it, to the profile that is then named.
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), target, outputMode="RGB"
        )
        return np.asarray(converted), ImageCms.ImageCmsProfile(target).tobytes()
    wanted = _MODES.get(image.mode, "RGB")
    if "transparency" in image.info:
        wanted = {"L": "LA", "RGB": "RGBA"}.get(wanted, wanted)
    return np.asarray(image.convert(wanted)), icc


def _descriptive(exif: Image.Exif) -> Image.Exif:
    """Return the entries that still hold for the upright, restored picture: no orientation, layout or thumbnail."""
    result = Image.Exif()
    for tag, value in exif.items():
        if tag in _DESCRIPTIVE | _RESOLUTION:
            result[tag] = value
    for tag in _FOLDERS:
        entries = exif.get_ifd(tag)
        if entries:
            result[tag] = dict(entries)
    return result


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture whole or not at all, in the format of the suffix.

    JPEG is written with quality 95 and full colour resolution, WebP lossless. Profile, EXIF and resolution go along
    where the format has room: BMP takes none, 16-bit TIFF only text entries.

    Raises:
        InputError: An unknown suffix, pixels that the format cannot hold, or a file that cannot be written.
    """
    form = PICTURE_FORMATS.get(path.suffix.lower())
    if form is None:
        raise InputError(f"{path}: suffix {path.suffix!r} is not known; use one of {', '.join(PICTURE_FORMATS)}")
    pixels = picture.pixels
    if pixels.dtype != np.uint8 and form not in ("PNG", "TIFF"):
        raise InputError(f"{path}: {form} holds 8 bits, the picture is {pixels.dtype}; write PNG or TIFF")
    if pixels.dtype.kind == "f" and form == "PNG":
        raise InputError(f"{path}: PNG holds no floating point; write TIFF")
    if form == "JPEG" and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        raise InputError(f"{path}: JPEG holds no alpha; write PNG")
    with whole_file(path) as part:
        if pixels.dtype == np.uint8:
            part.write_bytes(_encode_plain(picture, form))
        elif form == "PNG":
            part.write_bytes(_encode_deep_png(picture))
        else:
            _write_deep_tiff(part, picture)


def _encode_plain(picture: Picture, form: str) -> bytes:
    options: dict[str, Any] = dict(_OPTIONS.get(form, {}))
    if picture.dpi is not None and form in ("JPEG", "PNG", "TIFF"):
        options["dpi"] = picture.dpi
    if form != "BMP":
        if picture.icc is not None:
            options["icc_profile"] = picture.icc
        if len(picture.exif):
            options["exif"] = picture.exif
    if form == "BMP" and picture.pixels.ndim == 3:
        return _encode_with_opencv(picture.pixels, ".bmp")  # Pillow drops the alpha
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _encode_deep_png(picture: Picture) -> bytes:
    """Encode 16 bits with OpenCV, then add the chunks that it cannot write, right behind the header."""
    content = _encode_with_opencv(picture.pixels, ".png")
    header = len(_PNG_START) + 25
    extra = b""
    if picture.icc is not None:
        extra += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc))
    if len(picture.exif):
        extra += _chunk(b"eXIf", picture.exif.tobytes().removeprefix(b"Exif\0\0"))
    return content[:header] + extra + content[header:]


def _encode_with_opencv(pixels: Pixels, suffix: str) -> bytes:
    ordered = pixels if pixels.ndim == 2 else pixels[:, :, _SWAPPED[pixels.shape[2]]]
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(ordered))[1].tobytes())


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _write_deep_tiff(path: Path, picture: Picture) -> None:
    import tifffile

    channels = picture.pixels.shape[2] if picture.pixels.ndim == 3 else 1
    text = [(tag, "s", 0, value, True) for tag, value in picture.exif.items() if isinstance(value, str)]
    tifffile.imwrite(
        path,
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
        extratags=text,
    )
