"""The pages of an LMDB, looked at before LMDB follows them.

LMDB trusts its file: a page number, an offset or a size that lies makes it read outside of its map, which ends the
process or shows memory that is not the file's. What is checked here is that everything a lookup can touch lies inside.
The pages of the tree are read, which are few, and the values are not.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from mprnet_plugin.errors import InputError
from mprnet_plugin.files import open_regular

__all__ = ["check_pages"]

_PAGE_HEAD = struct.Struct("=QHHHH")  # own number, unused, kind, end of the offsets, start of the nodes
_META = struct.Struct("=16xII16xI44x4xHH24xQQQQ")  # of which only what `_Tree` names is looked at
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_KIND_MASK, _BRANCH, _LEAF = 0x7F, 0x01, 0x02
_ELSEWHERE = 0x01  # flag of a node whose value has pages of its own
_NODE_HEAD = 8
_PAGE_SIZES = frozenset(1 << power for power in range(9, 17))
_DEEPEST = 32  # LMDB's own limit
_META_PAGES = 2


class _Tree(NamedTuple):
    """What the newer of an LMDB's two head pages says of its values."""

    page_size: int
    flags: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


class _DamagedError(Exception):
    """Says what is wrong in a few words."""


def check_pages(path: Path) -> int:
    """Check that the tree of a ``data.mdb`` leads to nothing outside of the file.

    Returns:
        The number of values.

    Raises:
        InputError: It does, the file is truncated, or it is no LMDB.
        OSError: The system refuses.
    """
    with open_regular(path) as file:
        try:
            tree = _read_tree(file)
            _check_tree(file, tree)
        except _DamagedError as error:
            raise InputError(f"{path} is {error}; pack it again with lmdb_tools or copy it again") from None
    return tree.entries


def _read_tree(file: BinaryIO) -> _Tree:
    size = os.fstat(file.fileno()).st_size
    first = _read_meta(file, 0)
    second = _read_meta(file, first.page_size)
    if second.page_size != first.page_size:
        raise _DamagedError("damaged: its two head pages disagree")
    tree = second if second.transaction > first.transaction else first  # as LMDB chooses
    needed = (tree.last_page + 1) * tree.page_size
    if size < needed:
        raise _DamagedError(f"truncated: {size} bytes of at least {needed}")
    return tree


def _read_meta(file: BinaryIO, position: int) -> _Tree:
    data = _read(file, position, _META.size)
    if len(data) < _META.size:
        raise _DamagedError(f"truncated: its head ends after {position + len(data)} bytes")
    magic, version, page_size, flags, depth, entries, root, last_page, transaction = _META.unpack(data)
    if (magic, version) != (_MAGIC, _VERSION) or page_size not in _PAGE_SIZES:
        raise _DamagedError("no readable LMDB")
    return _Tree(page_size, flags, depth, entries, root, last_page, transaction)


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _check_tree(file: BinaryIO, tree: _Tree) -> None:
    """Walk from the root to every leaf. Each page may be claimed once, so that this ends and hashing does too."""
    if tree.flags:
        raise _DamagedError("an LMDB with sorted duplicates or integer keys, which hold no images")
    entries, claimed = 0, _META_PAGES
    seen: set[int] = set()
    waiting = [(tree.root, 1)] if tree.entries or tree.depth else []
    while waiting:
        number, level = waiting.pop()
        if number in seen or not _META_PAGES <= number <= tree.last_page or level > min(tree.depth, _DEEPEST):
            raise _DamagedError(f"damaged: its tree leads to page {number} of {tree.last_page + 1}, level {level}")
        seen.add(number)
        page = _read(file, number * tree.page_size, tree.page_size)
        kind = _BRANCH if level < tree.depth else _LEAF
        nodes = _nodes(page, number, kind, tree.page_size)
        claimed += 1
        if kind == _BRANCH:
            waiting += [(int(child), level + 1) for child in nodes[0] | nodes[1] << 16 | nodes[2] << 32]
        else:
            entries += nodes.shape[1]
            claimed += _check_values(page, number, nodes, tree)
        if claimed > tree.last_page + 1:
            raise _DamagedError(f"damaged: its values overlap, seen at page {number}")
    if entries != tree.entries:
        raise _DamagedError(f"damaged: its head counts {tree.entries} values, its tree holds {entries}")


def _nodes(page: bytes, number: int, kind: int, page_size: int) -> npt.NDArray[np.int64]:
    """Return the heads of a page's nodes: rows of three numbers whose meaning depends, of key sizes, and of places."""
    if len(page) < page_size:
        raise _DamagedError(f"truncated: page {number} is not whole")
    own, _, flags, lower, upper = _PAGE_HEAD.unpack_from(page)
    fewest = 2 if kind == _BRANCH else 1
    whole = own == number and flags & _KIND_MASK == kind and lower % 2 == 0
    if not whole or not _PAGE_HEAD.size + 2 * fewest <= lower <= upper <= page_size:
        raise _DamagedError(f"damaged: page {number} is not of its kind")
    words = np.frombuffer(page, np.uint16)
    places = words[_PAGE_HEAD.size // 2 : lower // 2].astype(np.int64)
    if (places % 2).any() or places.min() < upper or places.max() > page_size - _NODE_HEAD:
        raise _DamagedError(f"damaged: page {number} points outside of itself")
    heads = [words[places // 2 + offset].astype(np.int64) for offset in range(_NODE_HEAD // 2)]
    if (places + _NODE_HEAD + heads[3]).max() > page_size:
        raise _DamagedError(f"damaged: a key of page {number} is longer than the page")
    return np.array([*heads, places])


def _check_values(page: bytes, number: int, nodes: npt.NDArray[np.int64], tree: _Tree) -> int:
    """Check where the values of a leaf are; return how many pages they have for themselves."""
    low, high, flags, key_sizes, places = nodes
    sizes, starts = low | high << 16, places + _NODE_HEAD + key_sizes
    elsewhere = flags == _ELSEWHERE
    if not (elsewhere | (flags == 0)).all():
        raise _DamagedError(f"damaged: page {number} holds other things than values")
    if (starts + np.where(elsewhere, 8, sizes)).max() > tree.page_size:
        raise _DamagedError(f"damaged: a value of page {number} is longer than the page")
    lengths = -(-(sizes[elsewhere] + _PAGE_HEAD.size) // tree.page_size)
    for start, length in zip(starts[elsewhere].tolist(), lengths.tolist(), strict=True):
        (first,) = struct.unpack_from("=Q", page, start)
        if not _META_PAGES <= first <= tree.last_page + 1 - length:
            raise _DamagedError(f"damaged: a value of page {number} lies outside of the file")
    return int(lengths.sum())
