"""The three restoration tasks as data: whatever differs between tasks is stated here and nowhere else.

Imports neither torch nor NumPy, so that commands can list tasks before anything heavy is loaded. Shell scripts ask
``python -m mprnet_plugin.tasks TASK FIELD...`` (see :func:`main`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypedDict

from mprnet_plugin.errors import InputError, nearest, run_command

__all__ = ["TASKS", "Task", "WeightsFile", "Widths", "find_task"]

_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_PADDLE = "https://paddlegan.bj.bcebos.com/models/"
_AUTHORS_LICENCE = "academic, non-commercial (the authors')"
_PADDLE_LICENCE = "Apache-2.0 for PaddleGAN; converted from the authors' weights, which are non-commercial"


class Widths(TypedDict):
    """Widths of one published network; everything else keeps MPRNet's defaults."""

    n_feat: int
    scale_unetfeats: int
    scale_orsnetfeats: int


@dataclass(frozen=True)
class WeightsFile:
    """One published file of weights. Its licence is its publisher's, not this project's.

    Attributes:
        publisher: ``paddlegan`` or ``authors``.
        url: Where it is.
        name: What it is called in the cache.
        licence: In words.
    """

    publisher: str
    url: str
    name: str
    licence: str


@dataclass(frozen=True)
class Task:
    """What distinguishes one task from the others.

    Attributes:
        name: As the paper and the published weights call it, such as ``Deblurring``.
        short: As options files, scripts and people call it, such as ``deblur``.
        removes: What it takes out of a picture, in a photographer's words.
        widths: The published network.
        protocol: Name of the protocol that its results are scored by, see :mod:`mprnet_plugin.metrics.protocols`.
        recipe: Middle of the options files' names: ``options/train_MPRNet_<recipe>.yml``.
        data: Folder of the training data below ``datasets``.
        test_data: Folder of test pictures below that, with ``input`` and ``target`` in it.
        packer: The module of ``lmdb_tools`` that packs the data.
        weights: Published files; the first is taken where nobody chooses.
        light: The authors' smaller network for the task, where they have one.
    """

    name: str
    short: str
    removes: str
    widths: Widths
    protocol: str
    recipe: str
    data: str
    test_data: str
    packer: str
    weights: tuple[WeightsFile, ...]
    light: Widths | None = None


def _published(name: str, drive_id: str) -> tuple[WeightsFile, ...]:
    return (
        WeightsFile("paddlegan", f"{_PADDLE}MPR_{name}.pdparams", f"MPR_{name}.pdparams", _PADDLE_LICENCE),
        WeightsFile("authors", f"{_DRIVE}{drive_id}", f"model_{name.lower()}.pth", _AUTHORS_LICENCE),
    )


_ALL = (
    Task(
        name="Deblurring",
        short="deblur",
        removes="blur of a camera or a subject that moved",
        widths=Widths(n_feat=96, scale_unetfeats=48, scale_orsnetfeats=32),
        protocol="gopro",
        recipe="Deblur",
        data="GoPro",
        test_data="test",
        packer="gopro",
        weights=_published("Deblurring", "1QwQUVbk6YVOJViCsOKYNykCsdJSVGRtb"),
        # Published is n_feat with 31.87 dB on GoPro instead of 32.66 (the authors' issues 6 and 38); the other two
        # widths are inferred from what a user who ran their file calls them (issue 55).
        light=Widths(n_feat=40, scale_unetfeats=40, scale_orsnetfeats=32),
    ),
    Task(
        name="Denoising",
        short="denoise",
        removes="noise, the grain of dim light",
        widths=Widths(n_feat=80, scale_unetfeats=48, scale_orsnetfeats=32),
        protocol="sidd",
        recipe="Denoise",
        data="SIDD",
        test_data="val",
        packer="sidd",
        weights=_published("Denoising", "1LODPt9kYmxwU98g96UrRA0_Eh5HYcsRw"),
    ),
    Task(
        name="Deraining",
        short="derain",
        removes="streaks of rain",
        widths=Widths(n_feat=40, scale_unetfeats=20, scale_orsnetfeats=16),
        protocol="rain",
        recipe="Derain",
        data="Synthetic_Rain_Datasets",
        test_data="test/Test100",
        packer="rain13k",
        weights=_published("Deraining", "1O3WEJbcat7eTY6doXWeorAbQ1l_WmMnM"),
    ),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})
"""Task by its full name, in the paper's order."""


def find_task(name: str) -> Task:
    """Return the task that a person means: full or short name, or what it removes (``noise``), in any case.

    Raises:
        InputError: No task is called so; the message names the nearest.

    Example:
        >>> find_task("deblur").name, find_task("DERAINING").short, find_task("noise").short
        ('Deblurring', 'derain', 'denoise')
    """
    known = {alias.lower(): task for task in _ALL for alias in (task.name, task.short, task.short.removeprefix("de"))}
    task = known.get(name.strip().lower()) if isinstance(name, str) else None
    if task is None:
        raise InputError(f"task {name!r} is unknown, {nearest(str(name).lower(), [one.short for one in _ALL])}")
    return task


def main(argv: Sequence[str] | None = None) -> int:
    """Print fields of a task, one a line, for scripts; without arguments the short names of all tasks."""
    parser = argparse.ArgumentParser(prog="python -m mprnet_plugin.tasks", description=main.__doc__)
    parser.add_argument("task", nargs="?", help="full or short name; left out: list the tasks")
    fields = [name for name in Task.__dataclass_fields__ if name not in ("widths", "weights", "light")]
    parser.add_argument("fields", nargs="*", metavar="FIELD", help=f"out of {', '.join(fields)}")
    args = parser.parse_args(argv)
    lines = [task.short for task in _ALL]
    if args.task is not None:
        task = find_task(args.task)
        for field in args.fields:
            if field not in fields:
                raise InputError(f"field {field!r} is unknown, {nearest(field, fields)}")
        lines = [str(getattr(task, field)) for field in args.fields or ["name"]]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    run_command(main)
