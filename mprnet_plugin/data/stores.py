"""Where images come from: a folder of files, or an LMDB of the host's layout.

An LMDB value is a whole image file. Where it is an uncompressed Netpbm P6 file of 8 bits, :meth:`LmdbStore.read`
decodes nothing and copies nothing: the array is a view of the memory map, and a crop touches the crop's pages only.
"""

from __future__ import annotations

import io
import os
import re
import threading
import weakref
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

import lmdb
import numpy as np
from PIL import Image as PillowImage

from mprnet_plugin.data.decoding import KNOWN_FORMATS, DecodedImage, decode_rgb, own_size_limit
from mprnet_plugin.data.folders import list_images
from mprnet_plugin.data.lmdb_pages import check_pages
from mprnet_plugin.data.meta_info import META_NAME, REPACK, read_meta
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import check_regular, open_regular, read_regular

DATA_NAME = "data.mdb"
LMDB_SUFFIX = ".lmdb"

_ORIENTATION_TAG = 0x0112
_TRANSPOSED_ORIENTATIONS = range(5, 9)  # width and height are swapped
_PPM_HEADER = re.compile(rb"P6\s+(\d{1,7})\s+(\d{1,7})\s+(\d{1,5})\s")
_PPM_HEADER_MAX = 64
_VIEWS_MAX = 4096  # a kilobyte each; finding a view again takes ten microseconds
_PIXEL_BYTES_MAX = 8  # four channels of 16 bits
_METADATA_MAX = 64 << 20  # profiles, thumbnails, comments


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
        return picture_size(self._path(key))

    def read(self, key: str) -> DecodedImage:
        """Decode one file, see :func:`mprnet_plugin.data.decoding.decode_rgb`."""
        return decode_rgb(read_regular(self._path(key)), self.where(key))

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


def picture_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image file as decoded, from its header.

    Raises:
        InputError: It cannot be read, or is no image.
    """
    try:
        with open_regular(path) as file:
            return _header_size(file, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the file") from error


def _header_size(file: BinaryIO, name: str) -> tuple[int, int]:
    """Return (height, width) of an image file as decoded, from its header."""
    try:
        with own_size_limit(), PillowImage.open(file, formats=KNOWN_FORMATS) as image:
            width, height = image.size
            # Pillow reports the size of a TIFF with its orientation applied, of other formats without. Without an
            # entry before the pixels, it would decode all of a PNG to look for one behind them.
            plain = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
            orientation = 1 if plain else image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception as error:  # Pillow raises many types on damaged files
        raise InputError(f"{name} is no readable image ({error}); copy it again") from error
    return (width, height) if orientation in _TRANSPOSED_ORIENTATIONS else (height, width)


class _Map:
    """An open data.mdb with its read transaction, for as long as a store or an array refers to it.

    A forked child goes on with the map of its parent: without lock file and for reading, both are plain memory, while
    opening it a second time in one process (to which py-lmdb counts the child) is refused.
    """

    def __init__(self, root: Path) -> None:
        self.entries = check_pages(root / DATA_NAME)
        # Readahead: the rows of a crop lie together, and single-page reads from a cold disk are far slower.
        self._env = lmdb.open(os.fsencode(root), readonly=True, lock=False, readahead=True, create=False)
        self._txn = self._env.begin(buffers=True)

    def get(self, key: str) -> memoryview | None:
        value: memoryview | None = self._txn.get(key.encode())
        return value


class _MappedBytes:
    """Lets an array refer to mapped memory and keep the map open."""

    def __init__(self, data: memoryview, owner: _Map) -> None:
        self.__array_interface__ = np.frombuffer(data, np.uint8).__array_interface__
        self.owner = owner


def remedy(error: Exception) -> str:
    """Say what to do where a database cannot be opened, or not a second time: py-lmdb opens one once in a process.

    Args:
        error: What opening it raised, here or in the host's dataset.
    """
    if "already open in this process" not in str(error):
        return REPACK
    return "write type: PairedRestorationDataset for each set that reads it, or give each a copy of its own"


_maps: weakref.WeakValueDictionary[tuple[int, int], _Map] = weakref.WeakValueDictionary()
_maps_lock = threading.Lock()


def _shared_map(root: Path) -> _Map:
    """Open a database, or return the map that this process has of it already."""
    path = root / DATA_NAME
    try:
        status = path.stat()
        check_regular(path, status.st_mode)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path, or {REPACK}") from error
    identity = (status.st_dev, status.st_ino)
    with _maps_lock:
        opened = _maps.get(identity)
        if opened is None:
            try:
                opened = _Map(root)
            except (lmdb.Error, OSError) as error:
                raise InputError(f"{root} cannot be opened: {str(error).rstrip('.')}; {remedy(error)}") from error
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
        self._sizes = read_meta(self.root)
        self._views: dict[str, DecodedImage] = {}  # no pixels: where the first few are in the map, found once

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

    def open(self) -> None:
        """Open ``data.mdb`` now, which otherwise the first look at a value does.

        Raises:
            InputError: It is missing, damaged or not finished.
        """
        _ = self._map

    def raw(self, key: str) -> memoryview:
        """Return the stored file's bytes, valid while this store lives.

        Raises:
            InputError: No such key, or ``data.mdb`` is missing, truncated or not finished.
        """
        try:
            value = self._map.get(key)
        except lmdb.Error as error:
            raise InputError(f"{self.where(key)} cannot be read: {error}; {REPACK}") from error
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
            return self._decode(key, data)
        width, height, top = (int(number) for number in header.groups())
        dtype = np.dtype(np.uint8 if top < 256 else ">u2")
        expected = header.end() + height * width * 3 * dtype.itemsize
        if len(data) != expected or not height * width:
            raise InputError(f"{self.where(key)} has {len(data)} bytes, its header asks for {expected}; {REPACK}")
        pixels = np.asarray(_MappedBytes(data, self._map))[header.end() :].view(dtype).reshape(height, width, 3)
        if top > 255:
            return pixels.astype(np.uint16)
        if len(self._views) < _VIEWS_MAX:
            self._views[key] = pixels
        return pixels

    def _decode(self, key: str, data: memoryview) -> DecodedImage:
        """Decode a value whose header asks for no more pixels than ``meta_info.txt`` has, turned or not."""
        listed, name = self.size(key), self.where(key)
        if len(data) > listed[0] * listed[1] * _PIXEL_BYTES_MAX + _METADATA_MAX:
            raise InputError(f"{name} has {len(data)} bytes, more than {listed[1]}x{listed[0]} pixels need; {REPACK}")
        if data:
            height, width = _header_size(io.BytesIO(data), name)
            if height * width > listed[0] * listed[1]:
                raise InputError(f"{name} is {width}x{height}, {META_NAME} says {listed[1]}x{listed[0]}; {REPACK}")
        return decode_rgb(data, name)

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
                f"{len(self._sizes)} in {META_NAME}; {REPACK}"
            )
        return opened


def open_store(root: str | Path) -> FolderStore | LmdbStore:
    """Open a folder of images, or an LMDB where the name ends in ``.lmdb`` (the host's rule)."""
    return LmdbStore(root) if Path(root).name.endswith(LMDB_SUFFIX) else FolderStore(root)
