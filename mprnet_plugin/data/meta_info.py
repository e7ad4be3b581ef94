"""``meta_info.txt`` of the host's databases: one line ``key.png (h,w,c) level`` for each image.

Keys become names of files (of results, of unpacked pictures): those that would lead out of a folder are refused here.
"""

from __future__ import annotations

import re
from pathlib import Path

from mprnet_plugin.errors import InputError
from mprnet_plugin.files import open_regular

__all__ = ["META_NAME", "REPACK", "is_plain_key", "read_meta"]

META_NAME = "meta_info.txt"
REPACK = "pack it again with lmdb_tools or copy it again"

_META_LINE = re.compile(
    r"(?P<name>(?P<key>[^.]*)\.\S*) \((?P<h>[1-9]\d{0,6}), ?(?P<w>[1-9]\d{0,6})(?:, ?\d{1,2})?\)(?: -?\d{1,2})?"
)
_META_LINE_MAX = 1024  # a key has 511 bytes at most
_META_LINES_MAX = 1 << 22  # so that a file that never ends is not read into memory
_PLAIN_KEY = re.compile(r"[^/.\\\x00-\x1f\x7f]+(/[^/.\\\x00-\x1f\x7f]+)*")


def read_meta(root: Path) -> dict[str, tuple[int, int]]:
    """Return key to (height, width) of a database, sorted by key.

    Raises:
        InputError: The file is missing, endless or malformed, or a key is no relative name.
    """
    path = root / META_NAME
    sizes: dict[str, tuple[int, int]] = {}
    try:
        with open_regular(path) as file:
            for number, line in enumerate(iter(lambda: file.readline(_META_LINE_MAX), b""), 1):
                if number > _META_LINES_MAX:
                    raise InputError(f"{path} lists more than {_META_LINES_MAX} images; {REPACK}")
                key, size = _meta_line(line, f"{path} line {number}")
                if key in sizes:
                    raise InputError(f"{path} line {number} repeats a key: {key!r}; {REPACK}")
                sizes[key] = size
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path, or {REPACK}") from error
    if not sizes:
        raise InputError(f"{path} lists no image; {REPACK}")
    return dict(sorted(sizes.items()))


def _meta_line(line: bytes, where: str) -> tuple[str, tuple[int, int]]:
    """Return key and (height, width) of a line of ``meta_info.txt``."""
    if not line.isascii():
        raise InputError(f"{where} is not ASCII text; {REPACK}")
    text = line.decode("ascii").rstrip()
    match = _META_LINE.fullmatch(text)
    if match is None:
        raise InputError(f"{where} is not 'key.png (h,w,c) level' of a picture with pixels: {text[:80]!r}; {REPACK}")
    if not is_plain_key(match["key"]):
        raise InputError(
            f"{where}: {match['name'][:80]!r} is no key, which is a relative name without '..', backslashes and empty "
            f"parts, as results are named after it; {REPACK}"
        )
    return match["key"], (int(match["h"]), int(match["w"]))


def is_plain_key(key: str) -> bool:
    """Return whether a key may become the name of a file below a folder, and cannot lead out of it."""
    return _PLAIN_KEY.fullmatch(key) is not None
