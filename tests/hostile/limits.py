"""Limits that the system sets, as tests need them."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def peak() -> int:
    """Return the most memory that this program has held, in bytes; getrusage counts what had its process before it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@contextmanager
def full_disk(room: int = 100) -> Iterator[None]:
    """Let no file grow beyond ``room`` bytes: writing fails as on a full disk, whatever its name."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
