"""One picture on its way from file to file, and what happens where a step fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.outcomes import Outcome
from mprnet_plugin.inference.picture_files import Picture
from mprnet_plugin.streams import printable

__all__ = ["Job", "attempt"]

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """One picture on its way; ``outcome`` is there as soon as nothing is left to be done.

    Attributes:
        source: The picture's file.
        relative: Its path below its own folder.
        output: The result's file.
        first: The first picture whose result has that name.
        outcome: What became of it.
        picture: What was read.
        target: What the result should be.
        before: PSNR and SSIM of the picture as it was.
        comparison: File for before and after, if one is to be written.
        restored: The result's pixels.
        fresh: Whether they were restored now, not read from an earlier run's file.
    """

    source: Path
    relative: Path
    output: Path
    first: Path
    outcome: Outcome | None = None
    picture: Picture | None = None
    target: NDArray[np.uint8] | None = None
    before: tuple[float, float] | None = None
    comparison: Path | None = None
    restored: Pixels | None = None
    fresh: bool = False


def attempt(step: Callable[[Job], Job], job: Job) -> Job:
    """Take one step of a picture; one that fails is logged and left out."""
    if job.outcome is not None:
        return job
    try:
        return step(job)
    except (InputError, OSError, MemoryError) as error:
        outcome = Outcome(job.source, job.output, "failed", _reason(job.source, error))
    logger.error("skipped: %s", printable(outcome.message))
    return Job(*job[:4], outcome=outcome)


def _reason(source: Path, error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"{source}: out of memory; restore it alone, or in parts"
    text = f"{error.strerror or error}; check the name" if isinstance(error, OSError) else str(error)
    return text if str(source) in text else f"{source}: {text}"
