"""Pairs loaded a second: the stock host's dataset on folders and on its own LMDB, against ours on ppm LMDBs.

All cut 256x256 crops with flips and rotations. Rounds are paired: each runs every method once.

example: python scripts/benchmarks/bench_loading.py --work /scratch/bench --json loading.json
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch
from common import host_module, make_pairs, parser, report, write_json
from torch.utils.data import DataLoader, Dataset

from lmdb_tools.gopro import main as pack
from mprnet_plugin.data.folders import list_images
from mprnet_plugin.data.paired_dataset import PairedRestorationDataset

SIDES = ("input", "target")
BATCH = 8

Maker = Callable[[], "Dataset[Any]"]


def prepare(work: Path, count: int) -> None:
    """Make the source pictures, the host's LMDBs and ours."""
    source = work / "source"
    if not (source / "train").is_dir():
        make_pairs(source, count)
    for side in SIDES:
        if not (work / f"host_{side}.lmdb").is_dir():
            folder = source / "train" / side
            keys = list(list_images(folder))
            maker = host_module("basicsr.utils.lmdb_util").make_lmdb_from_imgs
            maker(str(folder), str(work / f"host_{side}.lmdb"), [f"{key}.png" for key in keys], keys)
    pack(["--source", str(source), "--output", str(work / "ours")])


def makers(work: Path) -> dict[str, Maker]:
    """Return how to open each dataset anew."""
    paired_image = host_module("basicsr.data.paired_image_dataset").PairedImageDataset
    common = {"phase": "train", "gt_size": 256, "scale": 1, "use_hflip": True, "use_rot": True}
    ours = {"phase": "train", "gt_size": 256, "augment": "geometric", "io_backend": {"type": "lmdb"}}

    def roots(pattern: str) -> dict[str, str]:
        return {
            f"dataroot_{name}": str(work / pattern.format(side)) for name, side in zip(("lq", "gt"), SIDES, strict=True)
        }

    return {
        "stock, folder": lambda: paired_image({**common, **roots("source/train/{}"), "io_backend": {"type": "disk"}}),
        "stock, own LMDB": lambda: paired_image({**common, **roots("host_{}.lmdb"), "io_backend": {"type": "lmdb"}}),
        "stock, our ppm LMDB": lambda: paired_image(
            {**common, **roots("ours/train_{}.lmdb"), "io_backend": {"type": "lmdb"}}
        ),
        "ours, float32": lambda: PairedRestorationDataset({**ours, **roots("ours/train_{}.lmdb")}),
        "ours, uint8": lambda: PairedRestorationDataset({**ours, **roots("ours/train_{}.lmdb"), "dtype": "uint8"}),
    }


def one_core(make: Maker, samples: int) -> float:
    """Return pairs a second in this process, files cached."""
    dataset: Any = make()
    order = torch.randint(len(dataset), (samples,)).tolist()
    dataset[order[0]]
    start = time.perf_counter()
    for index in order:
        dataset[index]
    return samples / (time.perf_counter() - start)


def two_workers(make: Maker, samples: int) -> float:
    """Return pairs a second through a DataLoader with 2 workers, from the first batch on."""
    dataset: Any = make()
    order = torch.randint(len(dataset), (samples,)).tolist()
    batches = iter(DataLoader(dataset, batch_size=BATCH, sampler=order, num_workers=2))
    next(batches)
    start = time.perf_counter()
    count = sum(len(batch["gt"]) for batch in batches)
    return count / (time.perf_counter() - start)


def cold(make: Maker, work: Path) -> float:
    """Return pairs a second for one pass over all pairs with their files dropped from the page cache."""
    gc.collect()  # closes maps, whose pages cannot be dropped
    for path in work.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    dataset: Any = make()
    order = torch.randperm(len(dataset)).tolist()
    start = time.perf_counter()
    for index in order:
        dataset[index]
    return len(order) / (time.perf_counter() - start)


def main() -> None:
    """Run all three settings."""
    command = parser(__doc__)
    command.add_argument("--pictures", type=int, default=24, help="source pairs of 1280x720 (default 24)")
    command.add_argument("--seconds", type=float, default=2.0, help="about how long each run takes (default 2)")
    arguments = command.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    prepare(arguments.work, arguments.pictures)
    datasets = makers(arguments.work)
    samples = {name: max(16, int(one_core(make, 16) * arguments.seconds)) for name, make in datasets.items()}
    settings: dict[str, Callable[[str], float]] = {
        "one core, files cached": lambda name: one_core(datasets[name], samples[name]),
        "DataLoader, 2 workers, files cached": lambda name: two_workers(datasets[name], samples[name] * 2),
        "one core, cold page cache": lambda name: cold(datasets[name], arguments.work),
    }
    sections = []
    for title, measure in settings.items():
        results: dict[str, list[float]] = {name: [] for name in datasets}
        for _ in range(arguments.rounds):
            for name in datasets:
                results[name].append(measure(name))
        meta = {"pictures": arguments.pictures, "size": [720, 1280], "crop": 256, "rounds": arguments.rounds}
        sections.append(report(title, "pairs a second", results, ("stock, folder", "stock, own LMDB"), meta))
        write_json(arguments.json, sections)


if __name__ == "__main__":
    main()
