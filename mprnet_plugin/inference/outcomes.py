"""What became of each file, and of all together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

__all__ = ["Outcome", "ScoreChange", "summary"]


class ScoreChange(NamedTuple):
    """PSNR in dB and SSIM of the picture as it was and as it is now, both against its target."""

    psnr_before: float
    ssim_before: float
    psnr: float
    ssim: float


class Outcome(NamedTuple):
    """What became of one file: ``restored``, ``kept`` (an output was there already) or ``failed``.

    ``message`` says why it failed, or what of the file is not in the result.
    """

    source: Path
    output: Path
    status: Literal["restored", "kept", "failed"]
    message: str = ""
    scores: ScoreChange | None = None


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return the outcomes in one or two lines: counts, and mean scores where there are targets."""
    done = list(outcomes)
    counts = {status: sum(outcome.status == status for outcome in done) for status in ("restored", "kept", "failed")}
    text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    scores = [outcome.scores for outcome in done if outcome.scores is not None]
    if scores:
        mean = ScoreChange(*(float(np.mean(column)) for column in zip(*scores, strict=True)))
        text += (
            f"\nmean of {len(scores)}: PSNR {mean.psnr_before:.2f} -> {mean.psnr:.2f} dB, "
            f"SSIM {mean.ssim_before:.4f} -> {mean.ssim:.4f}"
        )
    return text
