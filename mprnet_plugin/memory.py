"""How much memory a process may still take, and the refusal of what would need more."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from mprnet_plugin.errors import InputError

if sys.platform != "win32":
    import resource

__all__ = ["check_pixels_fit", "free_memory", "give_back", "most_memory", "most_pixels"]

_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 4 << 30
"""What is assumed on systems that do not say."""
_COPIES = 3
"""Copies of a picture's pixels that are in memory at once: the decoder's, ours and the result."""


def check_pixels_fit(width: int, height: int, bytes_per_pixel: float) -> None:
    """Check by a picture's header whether its pixels can be held, before any is decoded.

    Raises:
        InputError: They cannot; the message says how much they would need.
    """
    needed, free = int(width * height * bytes_per_pixel * _COPIES), free_memory()
    if needed > free:
        raise InputError(
            f"has {width} x {height} pixels, which need {needed / 1e9:.1f} GB of memory where {free / 1e9:.1f} GB are "
            "free: cut it into parts, or use a machine with more"
        )


def most_pixels(bytes_per_pixel: float, free: int) -> int:
    """Return how many pixels :func:`check_pixels_fit` lets pass where so many bytes are free.

    Example:
        >>> most_pixels(4, 12_000_000)
        1000000
    """
    return int(free / (bytes_per_pixel * _COPIES))


def free_memory() -> int:
    """Return how many bytes this process may still take: what is free in the machine, its container, its own limit.

    File caches, which the system gives up when asked, count as free.
    """
    try:
        free = _field(_MEMINFO, "MemAvailable:") * 1024
    except OSError:
        return _UNKNOWN  # macOS and Windows do not say
    free = min(free, _below_own_limit())
    try:
        limit, used = (int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        return min(free, limit - used + _field(_CGROUP / "memory.stat", "inactive_file"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free


def most_memory() -> int:
    """Return the most bytes of the machine's memory that this program has held so far; 0 where nobody says.

    By Linux's own count: what getrusage says there is at least the size of the program that started this one.
    """
    if sys.platform == "win32":
        return 0
    if sys.platform == "linux":
        return _field(_STATUS, "VmHWM:") * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def give_back() -> None:
    """Give the system back what has been freed, where the C library, glibc, keeps it between what is in use."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def _below_own_limit() -> int:
    """Return what is left of the limit that ``ulimit -v`` sets."""
    if sys.platform == "win32":
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - _field(_STATUS, "VmSize:") * 1024


def _field(path: Path, name: str) -> int:
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1]) for words in lines if words and words[0] == name), 0)
