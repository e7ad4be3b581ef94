"""The settings of an options file beside those of the shipped recipes, and its learning rate as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import registry

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.command_line import read_options
from mprnet_plugin.hosts.basicsr.component_checks import lookup
from mprnet_plugin.hosts.basicsr.parts import describe_schedule, schedule_arguments, schedulers
from mprnet_plugin.hosts.basicsr.run_options import MODEL_TYPE, RunOptions, dataset_options
from mprnet_plugin.shipped_options import shipped
from mprnet_plugin.training.grids import write_png
from mprnet_plugin.training.options import TrainOptions
from mprnet_plugin.training.plots import draw_curve
from mprnet_plugin.training.recipes import deviations, flat
from mprnet_plugin.training.schedules import WarmupCosineLR

__all__ = ["differing_settings", "plot_rate"]

_OWN = ("name", "num_gpu", "path", "logger", "dist_params")
_OWN_OF_SETS = (
    "name",
    "dataroot_lq",
    "dataroot_gt",
    "io_backend",
    "num_worker_per_gpu",
    "persistent_workers",
    "pin_memory",
)
_POINTS = 2000


def differing_settings(opt: Mapping[str, Any], file: str) -> str:
    """Return in which settings checked options differ from a shipped recipe, as lines for the log.

    Names, paths, logging and how data are loaded are left out.

    Args:
        opt: The options as read, overrides put in, defaults not.
        file: The options file.
    """
    files = {
        name: path
        for name, path in shipped().items()
        if path.suffix == ".yml" and not name.startswith("test") and not path.stem.endswith("_test")
    }
    own = Path(file).name
    recipes = {
        name: flat(_typed(read_options(str(path)))) for name, path in files.items() if name == own or own not in files
    }
    return deviations(own, flat(_typed(opt)), recipes, _counts)


def _counts(name: str) -> bool:
    first, *rest = name.split(":")
    return first not in _OWN and not (first == "datasets" and len(rest) > 1 and rest[1] in _OWN_OF_SETS)


def _typed(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with their defaults, so that what is written out and what is meant are the same."""
    content = RunOptions.read(opt).model_dump()
    for phase, section in content["datasets"].items():
        dataset = registry.DATASET_REGISTRY.get(section["type"])
        kind = phase.split("_")[0]
        if (section_class := dataset_options(dataset, kind == "train")) is not None:
            content["datasets"][phase] = section_class.read({"phase": kind, **section}).model_dump()
    return content


def plot_rate(file: str, output: Path, pairs: int | None = None) -> str:
    """Draw the learning rate that an options file gives its iterations.

    Args:
        file: Options of a training.
        output: PNG to write.
        pairs: Samples of the training set, where ``iters_per_epoch: auto`` and the set is not here.

    Returns:
        A line that says what was drawn.

    Raises:
        InputError: Options that are no training's of our model, an ``auto`` that cannot be counted, or an output that
            exists or cannot be written.
    """
    opt = read_options(file)
    if opt.get("model_type") != MODEL_TYPE or not isinstance(opt.get("train"), dict):
        raise InputError(f"{file}: has no training of {MODEL_TYPE}, whose rate could be drawn: give a train_*.yml")
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: the plot is a PNG: give a name that ends with .png")
    if output.exists():
        raise InputError(f"{output} exists and is left alone; give another name")
    train = TrainOptions.read(opt["train"], f"{file}: train")
    lr, total, name = train.optim_g.arguments.get("lr"), train.total_iter, train.scheduler.type
    if not isinstance(lr, (int, float)) or name not in schedulers():
        raise InputError(f"{file}: train:optim_g:lr and a known train:scheduler:type are needed to draw the rate")
    given = train.scheduler.arguments
    counted = schedulers()[name] is WarmupCosineLR and given.get("iters_per_epoch", "auto") == "auto"
    arguments = schedule_arguments(name, given, total, _epoch(opt, pairs) if counted else 0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = schedulers()[name](optimizer, **arguments)
    line = describe_schedule(scheduler, total) or f"learning rate: {name}"
    steps, rates = _rates(scheduler, optimizer, total, train.warmup_iter)
    write_png(draw_curve(steps, rates, f"{opt.get('name')}: learning rate by iteration", line), output)
    return f"{output}: {line}"


def _epoch(opt: Mapping[str, Any], pairs: int | None) -> int:
    """Count an epoch's iterations, as the run will."""
    section = (opt.get("datasets") or {}).get("train") or {}
    batch = section.get("batch_size") or section.get("batch_size_per_gpu")
    if not isinstance(batch, int) or batch < 1:
        raise InputError("datasets:train:batch_size is missing, from which iters_per_epoch: auto is counted")
    if pairs is None:
        build = lookup(section.get("type"), registry.DATASET_REGISTRY, "datasets:train")
        try:
            pairs = len(build({"phase": "train", **section}))
        except (InputError, OSError, KeyError) as error:
            raise InputError(
                f"iters_per_epoch: auto counts the training set ({error}): give its size with --pairs"
            ) from error
    return math.ceil(pairs * float(section.get("dataset_enlarge_ratio", 1)) / batch)


def _rates(scheduler: Any, optimizer: torch.optim.Optimizer, total: int, warmup: int) -> tuple[list[int], list[float]]:
    """Step through a run as the host does, and take down some of its rates."""
    every = max(total // _POINTS, 1)
    steps, rates = [], []
    first = optimizer.param_groups[0]["initial_lr"]
    optimizer.step()  # torch asks for one before the schedule's
    for iteration in range(1, total + 1):
        if iteration > 1:
            scheduler.step()
        if iteration % every == 1 or every == 1 or iteration == total:
            steps.append(iteration)
            rates.append(first / warmup * iteration if iteration < warmup else optimizer.param_groups[0]["lr"])
    return steps, rates
