"""Validation, whichever host runs it: every image once, shared out over the processes, with a picture to look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.utils.data import default_collate
from tqdm import tqdm

from mprnet_plugin.metrics.protocols import Scores

__all__ = [
    "NO_SCORES",
    "BGRPicture",
    "Best",
    "ImageDataset",
    "Restored",
    "Scored",
    "Scoring",
    "SubmissionDataset",
    "gain",
    "gather",
    "image_name",
    "input_means",
    "is_worse",
    "mean_scores",
    "means",
    "shard",
    "to_picture",
    "update_best",
    "validate",
]

BGRPicture = NDArray[Any]
"""(H, W, 3), BGR as OpenCV and the host have it: uint8, or float32 in [0, 1]."""
Best = dict[str, tuple[float, int]]
"""Metric to its best value so far and the iteration of it."""
Sample = Mapping[str, Any]
Kept = TypeVar("Kept")
NO_SCORES: Scores = {}


class ImageDataset(Protocol):
    """A map-style dataset; samples have ``lq``, a name in ``key`` or ``lq_path``, and mostly ``gt``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...  # noqa: ANN401 - hosts' samples have no common type


@runtime_checkable
class SubmissionDataset(Protocol):
    """A dataset of a benchmark that scores results itself: it writes the files to submit."""

    def write_result(self, index: int, picture: BGRPicture, folder: Path) -> None:
        """Keep one restored picture, float32; processes may share out the pictures."""

    def write_submission(self, folder: Path) -> None:
        """Bundle what every process kept."""


class Restored(NamedTuple):
    """One validated image."""

    name: str
    lq: BGRPicture
    result: BGRPicture
    gt: BGRPicture | None


class Scored(NamedTuple):
    """What is left of an image after scoring, to be exchanged between processes."""

    name: str
    scores: Scores
    before: Scores = NO_SCORES
    """Of the degraded picture, by the same metrics."""


class Scoring(NamedTuple):
    """How the images of one dataset are scored.

    Attributes:
        metrics: Name to a function of a restored and a sharp BGR picture.
        rounded: Whether the pictures are rounded to 8 bits first.
        protocol: The protocol's name where there is one, for tables.
        lower_is_better: Names of metrics such as LPIPS.
    """

    metrics: Mapping[str, Callable[[BGRPicture, BGRPicture], float]]
    rounded: bool = True
    protocol: str = ""
    lower_is_better: frozenset[str] = frozenset()

    def score(self, image: Restored) -> Scores:
        """Return every metric of an image; nothing for one without a sharp picture."""
        return self._compare(image.result, image.gt)

    def score_input(self, image: Restored) -> Scores:
        """Return every metric of the degraded picture, which says what the network has gained; nothing without gt."""
        return self._compare(image.lq, image.gt)

    def _compare(self, picture: BGRPicture, gt: BGRPicture | None) -> Scores:
        if gt is None:
            return {}
        return {name: float(metric(picture, gt)) for name, metric in self.metrics.items()}


def validate(
    dataset: ImageDataset,
    restore: Callable[[Sample], Restored],
    scoring: Scoring,
    each: Callable[[int, Restored], None],
    inputs: dict[int, Scores],
    rank: int = 0,
    world_size: int = 1,
    bar: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[int, Scored]:
    """Restore and score a dataset; all processes call it together.

    Args:
        dataset: What to restore.
        restore: Makes an image of a sample, batched as :func:`batch_of_one` does.
        scoring: How images are scored.
        each: Called in the process that restored an image with its index, to write or to show it.
        inputs: Scores of this process's degraded pictures by index, which do not change: filled at the first call.
        rank: This process.
        world_size: Number of processes.
        bar: Show progress where there is a terminal.
        stopping: Asked before each image; once it is true, the rest of this process's share is left out.

    Returns:
        Every process's images by index, in order; not all of them where one was stopping.
    """
    mine: dict[int, Scored] = {}
    for index, sample in shard(dataset, rank, world_size, bar):
        if stopping():
            break
        image = restore(sample)
        if index not in inputs:
            inputs[index] = scoring.score_input(image)
        mine[index] = Scored(image.name, scoring.score(image), inputs[index])
        each(index, image)
    return gather(mine)


def image_name(sample: Sample) -> str:
    """Return an image's name without suffix: its key in the dataset, subfolders kept, else its file's name."""
    key = sample.get("key")
    return str(key[0]) if key else Path(str(sample["lq_path"][0])).stem


def shard(dataset: ImageDataset, rank: int, world_size: int, bar: bool) -> Iterator[tuple[int, Sample]]:
    """Yield this process's images as (index, batch of one), with a progress bar where one is asked for."""
    indices = range(rank, len(dataset), world_size)
    for index in tqdm(indices, unit="image", desc="validation", leave=False, disable=None if bar else True):
        yield index, batch_of_one(dataset, index)


def batch_of_one(dataset: ImageDataset, index: int) -> Sample:
    """Return one sample as a loader would: tensors (1, ...), texts in lists."""
    sample: Sample = default_collate([dataset[index]])
    return sample


def gather(mine: dict[int, Kept]) -> dict[int, Kept]:
    """Return what every process has of its images, in the dataset's order; all processes call it together."""
    parts: list[Any] = [mine]
    if distributed.is_available() and distributed.is_initialized():
        parts = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, mine)
    return dict(sorted((item for part in parts for item in part.items()), key=lambda item: int(item[0])))


def means(scored: Mapping[int, Scored]) -> dict[str, float]:
    """Return each metric's mean; nothing where an image has no scores.

    Summed in the dataset's order, so that the digits do not depend on the number of processes.
    """
    return mean_scores([one.scores for one in scored.values()])


def input_means(scored: Mapping[int, Scored]) -> dict[str, float]:
    """Return each metric's mean over the degraded pictures, as :func:`means` does over the restored ones."""
    return mean_scores([one.before for one in scored.values()])


def mean_scores(rows: Sequence[Scores]) -> dict[str, float]:
    """Return each metric's mean; nothing where a row has none, as of pictures without a sharp one."""
    if not rows or not all(rows):
        return {}
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def is_worse(value: float, before: float, lower_is_better: bool = False) -> bool:
    """Tell whether a restored picture's value is behind that of the degraded one."""
    return value > before if lower_is_better else value < before


def gain(value: float, before: float | None, lower_is_better: bool = False) -> str:
    """Return what a line of the log says of the degraded picture's value beside the restored one's.

    Example:
        >>> gain(31.0, 25.5), gain(25.0, 25.5), gain(0.3, None)
        (', input 25.5000: +5.5000', ', input 25.5000: -0.5000, WORSE than the input', '')
    """
    if before is None:
        return ""
    worse = ", WORSE than the input" if is_worse(value, before, lower_is_better) else ""
    return f", input {before:.4f}: {value - before:+.4f}{worse}"


def update_best(best: Best, values: Scores, scoring: Scoring, step: int) -> Best:
    """Put the values that are the best so far into ``best``, and return it."""
    for name, value in values.items():
        sign = -1 if name in scoring.lower_is_better else 1
        if math.isnan(value):
            continue
        if name not in best or sign * value > sign * best[name][0]:
            best[name] = (value, step)
    return best


def to_picture(x: Tensor, rounded: bool) -> BGRPicture:
    """Return (1, 3, H, W) RGB, or (1, 1, H, W) grey, as (H, W, 3) BGR, clamped: uint8 rounded, or float32 in [0, 1]."""
    x = x[0].detach().float().clamp(0, 1)
    if len(x) == 1:
        x = x.expand(3, -1, -1)
    if rounded:
        x = x.mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(x.permute(1, 2, 0).flip(2).cpu().numpy())
