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
from mprnet_plugin.archs.mprnet_arch import STAGES, MPRNet
from mprnet_plugin.archs.shapes_only import shapes_only
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.hosts.basicsr.component_checks import check_call, check_loss, try_call
from mprnet_plugin.hosts.basicsr.dataset_checks import absent_sets, check_datasets, check_metric, is_there
from mprnet_plugin.hosts.basicsr.metrics import scoring_of, watched
from mprnet_plugin.hosts.basicsr.parts import check_schedule, optimizers, schedule_arguments, schedulers
from mprnet_plugin.hosts.basicsr.run_options import MODEL_TYPE, LoggerOptions, PathOptions, RunOptions
from mprnet_plugin.training.options import TrainOptions, ValOptions
from mprnet_plugin.training.step import prepare_network
from mprnet_plugin.typed_options import Component, shorten
from mprnet_plugin.weights.choice import find_file, published_task

__all__ = ["check_model_type", "check_options", "check_wandb"]


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
    check_datasets(options, val, net, is_train)
    if is_train:
        _check_watched(options, val)
    if options.logger is not None and options.logger.safetensors and not isinstance(net, MPRNet):
        raise InputError(f"logger:safetensors: is for MPRNet, network_g is {type(net).__name__}: leave it out")
    _check_paths(options.path)
    if is_train and options.train is not None:
        try_call(prepare_network, {}, "train", net, options.train)
        _check_train(options.train)
        _check_losses(options.train, net)


def _check_paths(paths: PathOptions) -> None:
    for key in ("pretrain_network_g", "resume_state"):
        path = getattr(paths, key)
        if path and not (key == "pretrain_network_g" and published_task(path)) and not is_there(find_file(path)):
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


def _check_watched(options: RunOptions, val: ValOptions) -> None:
    """Check the metrics that save_best and early_stopping go by."""
    wanted = {"logger:save_best": options.logger.save_best if options.logger else None}
    wanted["val:early_stopping:metric"] = val.early_stopping.metric if val.early_stopping else None
    absent = absent_sets(options.datasets)
    scorings = {
        str(section.get("name") or phase): scoring_of(section, val)
        for phase, section in options.datasets.items()
        if phase.split("_")[0] == "val" and phase not in absent
    }
    for where, metric in wanted.items():
        if metric is None:
            continue
        if options.val is None:
            raise InputError(f"{where}: needs validation: write val: {{val_freq: 2000}}, and a set datasets:val")
        try:
            watched(metric, scorings)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error


def _check_val(val: ValOptions, net: torch.nn.Module) -> None:
    if val.local_pooling is not None:
        if not isinstance(net, MPRNet):
            raise InputError(f"val:local_pooling: is for MPRNet, network_g is {type(net).__name__}: leave it out")
        try_call(use_local_pooling, val.local_pooling.model_dump(), "val:local_pooling", net)
    for name, metric in (val.metrics or {}).items():
        check_metric(metric, f"val:metrics:{name}")


def _check_network(network: Component) -> torch.nn.Module:
    call = check_call(network, registry.ARCH_REGISTRY, "network_g")
    with shapes_only():
        net: torch.nn.Module = try_call(call, network.arguments, "network_g")
    return net


def _check_losses(train: TrainOptions, net: torch.nn.Module) -> None:
    for name in ("pixel_opt", "edge_opt", "perceptual_opt"):
        if (loss := getattr(train, name)) is not None:
            check_loss(loss, registry.LOSS_REGISTRY, f"train:{name}")
    for number, one in enumerate(train.losses or []):
        where = f"train:losses:{number}"
        check_loss(one, registry.LOSS_REGISTRY, where)
        if isinstance(net, MPRNet) and max(one.stages or [1]) > STAGES:
            raise InputError(f"{where}:stages: {one.stages}, but MPRNet has the stages 1 to {STAGES}: name one of them")


def _check_train(train: TrainOptions) -> None:
    where = "train:optim_g"
    call = check_call(train.optim_g, optimizers(), where, skip=("params",))
    if "lr" not in train.optim_g.arguments:
        raise InputError(f"option {where}:lr is missing")
    optimizer = try_call(call, train.optim_g.arguments, where, [torch.nn.Parameter(torch.zeros(1))])
    where = "train:scheduler"
    call = check_call(train.scheduler, schedulers(), where, skip=("optimizer", "last_epoch"))
    try:
        # Any length of an epoch will do for a check.
        arguments = schedule_arguments(train.scheduler.type, train.scheduler.arguments, train.total_iter, 1)
    except InputError as error:
        raise InputError(f"{where}:{error}") from error
    scheduler = try_call(call, arguments, where, optimizer)
    if train.warmup_iter > 0 and call.__module__ == torch.optim.lr_scheduler.__name__:
        raise InputError(
            f"train:warmup_iter: {train.scheduler.type} goes on from the rate of the moment, which a warm-up sets: "
            "leave warmup_iter out, or take a schedule that has one, WarmupCosineLR or OneCycleLR"
        )
    try:
        check_schedule(scheduler, train.total_iter)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
