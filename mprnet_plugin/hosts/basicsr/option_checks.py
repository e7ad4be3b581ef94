"""Check an options file for our model before anything is created; nothing is filled in, changed or left out here.

Types and ranges are those of the typed sections (:mod:`~mprnet_plugin.hosts.basicsr.run_options`). What a section
chooses by name, a network, a loss, an optimiser, is checked against the signature of what it names, and built.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import registry

from mprnet_plugin.archs.local_pooling import MPRNetLocal, use_local_pooling
from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE, MPRNet
from mprnet_plugin.data.samples import SampleOptions
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.hosts.basicsr.component_checks import check_call, lookup, try_call
from mprnet_plugin.hosts.basicsr.metrics import scoring_of
from mprnet_plugin.hosts.basicsr.parts import check_schedule, optimizers, schedulers
from mprnet_plugin.hosts.basicsr.run_options import MODEL_TYPE, LoggerOptions, PathOptions, RunOptions, dataset_options
from mprnet_plugin.training.options import TrainOptions, ValOptions
from mprnet_plugin.typed_options import Component, shorten
from mprnet_plugin.weights.choice import find_file, published_task

__all__ = ["absent_sets", "check_model_type", "check_options", "check_wandb"]

ROOTS = ("dataroot_lq", "dataroot_gt")


def _there(path: object) -> bool:
    """Tell whether a path of an option exists; one that the system cannot even look up does not."""
    try:
        return Path(str(path)).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, ~nosuchuser
        return False


def check_model_type(opt: Mapping[str, Any], source: str) -> None:
    """Check that the options name a model; which options other models than ours read, nobody knows.

    Raises:
        InputError: None is named, or none of that name is registered.
    """
    name, known = opt.get("model_type"), registry.MODEL_REGISTRY
    if not isinstance(name, str) or (name not in known and f"{name}_basicsr" not in known):
        hint = nearest(str(name)[:80], known.keys()) if name is not None else f"write model_type: {MODEL_TYPE}"
        raise InputError(f"{source}: model_type: {shorten(name)} is not known, {hint}")
    if known.get(name).__module__.startswith("basicsr."):
        _check_stock_model(opt, f"{source}: model_type: {name}")


def _check_stock_model(opt: Mapping[str, Any], where: str) -> None:
    """Say early what the host's own models cannot do with our parts."""
    network, datasets = opt.get("network_g"), opt.get("datasets")
    if isinstance(network, dict) and network.get("type") in (MPRNet.__name__, MPRNetLocal.__name__):
        raise InputError(
            f"{where} takes one image from the network, {network['type']} gives those of its stages: write "
            f"model_type: {MODEL_TYPE}"
        )
    for phase, section in datasets.items() if isinstance(datasets, dict) else ():
        if isinstance(section, dict) and section.get("patch_schedule") is not None:
            raise InputError(f"{where} counts no iterations for datasets:{phase}:patch_schedule: use {MODEL_TYPE}")
        if isinstance(section, dict) and section.get("dtype") == "uint8":
            raise InputError(
                f"{where} takes floats: write datasets:{phase}:dtype: float32, or model_type: {MODEL_TYPE}"
            )


def check_options(opt: Mapping[str, Any], source: str, is_train: bool) -> None:
    """Check an options file for :class:`~mprnet_plugin.hosts.basicsr.model.MPRNetModel`; others are left alone.

    Args:
        opt: The options, as read.
        source: The file's name, for messages.
        is_train: Whether the training runner reads them.

    Raises:
        InputError: An option that nobody reads (with the nearest known name), one that is missing, a value of another
            type or out of range, options that contradict each other, or a path that does not exist.
    """
    if opt.get("model_type") != MODEL_TYPE:
        return
    try:
        _check(opt, is_train)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _check(opt: Mapping[str, Any], is_train: bool) -> None:
    options = RunOptions.read(opt)
    _check_gpus(options.num_gpu)
    check_wandb(options.logger)
    if is_train:
        _needs(options, ["train", "logger"])
        if options.val is not None and options.val.val_freq is None:
            raise InputError("option val:val_freq is missing: iterations between validations")
    net = _check_network(options.network_g)
    val = options.val or ValOptions()
    _check_val(val, net)
    _check_datasets(options, val, net, is_train)
    _check_paths(options.path)
    if is_train and options.train is not None:
        _check_train(options.train)


def _check_paths(paths: PathOptions) -> None:
    for key in ("pretrain_network_g", "resume_state"):
        path = getattr(paths, key)
        if path and not (key == "pretrain_network_g" and published_task(path)) and not _there(find_file(path)):
            raise InputError(f"path:{key}: {shorten(path)} does not exist in {Path.cwd()}; correct the path")


def _needs(options: RunOptions, names: Iterable[str]) -> None:
    for name in names:
        if getattr(options, name) is None:
            raise InputError(f"option {name} is missing: a section of options")


def _check_gpus(wanted: str | int) -> None:
    available = torch.cuda.device_count()
    if isinstance(wanted, int) and wanted > available:
        raise InputError(f"num_gpu: {wanted}, but {available} GPUs are here: use num_gpu: auto")


def check_wandb(logger: LoggerOptions | None) -> None:
    """Check that Weights and Biases can be logged to, where that is asked for.

    Raises:
        InputError: It is not installed, or TensorBoard is off, whose log it sends.
    """
    if logger is None or logger.wandb is None or logger.wandb.project is None:
        return
    if importlib.util.find_spec("wandb") is None:
        raise InputError("logger:wandb: is not installed: pip install wandb, or leave it out")
    if not logger.use_tb_logger:
        raise InputError("logger:wandb: sends what TensorBoard gets: write logger:use_tb_logger: true")


def absent_sets(datasets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sets marked ``optional: true`` whose files are not there."""
    return [
        phase
        for phase, section in datasets.items()
        if section.get("optional") is True and not all(_there(section[key]) for key in ROOTS if key in section)
    ]


def _check_datasets(options: RunOptions, val: ValOptions, net: torch.nn.Module, is_train: bool) -> None:
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
    if hasattr(dataset, "options_class"):
        options = dataset_options(dataset, kind == "train").read({"phase": kind, **section}, where)
        if isinstance(options, SampleOptions) and isinstance(net, MPRNet):
            _check_samples(options, where, net)
    if kind != "train":
        try:
            scoring_of(section, val)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        for name, metric in (section.get("metrics") or {}).items():
            _check_metric(Component.read(metric, f"{where}:metrics:{name}"), f"{where}:metrics:{name}")
    elif isinstance(net, MPRNet):
        _check_sides(section, where)
    for place, one in ((where, section), *_sources(section, where)):
        for key in ROOTS:
            if one.get(key) and not _there(one[key]):
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


def _check_metric(metric: Component, where: str) -> None:
    check_call(metric, registry.METRIC_REGISTRY, where, {"better"}, ("img", "img2"))


def _check_val(val: ValOptions, net: torch.nn.Module) -> None:
    if val.local_pooling is not None:
        if not isinstance(net, MPRNet):
            raise InputError(f"val:local_pooling: is for MPRNet, network_g is {type(net).__name__}: leave it out")
        try_call(use_local_pooling, val.local_pooling.model_dump(), "val:local_pooling", net)
    for name, metric in (val.metrics or {}).items():
        _check_metric(metric, f"val:metrics:{name}")


def _check_network(network: Component) -> torch.nn.Module:
    call = check_call(network, registry.ARCH_REGISTRY, "network_g")
    with torch.device("meta"):  # shapes only
        net: torch.nn.Module = try_call(call, network.arguments, "network_g")
    return net


def _check_train(train: TrainOptions) -> None:
    for name in ("pixel_opt", "edge_opt"):
        loss: Component | None = getattr(train, name)
        if loss is None:
            continue
        where = f"train:{name}"
        try_call(check_call(loss, registry.LOSS_REGISTRY, where), loss.arguments, where)
        if loss.arguments.get("reduction") == "none":
            raise InputError(f"{where}:reduction: none leaves no number to minimise: use mean or sum")
    where = "train:optim_g"
    call = check_call(train.optim_g, optimizers(), where, skip=("params",))
    if "lr" not in train.optim_g.arguments:
        raise InputError(f"option {where}:lr is missing")
    optimizer = try_call(call, train.optim_g.arguments, where, [torch.nn.Parameter(torch.zeros(1))])
    where = "train:scheduler"
    call = check_call(train.scheduler, schedulers(), where, skip=("optimizer", "last_epoch"))
    scheduler = try_call(call, train.scheduler.arguments, where, optimizer)
    try:
        check_schedule(scheduler, train.total_iter)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
