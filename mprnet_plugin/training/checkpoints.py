"""Whether a file that a run continues from is whole, and which of a run's checkpoints are kept."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from mprnet_plugin.errors import InputError

__all__ = ["NotWholeError", "check_whole", "expendable"]


class NotWholeError(InputError):
    """A file that is damaged or incomplete, so that an older one may stand in for it; not one that cannot be read."""


def check_whole(path: Path, what: str) -> None:
    """Check that a file of ``torch.save`` is there and that each of its parts has the checksum it was written with.

    Raises:
        NotWholeError: It is missing, cut short, or a byte has changed.
        InputError: It cannot be read, as for want of permission.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except FileNotFoundError:
        raise NotWholeError(f"{what} {path} does not exist") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise NotWholeError(f"{what} {path} is not whole ({error})") from error
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}; check the disk and its rights") from error
    if damaged is not None:
        raise NotWholeError(f"{what} {path} is damaged: the checksum of {damaged} differs")


def expendable(iterations: Iterable[int], newest: int, every: int | None = None) -> list[int]:
    """Return the iterations whose checkpoints may go, in order.

    Args:
        iterations: Those that have a whole checkpoint.
        newest: How many of the newest stay, at least 1.
        every: Iterations that are multiples of it stay too.

    Example:
        >>> expendable([10, 20, 30, 40, 50], newest=2, every=20)
        [10, 30]
    """
    older = sorted(iterations)[:-newest]
    return [iteration for iteration in older if every is None or iteration % every]
