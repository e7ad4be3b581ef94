"""Files are read only where they are files, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mprnet_plugin.errors import InputError

if sys.platform != "win32":
    import fcntl

__all__ = ["check_regular", "open_regular", "read_regular", "whole_file"]

_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_PART_NAME = re.compile(r"\.mprnet-[0-9a-f]{16}(\..*)?", re.DOTALL)
"""Names of files that are being written: short, so that they fit wherever the name itself does, and hidden."""
_tidied: set[Path] = set()


def check_regular(path: Path, mode: int) -> None:
    """Check what a path leads to, by its ``st_mode``.

    Raises:
        InputError: A folder, pipe, socket or device, which could be waited for without end, or never end.
    """
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is not None:
        raise InputError(f"{path}: cannot be read, as it is a {kind}; give a regular file")


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read, without ever waiting for a pipe or device.

    Raises:
        InputError: It is no regular file.
        OSError: The system refuses.
    """
    check_regular(path, path.stat().st_mode)  # before it is opened, as that alone sets some devices going
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    stream = os.fdopen(os.open(path, flags), "rb")
    try:
        check_regular(path, os.fstat(stream.fileno()).st_mode)  # and after, as it may have been replaced in between
    except InputError:
        stream.close()
        raise
    return stream


def read_regular(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        InputError: It cannot be read, or is no regular file.
    """
    try:
        with open_regular(path) as stream:
            return stream.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write to; on success it replaces ``path``, on failure it is removed.

    The temporary name cannot be foreseen and ends like ``path``, so libraries that choose a format by the suffix choose
    the same. A link stays one, and what it points to is replaced. What killed runs have left in the folder is removed
    when a process first writes there.

    Raises:
        InputError: The system refuses (full disk, no permission), and a file that was there before is as it was; or a
            folder or a device is there, which nothing must replace.
    """
    part, lock = None, -1
    try:
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        if path.exists() and not path.is_file():
            kind = "folder" if path.is_dir() else "device"
            raise InputError(f"{path}: is a {kind}, expected the name of a file: choose one")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        part, lock = _new_part(path)
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
            if lock >= 0 and not os.path.samestat(os.fstat(lock), part.lstat()):
                raise InputError(f"{path}: somebody replaced it while it was written; choose a folder of your own")
        part.replace(path)
    except OSError as error:
        fix = "use a shorter name" if error.errno == errno.ENAMETOOLONG else "free space or choose another place"
        raise InputError(f"{path}: could not be written ({error.strerror or error}); {fix}") from error
    finally:
        if part is not None:
            with suppress(OSError):  # where the folder itself is out of reach, the error above says so already
                part.unlink(missing_ok=True)
        if lock >= 0:
            os.close(lock)


def _new_part(path: Path) -> tuple[Path, int]:
    """Make a file beside ``path`` that was not there; return it and the descriptor that holds its lock, or -1."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    while True:
        part = path.with_name(f".mprnet-{secrets.token_hex(8)}{path.suffix}")
        descriptor = os.open(part, flags, 0o666)
        if sys.platform == "win32":  # which neither locks so nor renames what is open
            os.close(descriptor)
            return part, -1
        # Another process that tidies may come between the two steps: then this file is its, and the next one ours.
        if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            return part, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock an open file; the system unlocks it when its process ends, however that ends.

    Returns:
        Whether it could be locked; None where the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed, once a process and folder."""
    if folder in _tidied or sys.platform == "win32":
        return
    _tidied.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_abandoned(entry.path)


def _remove_abandoned(part: str) -> None:
    with suppress(OSError):
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(descriptor):
                os.unlink(part)  # noqa: PTH108 - a string, as scandir gives it
        finally:
            os.close(descriptor)
