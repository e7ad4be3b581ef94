"""Where images come from: a folder of files, or an LMDB of the host's layout.

An LMDB value is a whole image file. Where it is an uncompressed Netpbm P6 file of 8 bits, :meth:`LmdbStore.read`
decodes nothing and copies nothing: the array is a view of the memory map, and a crop touches the crop's pages only.
"""

from __future__ import annotations

import re
import threading
import weakref
from functools import cached_property
from pathlib import Path
from typing import Protocol

import lmdb
import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from mprnet_plugin.data.decoding import KNOWN_FORMATS, DecodedImage, decode_rgb
from mprnet_plugin.data.folders import list_images
from mprnet_plugin.errors import InputError

META_NAME = "meta_info.txt"
DATA_NAME = "data.mdb"
LMDB_SUFFIX = ".lmdb"

_ORIENTATION_TAG = 0x0112
_FIRST_TRANSPOSED_ORIENTATION = 5  # 5 to 8 swap width and height
_REPACK = "pack it again with lmdb_tools or copy it again"
_META_LINE = re.compile(r"(?P<key>[^.]+)\.\S* \((?P<h>\d+), ?(?P<w>\d+)(?:, ?\d+)?\)(?: -?\d+)?")
_PPM_HEADER = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+(\d+)\s")
_PPM_HEADER_MAX = 64


class ImageStore(Protocol):
    """Images by key."""

    root: Path

    def keys(self) -> list[str]:
        """Return all keys, sorted."""

    def size(self, key: str) -> tuple[int, int]:
        """Return (height, width) in pixels, EXIF orientation applied, without decoding the pixels."""

    def read(self, key: str) -> DecodedImage:
        """Return (H, W, 3), RGB, uint8 or uint16; possibly read-only, so copy before writing to it."""

    def path(self, key: str) -> str:
        """Return a path whose last part, without suffix, is the image's name, for samples."""

    def where(self, key: str) -> str:
        """Return what to call the image in a message."""


class FolderStore:
    """Image files of a folder and of the folders below it; a key is the path without its suffix.

    Args:
        root: Folder with images.

    Raises:
        InputError: As :func:`mprnet_plugin.data.folders.list_images`.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._paths = list_images(self.root)

    def keys(self) -> list[str]:
        """Return all keys, sorted."""
        return list(self._paths)

    def size(self, key: str) -> tuple[int, int]:
        """Return (height, width) as decoded, from the file's header."""
        try:
            with PillowImage.open(self._path(key), formats=KNOWN_FORMATS) as image:
                width, height = image.size
                # Pillow reports the size of a TIFF with its orientation applied, of other formats without. Without an
                # entry before the pixels, it would decode all of a PNG to look for one behind them.
                plain = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
                orientation = 1 if plain else image.getexif().get(_ORIENTATION_TAG, 1)
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise InputError(f"{self.where(key)} is no readable image ({error}); copy it again") from error
        return (width, height) if orientation >= _FIRST_TRANSPOSED_ORIENTATION else (height, width)

    def read(self, key: str) -> DecodedImage:
        """Decode one file, see :func:`mprnet_plugin.data.decoding.decode_rgb`."""
        try:
            data = self._path(key).read_bytes()
        except OSError as error:
            raise InputError(f"{self.where(key)} cannot be read: {error.strerror}; check the file") from error
        return decode_rgb(data, self.where(key))

    def path(self, key: str) -> str:
        """Return the file's path, for samples."""
        return self.where(key)

    def where(self, key: str) -> str:
        """Return the file's path."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        try:
            return self._paths[key]
        except KeyError:
            raise InputError(f"folder {self.root} has no image {key!r}; use one of its {len(self._paths)}") from None


class _Map:
    """An open data.mdb with its read transaction, for as long as a store or an array refers to it.

    A forked child goes on with the map of its parent: without lock file and for reading, both are plain memory, while
    opening it a second time in one process (to which py-lmdb counts the child) is refused.
    """

    def __init__(self, root: Path) -> None:
        # Readahead: the rows of a crop lie together, and single-page reads from a cold disk are far slower.
        self._env = lmdb.open(str(root), readonly=True, lock=False, readahead=True, create=False)
        pages, page_size = self._env.info()["last_pgno"] + 1, self._env.stat()["psize"]
        present = (root / DATA_NAME).stat().st_size
        if present < pages * page_size:  # touching the missing pages would end the process with SIGBUS
            self._env.close()
            raise InputError(
                f"{root / DATA_NAME} is truncated: {present} bytes of at least {pages * page_size}; {_REPACK}"
            )
        self.entries: int = self._env.stat()["entries"]
        self._txn = self._env.begin(buffers=True)

    def get(self, key: str) -> memoryview | None:
        value: memoryview | None = self._txn.get(key.encode())
        return value


class _MappedBytes:
    """Lets an array refer to mapped memory and keep the map open."""

    def __init__(self, data: memoryview, owner: _Map) -> None:
        self.__array_interface__ = np.frombuffer(data, np.uint8).__array_interface__
        self.owner = owner


_maps: weakref.WeakValueDictionary[tuple[int, int], _Map] = weakref.WeakValueDictionary()
_maps_lock = threading.Lock()


def _shared_map(root: Path) -> _Map:
    """Open a database, or return the map that this process has of it already."""
    try:
        status = (root / DATA_NAME).stat()
    except OSError as error:
        raise InputError(
            f"{root / DATA_NAME} cannot be read: {error.strerror}; check the path, or {_REPACK}"
        ) from error
    identity = (status.st_dev, status.st_ino)
    with _maps_lock:
        opened = _maps.get(identity)
        if opened is None:
            try:
                opened = _Map(root)
            except lmdb.Error as error:
                raise InputError(f"{root} is no readable LMDB: {error}; {_REPACK}") from error
            _maps[identity] = opened
    return opened


class LmdbStore:
    """An LMDB in the host's layout: ``data.mdb`` and ``meta_info.txt`` with lines ``key.png (h,w,c) level``.

    Opened at first use in each process; may be pickled and forked.

    Args:
        root: The ``*.lmdb`` folder.

    Raises:
        InputError: ``meta_info.txt`` is missing or malformed.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._sizes = _read_meta(self.root)
        self._views: dict[str, DecodedImage] = {}  # no pixels: where they are in the map, found once

    def __reduce__(self) -> tuple[type[LmdbStore], tuple[Path]]:
        return LmdbStore, (self.root,)

    def keys(self) -> list[str]:
        """Return all keys, sorted."""
        return list(self._sizes)

    def size(self, key: str) -> tuple[int, int]:
        """Return (height, width) as ``meta_info.txt`` has it."""
        try:
            return self._sizes[key]
        except KeyError:
            raise InputError(f"{self.root} has no image {key!r}; use one of its {len(self._sizes)} keys") from None

    def raw(self, key: str) -> memoryview:
        """Return the stored file's bytes, valid while this store lives.

        Raises:
            InputError: No such key, or ``data.mdb`` is missing, truncated or not finished.
        """
        value = self._map.get(key)
        if value is None:
            raise InputError(f"{self.root} has no image {key!r}; use one of its {len(self._sizes)} keys")
        return value

    def read(self, key: str) -> DecodedImage:
        """Return one image; an 8-bit Netpbm P6 value is a read-only view of the map, anything else is decoded."""
        view = self._views.get(key)
        return self._read(key) if view is None else view

    def _read(self, key: str) -> DecodedImage:
        data = self.raw(key)
        header = _PPM_HEADER.match(bytes(data[:_PPM_HEADER_MAX]))
        if header is None:
            return decode_rgb(data, self.where(key))
        width, height, top = (int(number) for number in header.groups())
        dtype = np.dtype(np.uint8 if top < 256 else ">u2")
        expected = header.end() + height * width * 3 * dtype.itemsize
        if len(data) != expected:
            raise InputError(f"{self.where(key)} has {len(data)} bytes, its header asks for {expected}; {_REPACK}")
        pixels = np.asarray(_MappedBytes(data, self._map))[header.end() :].view(dtype).reshape(height, width, 3)
        if top > 255:
            return pixels.astype(np.uint16)
        self._views[key] = pixels
        return pixels

    def path(self, key: str) -> str:
        """Return a path for samples; nothing is there, but its last part names the image, as the host expects."""
        return str(self.root / key)

    def where(self, key: str) -> str:
        """Return the database and the key."""
        return f"{self.root}:{key}"

    @cached_property
    def _map(self) -> _Map:
        opened = _shared_map(self.root)
        if opened.entries != len(self._sizes):
            raise InputError(
                f"{self.root} is not finished: {opened.entries} images in {DATA_NAME}, "
                f"{len(self._sizes)} in {META_NAME}; {_REPACK}"
            )
        return opened


def _read_meta(root: Path) -> dict[str, tuple[int, int]]:
    """Return key to (height, width), sorted by key."""
    path = root / META_NAME
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path, or {_REPACK}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not ASCII text; {_REPACK}") from error
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(lines, 1):
        match = _META_LINE.fullmatch(line.rstrip())
        if match is None or match["key"] in sizes:
            what = "repeats a key" if match else "is not 'key.png (h,w,c) level'"
            raise InputError(f"{path} line {number} {what}: {line[:80]!r}; {_REPACK}")
        sizes[match["key"]] = (int(match["h"]), int(match["w"]))
    if not sizes:
        raise InputError(f"{path} lists no image; {_REPACK}")
    return dict(sorted(sizes.items()))


def open_store(root: str | Path) -> FolderStore | LmdbStore:
    """Open a folder of images, or an LMDB where the name ends in ``.lmdb`` (the host's rule)."""
    return LmdbStore(root) if Path(root).name.endswith(LMDB_SUFFIX) else FolderStore(root)
