"""From a source picture to the values of a database: which regions, in which storage form."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from lmdb_tools.layout import Picture
from mprnet_plugin.data.decoding import DecodedImage, decode_rgb
from mprnet_plugin.data.sidd_blocks import load_blocks
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import read_regular

STORAGES = ("ppm", "png", "copy")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Region(NamedTuple):
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int


class Value(NamedTuple):
    """What a database holds under one key; ``shape`` is (height, width, channels) as decoded."""

    key: str
    shape: tuple[int, int, int]
    data: bytes | bytearray


@dataclass(frozen=True)
class PackOptions:
    """How pictures are stored.

    Attributes:
        storage: ``ppm``, ``png`` or ``copy``.
        level: zlib level 0 to 9 of PNGs that are made here.
        patch: Side of square patches in pixels, 0 for whole pictures.
        stride: Distance of overlapping patches in pixels.
        random: Number of random patches per picture instead of a grid of them, 0 for the grid.
        seed: Of the random patches.
    """

    storage: str = "ppm"
    level: int = 1
    patch: int = 0
    stride: int = 0
    random: int = 0
    seed: int = 0


def regions(key: str, size: tuple[int, int], options: PackOptions) -> list[Region]:
    """Return what is cut from a picture: the whole of it, a grid, or random patches.

    The last row and column of a grid end at the border. A side shorter than the patch is kept whole. Random places
    follow from the seed and the key, so that both pictures of a pair are cut alike, in every run.

    Args:
        key: Key of the pair.
        size: (height, width) of the picture.
        options: See :class:`PackOptions`.
    """
    height, width = size
    if not options.patch:
        return [Region(0, 0, height, width)]
    tall, wide = min(options.patch, height), min(options.patch, width)
    if options.random:
        rng = np.random.default_rng([options.seed, zlib.crc32(key.encode())])
        tops = rng.integers(0, height - tall + 1, options.random)
        lefts = rng.integers(0, width - wide + 1, options.random)
        return [Region(int(top), int(left), tall, wide) for top, left in zip(tops, lefts, strict=True)]
    return [
        Region(top, left, tall, wide)
        for top in _starts(height, tall, options.stride)
        for left in _starts(width, wide, options.stride)
    ]


def keys_of(key: str, count: int, options: PackOptions) -> list[str]:
    """Return the keys of a picture's regions: its own, or ``<key>_s001`` and so on for patches."""
    return [f"{key}_s{number:03d}" for number in range(1, count + 1)] if options.patch else [key]


def encode(key: str, picture: Picture, options: PackOptions) -> Iterator[Value]:
    """Yield the values of one picture, one after the other.

    ``copy`` hands on the file's bytes, ``png`` too where the file is a PNG; everything else is decoded by
    :func:`mprnet_plugin.data.decoding.decode_rgb`, as a folder dataset does. Blocks of ``.mat`` files have no file
    bytes and are stored as ``ppm`` where ``copy`` is asked for.

    Raises:
        InputError: The picture is missing, corrupt, or not of the size that its header said.
    """
    data = b"" if picture.variable else read_regular(picture.path)
    if not options.patch and data and options.storage != "ppm":
        is_png = data.startswith(_PNG_SIGNATURE)
        if is_png:
            check_png(data, str(picture.path))
        if is_png or options.storage == "copy":
            height, width = picture.size if is_png else decode_rgb(data, str(picture.path)).shape[:2]
            yield Value(key, (height, width, 3), data)
            return
    image = _block(picture) if picture.variable else decode_rgb(data, str(picture.path))
    if image.shape[:2] != picture.size:
        raise InputError(f"{picture.path} is {image.shape[:2]}, its header said {picture.size}; convert it to PNG")
    cuts = regions(key, picture.size, options)
    for name, cut in zip(keys_of(key, len(cuts), options), cuts, strict=True):
        pixels = image[cut.top : cut.top + cut.height, cut.left : cut.left + cut.width]
        yield Value(
            name, (cut.height, cut.width, 3), _png(pixels, options) if options.storage == "png" else ppm(pixels)
        )


def ppm(pixels: DecodedImage) -> bytes:
    """Return an uncompressed Netpbm P6 file of (H, W, 3) RGB pixels; 16 bits are big-endian, as the format wants."""
    height, width = pixels.shape[:2]
    top = 255 if pixels.dtype == np.uint8 else 65535
    return (
        b"P6\n%d %d\n%d\n" % (width, height, top) + pixels.astype(pixels.dtype.newbyteorder(">"), copy=False).tobytes()
    )


def check_png(data: bytes, name: str) -> None:
    """Raise :class:`InputError` unless a PNG is whole: every chunk with its checksum, up to the last one."""
    view, position, kind = memoryview(data), len(_PNG_SIGNATURE), b""
    while kind != b"IEND" and position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = bytes(view[position + 4 : position + 8]), position + 8 + length
        if end + 4 > len(data) or zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            break
        position = end + 4
    else:
        if kind == b"IEND":
            return
    raise InputError(f"{name} is corrupt or truncated at byte {position} of {len(data)}; copy it again from its source")


def _starts(length: int, side: int, stride: int) -> list[int]:
    return [*range(0, length - side, stride), length - side]


@lru_cache(maxsize=1)  # 250 MB each; the jobs of a file follow each other
def _blocks(path: Path, variable: str) -> npt.NDArray[np.uint8]:
    return load_blocks(path, variable)


def _block(picture: Picture) -> npt.NDArray[np.uint8]:
    scene, block = picture.position
    pixels: npt.NDArray[np.uint8] = _blocks(picture.path, picture.variable)[scene, block]
    return pixels


def _png(pixels: DecodedImage, options: PackOptions) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    written, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, options.level])
    if not written:
        raise InputError(f"a picture of shape {pixels.shape} cannot be written as PNG; use --storage ppm")
    return bytes(data)
