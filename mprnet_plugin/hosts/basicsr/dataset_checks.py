"""Check the sections of the data sets: what is there, what the loaders can do, what the network can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import registry

from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE, MPRNet
from mprnet_plugin.data.samples import SampleOptions
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.hosts.basicsr.component_checks import check_call, lookup
from mprnet_plugin.hosts.basicsr.metrics import scoring_of
from mprnet_plugin.hosts.basicsr.run_options import RunOptions, dataset_options
from mprnet_plugin.training.options import ValOptions
from mprnet_plugin.typed_options import Component, shorten

__all__ = ["absent_sets", "check_datasets", "check_metric", "is_there"]

ROOTS = ("dataroot_lq", "dataroot_gt")


def is_there(path: object) -> bool:
    """Tell whether a path of an option exists; one that the system cannot even look up does not."""
    try:
        return Path(str(path)).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, ~nosuchuser
        return False


def absent_sets(datasets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sets marked ``optional: true`` whose files are not there."""
    return [
        phase
        for phase, section in datasets.items()
        if section.get("optional") is True and not all(is_there(section[key]) for key in ROOTS if key in section)
    ]


def check_datasets(options: RunOptions, val: ValOptions, net: torch.nn.Module, is_train: bool) -> None:
    """Check the sections of all sets, with the network that is to take their pictures.

    Raises:
        InputError: As of :func:`~mprnet_plugin.hosts.basicsr.option_checks.check_options`.
    """
    datasets, phases = options.datasets, ("train", "val") if is_train else ("val", "test")
    if not datasets or (is_train and "train" not in datasets):
        raise InputError(f"datasets: needs sections {' and '.join(phases)}")
    absent = absent_sets(datasets)
    if len(absent) == len(datasets):
        wanted = ", ".join(
            str(datasets[phase].get("dataroot_lq", datasets[phase].get("dataroot_gt"))) for phase in absent
        )
        raise InputError(f"datasets: none of {wanted} exists in {Path.cwd()}; put one there or correct the paths")
    names: list[str] = []
    for phase, section in datasets.items():
        kind = phase.split("_")[0]
        if kind not in phases:
            raise InputError(f"datasets:{phase}: phases start with {' or '.join(phases)}, {nearest(phase, phases)}")
        if phase not in absent:
            _check_dataset(section, f"datasets:{phase}", kind, val, net)
            names += [str(section.get("name") or phase)] if kind != "train" else []
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"datasets: {name!r} names several sets, whose results would be one: rename one")


def _check_loader(section: Mapping[str, Any], where: str, kind: str) -> None:
    if kind == "train" and not {"batch_size", "batch_size_per_gpu"} & section.keys():
        raise InputError(f"{where}: batch_size is missing (of one optimiser step, over all processes)")
    if section.get("prefetch_mode") == "cpu":
        raise InputError(
            f"{where}:prefetch_mode: cpu waits for ever where a picture is damaged: leave it out, and set "
            "num_worker_per_gpu: 2 and persistent_workers: true"
        )
    if section.get("prefetch_mode") == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{where}:prefetch_mode: cuda needs a GPU: leave it out")
    if section.get("prefetch_mode") == "cuda" and section.get("pin_memory") is not True:
        raise InputError(f"{where}:prefetch_mode: cuda needs pinned memory: write pin_memory: true beside it")
    if {"batch_size", "batch_size_per_gpu"} <= section.keys():
        raise InputError(
            f"{where}: batch_size (of all processes) and batch_size_per_gpu (of each) exclude each other: leave out one"
        )


def _check_dataset(section: Mapping[str, Any], where: str, kind: str, val: ValOptions, net: torch.nn.Module) -> None:
    _check_loader(section, where, kind)
    dataset = lookup(section.get("type"), registry.DATASET_REGISTRY, where)
    if (section_class := dataset_options(dataset, kind == "train")) is not None:
        options = section_class.read({"phase": kind, **section}, where)
        if isinstance(options, SampleOptions) and isinstance(net, MPRNet):
            _check_samples(options, where, net)
    if kind != "train":
        try:
            scoring_of(section, val)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        for name, metric in (section.get("metrics") or {}).items():
            check_metric(Component.read(metric, f"{where}:metrics:{name}"), f"{where}:metrics:{name}")
    elif isinstance(net, MPRNet):
        _check_sides(section, where)
    for place, one in ((where, section), *_sources(section, where)):
        for key in ROOTS:
            if one.get(key) and not is_there(one[key]):
                raise InputError(f"{place}:{key}: {shorten(one[key])} does not exist in {Path.cwd()}; correct the path")


def _sources(section: Mapping[str, Any], where: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    given = section.get("sources")
    if isinstance(given, list):
        yield from ((f"{where}:sources:{index}", one) for index, one in enumerate(given) if isinstance(one, Mapping))


def _check_samples(options: SampleOptions, where: str, net: MPRNet) -> None:
    channels = 1 if options.grey else 3
    if not net.in_c == net.out_c == channels:
        fix = "write grey: true in each set" if net.in_c == net.out_c == 1 else f"use in_c and out_c {channels}"
        raise InputError(f"{where}: has {channels} channels, network_g takes {net.in_c} and gives {net.out_c}: {fix}")


def _check_sides(section: Mapping[str, Any], where: str) -> None:
    later = section.get("patch_schedule") or ()
    sides = [("", section), *((f"patch_schedule:{index}:", one) for index, one in enumerate(later))]
    for name, one in sides:
        if isinstance(one.get("gt_size"), int) and one["gt_size"] % SIZE_MULTIPLE:
            raise InputError(
                f"{where}:{name}gt_size: {one['gt_size']} must be a multiple of {SIZE_MULTIPLE} for MPRNet"
            )


def check_metric(metric: Component, where: str) -> None:
    """Check a metric by its signature.

    Raises:
        InputError: It is not known, or does not take these arguments.
    """
    check_call(metric, registry.METRIC_REGISTRY, where, {"better"}, ("img", "img2"))
