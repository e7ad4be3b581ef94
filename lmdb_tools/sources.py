"""Is a folder the dataset that a command packs? If not: whose is it, or where beside it is the right one?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lmdb_tools.layout import Split
from mprnet_plugin.errors import InputError

__all__ = ["PACKERS", "Dataset", "check_source"]

PACKERS = ("gopro", "sidd", "rain13k", "realblur")
"""The modules beside this one that pack a dataset."""

_PARENTS = 3
_CHILDREN = 100
_SHOWN = 3


class Dataset(NamedTuple):
    """What a command knows of its dataset.

    Attributes:
        name: The command's: its module in this package.
        title: As people call it.
        description: For ``--help``: the layouts that are accepted, with an example.
        discover: Finds the splits below a folder.
        splits: Folders that may hold ``input`` and ``target``; other datasets may have the same.
        marks: Patterns of paths below its folder that tell it from the other datasets.
        options_file: The training file to go on with.
    """

    name: str
    title: str
    description: str
    discover: Callable[[Path], list[Split]]
    splits: tuple[str, ...]
    marks: tuple[str, ...]
    options_file: str


def check_source(dataset: Dataset, source: Path) -> None:
    """Check that a folder is the dataset's own, by the names in it.

    Raises:
        InputError: It does not exist, is another dataset's, or lies one or a few levels beside the right one.
    """
    if not source.is_dir():
        raise InputError(f"--source {source} is no folder; give the one that holds {dataset.title}")
    mark = _mark(dataset, source)
    if mark is not None:
        return
    for other in _others(dataset):
        mark = _mark(other, source)
        if mark is not None:
            raise InputError(
                f"{source} looks like {other.title}, not {dataset.title}: it holds {mark}; pack it with "
                f"python -m lmdb_tools.{other.name}, or give the folder of {dataset.title}"
            )
    if not _is_root(dataset, source):
        beside = [path for path in _beside(source) if _is_root(dataset, path) and not _is_foreign(dataset, path)]
        if beside:
            places = " or ".join(f"--source {path}" for path in beside[:_SHOWN])
            raise InputError(f"{source} holds no {dataset.title}, but {beside[0]} does; give {places}")


def _others(dataset: Dataset) -> Iterator[Dataset]:
    for name in PACKERS:
        if name != dataset.name:
            yield import_module(f"lmdb_tools.{name}").DATASET


def _mark(dataset: Dataset, folder: Path) -> str | None:
    """Return the first path below a folder that only this dataset has."""
    for pattern in dataset.marks:
        for path in folder.glob(pattern):
            return str(path.relative_to(folder))
    return None


def _is_root(dataset: Dataset, folder: Path) -> bool:
    prepared = any((folder / split / "input").is_dir() for split in dataset.splits)
    return prepared or _mark(dataset, folder) is not None


def _is_foreign(dataset: Dataset, folder: Path) -> bool:
    """Return whether a folder is another dataset's as its marks say, and not also this one's."""
    return _mark(dataset, folder) is None and any(_mark(other, folder) is not None for other in _others(dataset))


def _beside(source: Path) -> Iterator[Path]:
    """Yield the folders that may have been meant: those above, the nearest first, and those right below."""
    yield from Path(os.path.abspath(source)).parents[:_PARENTS]  # noqa: PTH100 - links stay as they were typed
    folders = (path for path in sorted(islice(source.iterdir(), _CHILDREN)) if path.is_dir())
    yield from folders
