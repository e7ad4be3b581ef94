"""Files are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mprnet_plugin.errors import InputError

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; on success it replaces ``path``, on failure it is removed.

    The temporary name ends like ``path``, so libraries that choose a format by the suffix choose the same. A link stays
    one, and what it points to is replaced.

    Raises:
        InputError: The system refuses (full disk, no permission), and a file that was there before is as it was; or a
            folder or a device is there, which nothing must replace.
    """
    part = None
    try:
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        if path.exists() and not path.is_file():
            kind = "folder" if path.is_dir() else "device"
            raise InputError(f"{path}: is a {kind}, expected the name of a file: choose one")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{os.getpid()}.part.{path.name}")
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: could not be written ({error.strerror or error}); free space or choose another place"
        ) from error
    finally:
        if part is not None:
            with suppress(OSError):  # where the folder itself is out of reach, the error above says so already
                part.unlink(missing_ok=True)
