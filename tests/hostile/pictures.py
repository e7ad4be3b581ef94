"""Pictures that somebody made to do harm, or that years and programs have made odd: any number, from a seed."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SIDE = 16

Named = tuple[str, bytes]


def array(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> Any:
    """Return random pixels."""
    values = np.random.default_rng(seed).random(shape)
    return (values * {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)).astype(dtype)


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """Return a picture as a file of a format."""
    buffer = io.BytesIO()
    (image or Image.fromarray(array(SIDE, SIDE, 3))).save(buffer, form, **options)
    return buffer.getvalue()


def tiff(pixels: Any, **options: Any) -> bytes:
    """Return a TIFF by another writer than Pillow."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def full_exif() -> Image.Exif:
    """Return EXIF with text, both folders and a turn."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.IFD.Exif] = {int(ExifTags.Base.LensModel): "50mm", int(ExifTags.Base.UserComment): b"x" * 40}
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (51.0, 30.0, 0.0)}
    return exif


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def after_header(png: bytes, *chunks: bytes) -> bytes:
    """Put chunks behind a PNG's header."""
    return png[:33] + b"".join(chunks) + png[33:]


def segment(jpeg: bytes, content: bytes, marker: int = 0xE1, before: bytes = b"") -> bytes:
    """Put a segment behind a JPEG's start."""
    return jpeg[:2] + before + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def honest() -> list[Named]:
    """Return one small picture of each kind that is read."""
    rgb = Image.fromarray(array(SIDE, SIDE, 3))
    exif = {"exif": full_exif(), "icc_profile": SRGB}
    deep = array(SIDE, SIDE, 3, dtype=np.uint16)
    return [
        ("rgb.png", saved("PNG", rgb, **exif)),
        ("grey.png", saved("PNG", rgb.convert("L"))),
        ("alpha.png", saved("PNG", rgb.convert("RGBA"))),
        ("palette.png", saved("PNG", rgb.quantize(7), transparency=2)),
        ("bits.png", saved("PNG", rgb.convert("1"))),
        ("deep.png", saved("PNG", Image.fromarray(array(SIDE, SIDE, dtype=np.uint16)))),
        ("rgb.jpg", saved("JPEG", rgb, **exif)),
        ("grey.jpg", saved("JPEG", rgb.convert("L"))),
        ("cmyk.jpg", saved("JPEG", rgb.convert("CMYK"))),
        ("progressive.jpeg", saved("JPEG", rgb, progressive=True)),
        ("plain.tif", saved("TIFF", rgb, icc_profile=SRGB)),
        ("exif.tif", saved("TIFF", rgb, exif=full_exif().tobytes())),
        ("lzw.tif", saved("TIFF", rgb, compression="tiff_lzw")),
        ("jpeg.tiff", saved("TIFF", rgb, compression="jpeg")),
        ("deep.tif", tiff(deep, photometric="rgb", compression="zlib")),
        ("float.tif", tiff(array(SIDE, SIDE, 3, dtype=np.float32), photometric="rgb")),
        ("tiled.tif", tiff(array(32, 32, 3), photometric="rgb", tile=(16, 16))),
        ("lossy.webp", saved("WEBP", rgb, **exif)),
        ("lossless.webp", saved("WEBP", rgb.convert("RGBA"), lossless=True)),
        ("rgb.bmp", saved("BMP", rgb)),
        ("palette.bmp", saved("BMP", rgb.quantize(7))),
    ]


def patched(content: bytes, position: int, value: bytes) -> bytes:
    """Return the bytes with some of them replaced."""
    return content[:position] + value + content[position + len(value) :]


def png_of(width: int, height: int, depth: int = 8, kind: int = 2, packed: bytes | None = None) -> bytes:
    """Return a PNG that says that it has this size, whatever its pixels are."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    data = zlib.compress(bytes(1000)) if packed is None else packed
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff_of(tags: dict[int, tuple[int, int]], tail: bytes = bytes(1024), following: int = 0) -> bytes:
    """Return a TIFF of one directory at byte 8; tags are numbers to type and value."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + tail


def tiff_grey(width: int, height: int, **more: int) -> dict[int, tuple[int, int]]:
    """Return the tags of a grey TIFF of this size."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: 256}
    tags |= {int(name.removeprefix("t")): value for name, value in more.items()}
    return {tag: (4, value) for tag, value in tags.items()}


def bombs() -> Iterator[Named]:
    """Yield small files that say they are huge."""
    for index, side in enumerate((30_000, 65_535, 1 << 20, (1 << 31) - 1)):
        yield f"bomb{index}.png", png_of(side, side)
        yield f"deep_bomb{index}.png", png_of(side, side, 16)
        yield f"line_bomb{index}.png", png_of(side * 8 % (1 << 31), 1)
        yield f"bomb{index}.tif", tiff_of(tiff_grey(side, side))
        yield f"bomb_bits{index}.tif", tiff_of(tiff_grey(side, side, t258=16))
        yield f"tile_bomb{index}.tif", tiff_of(tiff_grey(16, 16, t322=side, t323=side, t324=200, t325=256))
        yield f"samples{index}.tif", tiff_of(tiff_grey(16, 16, t277=min(side, 65_535)))
        yield f"bomb{index}.bmp", patched(saved("BMP"), 18, struct.pack("<ii", side, side))
    yield "upside_down.bmp", patched(saved("BMP"), 22, struct.pack("<i", -(1 << 31)))
    yield "bomb.webp", patched(saved("WEBP", lossless=True), 21, b"\xff\xff\xff\x0f")
    jpeg = saved("JPEG")
    frame = jpeg.index(b"\xff\xc0")
    yield "bomb.jpg", patched(jpeg, frame + 5, b"\xff\xdc\xff\xdc")
    yield "zlib_bomb.png", png_of(8, 8, packed=zlib.compress(bytes(50_000_000), 9))
    yield "nothing.png", png_of(0, 0)
    yield "nothing.jpg", patched(jpeg, frame + 5, bytes(4))


def foreign() -> Iterator[Named]:
    """Yield formats that are not read, under names that are."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n(x) print\nshowpage\n%%EOF\n"
    names = ("GIF", "PPM", "PCX", "SGI", "TGA", "ICO", "PDF", "IM", "DDS", "XBM", "PALM", "MSP", "SPIDER")
    for suffix in (".png", ".jpg", ".tif"):
        yield f"postscript{suffix}", eps
    yield "fits.png", b"SIMPLE  =                    T".ljust(80) + b"BITPIX  = 8".ljust(80) + bytes(5600)
    for form in names:
        image = Image.fromarray(array(SIDE, SIDE)).convert({"XBM": "1", "MSP": "1", "SPIDER": "F"}.get(form, "L"))
        try:
            yield f"{form.lower()}.png", saved(form, image)
        except (OSError, KeyError, ValueError):  # this Pillow cannot write it
            yield f"{form.lower()}.png", form.encode() * 100
    yield "program.png", b"#!/bin/sh\ntouch ran\n"
    yield "empty.png", b""
    yield "text.jpg", b"text"
    yield "markup.png", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"


def several() -> Iterator[Named]:
    """Yield files of more than one picture."""
    first, second = (Image.fromarray(array(SIDE, SIDE, 3, seed=seed)) for seed in (0, 1))
    for form, suffix in (("WEBP", "webp"), ("PNG", "png"), ("GIF", "png"), ("TIFF", "tif"), ("MPO", "jpg")):
        yield f"several_{form}.{suffix}", saved(form, first, save_all=True, append_images=[second])
    yield "deep_pages.tif", tiff(array(3, SIDE, SIDE, 3, dtype=np.uint16), photometric="rgb")
    yield "float_pages.tif", tiff(array(3, SIDE, SIDE, 3, dtype=np.float32), photometric="rgb")
    yield "page_loop.tif", tiff_of(tiff_grey(16, 16), following=8)
    yield "many_frames.png", after_header(saved("PNG"), chunk(b"acTL", struct.pack(">II", 1 << 31, 0)))


def metadata() -> Iterator[Named]:
    """Yield good pixels beside metadata that is too long, malformed, or of another alphabet."""
    png, jpeg = saved("PNG"), saved("JPEG")
    exif = full_exif().tobytes()
    big = Image.Exif()
    big[ExifTags.IFD.Exif] = {int(ExifTags.Base.UserComment): b"x" * 70_000}
    foreign_text = [(315, "s", 0, "Zoë Müller".encode(), True), (270, "s", 0, "写真".encode(), True)]
    yield "exif_long.png", saved("PNG", exif=big)
    yield "exif_long.webp", saved("WEBP", exif=big)
    yield "profile_long.png", saved("PNG", icc_profile=np.random.default_rng(0).bytes(3_000_000))
    yield "profile_bomb.png", after_header(png, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(40_000_000), 9)))
    yield "text_bomb.png", after_header(png, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(40_000_000), 9)))
    yield "texts.png", after_header(png, *[chunk(b"tEXt", b"a\0" + b"b" * 60_000)] * 40)
    yield "profile_false.png", saved("PNG", icc_profile=b"no profile")
    yield "profile_false.jpg", saved("JPEG", Image.new("CMYK", (SIDE, SIDE)), icc_profile=b"no profile")
    yield "profile_cut.tif", saved("TIFF", icc_profile=SRGB[:99])
    yield "foreign_text.tif", tiff(array(SIDE, SIDE, 3, dtype=np.uint16), photometric="rgb", extratags=foreign_text)
    yield "foreign_text8.tif", tiff(array(SIDE, SIDE, 3), photometric="rgb", extratags=foreign_text)
    yield "exif16.tif", tiff(array(SIDE, SIDE, dtype=np.uint16), extratags=[(274, "H", 1, 77, True)])
    for index in range(24):
        random = Random(index)  # noqa: S311
        bad = bytearray(exif)
        for _ in range(1 + index):
            bad[random.randrange(6, len(bad))] = random.randrange(256)
        yield f"exif_bad{index}.jpg", segment(jpeg, bytes(bad))
        yield f"exif_bad{index}.png", after_header(png, chunk(b"eXIf", bytes(bad[6:])))
        yield f"exif_bad{index}.webp", saved("WEBP", exif=bytes(bad))
        yield f"exif_bad{index}.tif", _sprinkled(random, saved("TIFF", exif=exif), 1 + index // 4, 330)
    for index, bad_dpi in enumerate((b"\0\0\0\0", b"\xff\xff\xff\xff")):
        yield f"dpi{index}.jpg", segment(jpeg, b"JFIF\0\1\1\1" + bad_dpi + b"\0\0", 0xE0)
        yield f"dpi{index}.png", after_header(png, chunk(b"pHYs", bad_dpi * 2 + b"\1"))
    yield "fill.jpg", segment(jpeg, b"comment", 0xFE, before=b"\xff" * 7)
    yield "mpf.jpg", segment(jpeg, b"MPF\0II*\0\x08\0\0\0" + bytes(40), 0xE2)
    yield "no_length.jpg", jpeg[:2] + b"\xff\xfe\0\0" * 9 + jpeg[2:]


def mutated(random: Random) -> Iterator[Named]:
    """Yield honest files with something broken, without end."""
    files = honest()
    changes: list[Callable[[Random, bytes, bytes], bytes]] = [
        lambda random, content, _: content[: random.randrange(len(content))],
        lambda random, content, _: _sprinkled(random, content, 1, len(content)),
        lambda random, content, _: _sprinkled(random, content, 8, len(content)),
        lambda random, content, _: _sprinkled(random, content, 3, min(64, len(content))),
        lambda random, content, _: patched(
            content,
            random.randrange(len(content)),
            random.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"]),
        ),
        lambda random, content, other: (
            content[: random.randrange(len(content))] + other[random.randrange(len(other)) :]
        ),
        lambda random, content, _: _repeated(random, content),
    ]
    while True:
        name, content = random.choice(files)
        stem, suffix = name.split(".")
        change = random.choice(changes)
        yield f"{stem}_{random.randrange(1 << 40):x}.{suffix}", change(random, content, random.choice(files)[1])


def _sprinkled(random: Random, content: bytes, count: int, within: int) -> bytes:
    result = bytearray(content)
    for _ in range(count):
        result[random.randrange(within)] = random.randrange(256)
    return bytes(result)


def _repeated(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content))
    part = content[start : start + random.randrange(1, 200)]
    return content[:start] + part * random.randrange(2, 50) + content[start:]


def hostile_pictures(seed: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield names, as the file system has them, and contents."""
    random = Random(seed)  # noqa: S311 - it has to be the same each time
    made = [*honest(), *bombs(), *foreign(), *several(), *metadata()]
    good = saved("PNG")
    names = [b"n" * 245 + b".png", b"new\nline.png", b"-dash.png", b"\xff\xfe latin.png", b"\x1b[2J escape.png"]
    yield from ((name, good) for name in names)
    yield from ((name.encode(), content) for name, content in made)
    endless = mutated(random)
    for _ in range(count - len(made) - len(names)):
        name, content = next(endless)
        yield name.encode(), content
