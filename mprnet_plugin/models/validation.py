"""Validation: every image once, shared out over the processes, with a picture to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.utils.data import default_collate
from tqdm import tqdm

from mprnet_plugin.files import whole_file

VAL_OPTIONS = frozenset(
    [
        "val_freq",
        "save_img",
        "suffix",
        "metrics",
        "pbar",
        "grid_images",
        "round_to_uint8",
        "local_pooling",
        "self_ensemble",
    ]
)
GRID_SIDE = 320
"""Sides of a grid's pictures are cut to this many pixels: a blur or a grain must stay visible."""

Image = NDArray[Any]
Scores = dict[str, float]
Best = dict[str, tuple[float, Any]]
"""Metric to its best value so far and the iteration of it."""


class Restored(NamedTuple):
    """One validated image; pictures are (H, W, 3) BGR, uint8, or float32 in [0, 1] when not rounded."""

    name: str
    lq: Image
    result: Image
    gt: Image | None


class Scored(NamedTuple):
    """What is left of an image after scoring, to be exchanged between processes."""

    name: str
    scores: Scores


def image_name(sample: Mapping[str, Any]) -> str:
    """Return an image's name without suffix: its key in the dataset, subfolders kept, else its file's name."""
    key = sample.get("key")
    return str(key[0]) if key else Path(str(sample["lq_path"][0])).stem


def shard(dataset: Any, rank: int, world_size: int, show: bool) -> Iterator[tuple[int, Any]]:
    """Yield this process's images as (index, batch of one), with a progress bar on the first one's terminal."""
    indices = range(rank, len(dataset), world_size)
    for index in tqdm(indices, unit="image", desc="validation", leave=False, disable=None if show else True):
        yield index, batch_of_one(dataset, index)


def batch_of_one(dataset: Any, index: int) -> Any:
    """Return one sample as a loader would: tensors (1, ...), texts in lists."""
    return default_collate([dataset[index]])


def gather(mine: dict[int, Scored]) -> dict[int, Scored]:
    """Return every process's images, in the dataset's order; all processes call it, once a dataset."""
    parts: list[Any] = [mine]
    if distributed.is_available() and distributed.is_initialized():
        parts = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, mine)
    return dict(sorted(item for part in parts for item in part.items()))


def means(scored: Mapping[int, Scored], metrics: Mapping[str, Any]) -> Scores:
    """Return each metric's mean over all images; summed in the dataset's order, whatever the number of processes."""
    return {name: float(np.mean([one.scores[name] for one in scored.values()])) for name in metrics}


def update_best(best: Best, values: Scores, metrics: Mapping[str, Any], step: Any) -> Best:
    """Put the values that are the best so far into ``best``, and return it."""
    for name, value in values.items():
        sign = -1 if metrics[name].get("better", "higher") == "lower" else 1
        if name not in best or sign * value > sign * best[name][0]:
            best[name] = (value, step)
    return best


def score(image: Restored, metrics: Mapping[str, Any], calculate: Callable[..., float]) -> Scores:
    """Return the metrics of one image; ``calculate`` is the host's ``calculate_metric``."""
    if image.gt is None:
        return {}
    data = {"img": image.result, "img2": image.gt}
    options = {name: {key: value for key, value in opt.items() if key != "better"} for name, opt in metrics.items()}
    return {name: float(calculate(data, option)) for name, option in options.items()}


def grid(images: list[Restored]) -> NDArray[np.uint8]:
    """Return rows of degraded, restored and sharp middles as one (H, W, 3) uint8 BGR picture."""
    rows = [
        np.hstack([_middle(picture) for picture in (image.lq, image.result, image.gt) if picture is not None])
        for image in images
    ]
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def _middle(picture: Image) -> NDArray[np.uint8]:
    top, left = (max(length - GRID_SIDE, 0) // 2 for length in picture.shape[:2])
    picture = picture[top : top + GRID_SIDE, left : left + GRID_SIDE]
    if picture.dtype != np.uint8:
        picture = np.rint(picture * 255)
    return picture.astype(np.uint8)


def show_grid(images: list[Restored], path: Path, tag: str, step: int | None, tb_logger: Any) -> None:
    """Write a before/after picture, and put it into TensorBoard where there is one."""
    picture = grid(images)
    write_picture(picture, path)
    if tb_logger is not None and step is not None:
        tb_logger.add_image(tag, picture[..., ::-1].copy(), step, dataformats="HWC")


def write_picture(picture: Image, path: Path) -> None:
    """Write a BGR picture as PNG, making its folder."""
    if picture.dtype != np.uint8:
        picture = np.rint(picture * 255).astype(np.uint8)
    with whole_file(path) as part:
        part.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def to_picture(x: Tensor, rounded: bool) -> Image:
    """Return (1, 3, H, W) RGB as (H, W, 3) BGR, clamped: uint8 rounded to nearest, or float32 in [0, 1]."""
    x = x[0].detach().float().clamp(0, 1)
    if rounded:
        x = x.mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(x.permute(1, 2, 0).flip(2).cpu().numpy())
