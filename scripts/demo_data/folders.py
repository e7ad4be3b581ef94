"""Small GoPro, SIDD and Rain13k folders in the layout of the real ones, each written whole or not at all."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from demo_data.images import SRGBImage, read_image, side_by_side, write_png
from demo_data.photographs import MARGIN, list_photographs, read_photograph, window
from mprnet_plugin.data.degradations import rain, sensor_noise, shake
from mprnet_plugin.data.linear_light import LinearImage, to_srgb
from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS, Task

__all__ = ["PAIRS", "RECORD", "PairsFolder", "Settings", "make_demo_data"]

RECORD = "demo_data.json"
Degradation = Callable[[LinearImage, np.random.Generator], LinearImage]


@dataclass(frozen=True)
class Settings:
    """What decides every byte of a task's folder.

    Args:
        seed: Any integer from 0 up.
        size: Side of the square windows in pixels, 64 to 256.
        train: Pictures in the training set, 1 or more.
        test: Pictures in each test set, 1 or more.
        photographs: Folder of the caller's photographs, see :func:`list_photographs`; empty for the packages' alone.
    """

    seed: int = 0
    size: int = 256
    train: int = 60
    test: int = 6
    photographs: str = ""

    def __post_init__(self) -> None:
        limits = {"seed": (0, 2**32 - 1), "size": (64, 256), "train": (1, 10_000), "test": (1, 10_000)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name} is {value}; expected an integer from {low} to {high}")


@dataclass(frozen=True)
class PairsFolder:
    """A folder with ``input`` and ``target`` in it.

    Args:
        path: Where it lies inside the task's folder.
        split: Which photographs it uses, ``train`` or ``test``.
        degrade: What is done to them.
    """

    path: str
    split: str
    degrade: Degradation


def _rain(*density: float) -> Degradation:
    return functools.partial(rain, density=density)


def _split(task: Task, degrade: Degradation) -> tuple[PairsFolder, PairsFolder]:
    return PairsFolder("train", "train", degrade), PairsFolder(task.test_data, "test", degrade)


PAIRS: Mapping[str, tuple[PairsFolder, ...]] = {
    "Deblurring": _split(TASKS["Deblurring"], shake),
    "Denoising": _split(TASKS["Denoising"], sensor_noise),
    "Deraining": (
        *_split(TASKS["Deraining"], rain),
        PairsFolder("test/Rain100H", "test", _rain(1.4, 2.6)),
        PairsFolder("test/Rain100L", "test", _rain(0.28, 0.52)),
        PairsFolder("test/Test1200", "test", _rain(0.56, 1.04)),
        PairsFolder("test/Test2800", "test", _rain(0.84, 1.56)),
    ),
}
"""Task's name to its folders, the one for training first."""


def make_demo_data(
    output: Path, tasks: Sequence[Task], settings: Settings, *, overwrite: bool = False, previews: bool = False
) -> None:
    """Write the folders of the tasks below ``output``; what is there already with equal settings is kept.

    Args:
        output: Made when absent.
        tasks: Which.
        settings: What decides the pictures.
        overwrite: Replace demo data of other settings. Data that is not from here is never replaced.
        previews: Also write ``previews/<task>.png``.

    Raises:
        InputError: A folder is in the way, cannot be written, or a photograph is missing.
    """
    missing = [task for task in tasks if not is_there(output / task.data, settings, overwrite)]
    photographs = {
        split: {name: read_photograph(path) for name, path in paths.items()}
        for split, paths in (list_photographs(settings.photographs) if missing else {}).items()
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for task in tqdm(missing, desc="demo data", unit="task"):
            write_task(output, task, settings, photographs)
        for task in tasks if previews else ():
            sys.stdout.write(f"preview: {write_preview(output, task)}\n")
    except OSError as error:
        raise InputError(f"{str(output)!r} cannot be written ({error.strerror}); give another --output") from error


def is_there(folder: Path, settings: Settings, overwrite: bool) -> bool:
    """Tell whether a task's folder already holds what the settings would write.

    Raises:
        InputError: Something else is there. Only earlier demo data is ever replaced, and only if ``overwrite``.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        record = json.loads((folder / RECORD).read_text())
        previous = record["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{str(folder)!r} exists and is no demo data, so it stays as it is; give another --output"
        ) from None
    if previous == asdict(settings):
        return True
    if not overwrite:
        raise InputError(f"{str(folder)!r} holds demo data of other settings; add --overwrite or another --output")
    return False


def write_task(output: Path, task: Task, settings: Settings, photographs: dict[str, dict[str, LinearImage]]) -> None:
    """Write one task's folder: beside its place first, then in one rename, so that it is whole or not there."""
    final = output / task.data
    with tempfile.TemporaryDirectory(prefix=f".{task.data}.", dir=output) as scratch:
        partial = Path(scratch) / task.data
        sources = {
            pairs.path: write_pairs(partial, task, pairs, settings, photographs[pairs.split])
            for pairs in PAIRS[task.name]
        }
        record: dict[str, Any] = {"settings": asdict(settings), "photographs": sources}
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        if final.exists():
            final.replace(Path(scratch) / "previous")
        partial.replace(final)


def write_pairs(
    folder: Path, task: Task, pairs: PairsFolder, settings: Settings, photographs: dict[str, LinearImage]
) -> dict[str, str]:
    """Write one pair of folders.

    Returns:
        For each picture's name the photograph that it was cut from.
    """
    for side in ("input", "target"):
        (folder / pairs.path / side).mkdir(parents=True)
    sources: dict[str, str] = {}
    names = sorted(photographs)
    for index in range(settings.train if pairs.split == "train" else settings.test):
        source = names[index % len(names)]
        name = f"{source}_{index // len(names) + 1:02d}"
        # Seeded by what it is: a picture does not change with the tasks asked for or with the number of pictures.
        rng = np.random.default_rng([settings.seed, zlib.crc32(f"{task.short}/{pairs.path}/{name}".encode())])
        degraded, target = make_pair(photographs[source], settings.size, pairs.degrade, rng)
        write_png(folder / pairs.path / "input" / f"{name}.png", degraded)
        write_png(folder / pairs.path / "target" / f"{name}.png", target)
        sources[name] = source
    return sources


def make_pair(
    photograph: LinearImage, size: int, degrade: Degradation, rng: np.random.Generator
) -> tuple[SRGBImage, SRGBImage]:
    """Make a degraded picture and its target, size×size×3 each."""
    clean = window(photograph, size, rng)
    inner = slice(MARGIN, MARGIN + size)
    return to_srgb(degrade(clean, rng)[inner, inner]), to_srgb(clean[inner, inner])


def write_preview(output: Path, task: Task) -> Path:
    """Write degraded beside target, for the first picture of every test photograph of a task."""
    folder = output / task.data / task.test_data
    rows = []
    for path in sorted((folder / "input").glob("*_01.png")):
        target = read_image(folder / "target" / path.name)
        rows.append(side_by_side([(f"{path.stem}, input", read_image(path)), ("target", target)]))
    preview = output / "previews" / f"{task.short}.png"
    preview.parent.mkdir(exist_ok=True)
    write_png(preview, np.vstack(rows))
    return preview
