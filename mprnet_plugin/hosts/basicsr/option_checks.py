"""Which options exist: read off the classes and functions that take them, so the lists cannot drift apart."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mprnet_plugin.errors import InputError, nearest

MODEL_TYPE = "MPRNetModel"
ROOTS = ("dataroot_lq", "dataroot_gt")

TOP = {"name", "model_type", "scale", "num_gpu", "manual_seed", "datasets", "network_g", "path", "val", "dist_params"}
TOP_TRAIN = TOP | {"train", "logger", "find_unused_parameters"}
PATH = {"pretrain_network_g", "param_key_g", "strict_load_g", "resume_state", "ignore_resume_networks"}
LOGGER = {"print_freq", "save_checkpoint_freq", "use_tb_logger", "wandb"}
# Optimisers that need more than a gradient to step, and the class that all derive from.
NO_STEP = {"LBFGS", "Optimizer"}
# What the host's runner and loader read of a dataset's section.
LOADER = {"name", "type", "phase", "scale", "pin_memory", "persistent_workers", "prefetch_mode", "num_prefetch_queue"}
# What our model reads of a validation or test set's section.
LOADER_EVAL = LOADER | {"metrics", "protocol"}
LOADER_TRAIN = LOADER | {"batch_size", "batch_size_per_gpu", "num_worker_per_gpu", "dataset_enlarge_ratio"}


def check_options(opt: dict[str, Any], source: str, is_train: bool) -> None:
    """Check an options file for :class:`~mprnet_plugin.hosts.basicsr.model.MPRNetModel` before anything is created.

    Files for other models are left alone.

    Args:
        opt: The options, as read; defaults are filled in.
        source: The file's name, for messages.
        is_train: Whether the training runner reads them.

    Raises:
        InputError: An option that nobody reads (with the nearest known name), one that is missing, or a path that does
            not exist.
    """
    if opt.get("model_type") != MODEL_TYPE:
        return
    _in_section(source, functools.partial(_check, is_train=is_train), opt)


def _check(opt: dict[str, Any], is_train: bool) -> None:
    from basicsr.utils import registry

    opt.setdefault("scale", 1)
    opt.setdefault("num_gpu", "auto")
    _known(opt, TOP_TRAIN if is_train else TOP | TOP_TRAIN, "")
    opt.setdefault("path", {})
    if not is_train:
        opt.setdefault("val", {})
    _required(opt, ["name", "datasets", "network_g", *(["train", "logger"] if is_train else [])], "")
    opt["name"] = str(opt["name"])  # YAML takes 2024 for a number
    if not str(opt["name"]) or os.sep in str(opt["name"]) or str(opt["name"]).startswith("."):
        raise InputError(f"name: {opt['name']!r} must be a plain folder name")
    opt.setdefault("manual_seed", 0)  # the host would draw one for each process, and another when it resumes
    _number(opt, "manual_seed", "", 0)
    _check_gpus(opt["num_gpu"])
    _check_datasets(opt["datasets"], registry, is_train)
    net = _check_network(opt["network_g"], registry.ARCH_REGISTRY)
    _check_paths(_section(opt, "path"))
    if "val" in opt:
        _check_val(_section(opt, "val"), registry.METRIC_REGISTRY, is_train, net)
    if is_train:
        _check_train(_section(opt, "train"), registry.LOSS_REGISTRY)
        logger = _section(opt, "logger")
        logger.setdefault("use_tb_logger", True)
        _known(logger, LOGGER, "logger")
        _required(logger, ["print_freq", "save_checkpoint_freq"], "logger")
        for name in ("print_freq", "save_checkpoint_freq"):
            _number(logger, name, "logger", 1)


def _check_gpus(wanted: Any) -> None:
    import torch

    available = torch.cuda.device_count()
    if wanted != "auto" and (not isinstance(wanted, int) or not 0 <= wanted <= available):
        raise InputError(f"num_gpu: {wanted!r}, but {available} GPUs are here: use num_gpu: auto")


def _check_datasets(datasets: Any, registries: Any, is_train: bool) -> None:
    phases = ("train", "val") if is_train else ("val", "test")
    if not isinstance(datasets, dict) or (is_train and "train" not in datasets):
        raise InputError(f"datasets: needs sections {' and '.join(phases)}")
    _drop_absent(datasets)
    for phase in datasets:
        if phase.split("_")[0] not in phases:
            raise InputError(f"datasets:{phase}: phases start with {' or '.join(phases)}, {nearest(phase, phases)}")
        section = _section(datasets, phase, "datasets")
        section.setdefault("name", phase)
        _check_dataset(section, registries, f"datasets:{phase}", phase.split("_")[0])
    names = [section["name"] for phase, section in datasets.items() if phase.split("_")[0] != "train"]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"datasets: {name!r} names several sets, whose results would be one: rename one")


def _check_dataset(section: dict[str, Any], registries: Any, where: str, phase: str) -> None:
    if phase == "train":
        section.setdefault("num_worker_per_gpu", 0)
        if not {"batch_size", "batch_size_per_gpu"} & section.keys():
            raise InputError(f"{where}: batch_size is missing (of one optimiser step, over all processes)")
        for name, low in (("batch_size", 1), ("batch_size_per_gpu", 1), ("num_worker_per_gpu", 0)):
            _number(section, name, where, low)
    else:
        _check_metrics(section, registries.METRIC_REGISTRY, where)
    cls = _lookup(section, registries.DATASET_REGISTRY, where)
    if hasattr(cls, "OPTIONS"):
        _known(section, cls.OPTIONS | (LOADER_TRAIN if phase == "train" else LOADER_EVAL), where)
    if hasattr(cls, "check_options"):
        _in_section(where, cls.check_options, {**section, "phase": phase})
    for key in ROOTS:
        if section.get(key) and not Path(section[key]).expanduser().exists():
            raise InputError(f"{where}:{key}: {section[key]} does not exist in {Path.cwd()}; correct the path")


def _drop_absent(datasets: dict[str, Any]) -> None:
    """Leave out the sets marked ``optional: true`` whose files are not there, and say so."""
    absent = [
        phase
        for phase, section in datasets.items()
        if isinstance(section, dict)
        and section.pop("optional", False)
        and not all(Path(str(section[key])).expanduser().exists() for key in ROOTS if key in section)
    ]
    if len(absent) == len(datasets):
        wanted = ", ".join(str(datasets[phase].get("dataroot_lq")) for phase in absent)
        raise InputError(f"datasets: none of {wanted} exists in {Path.cwd()}; put one there or correct the paths")
    for phase in absent:
        section = datasets.pop(phase)
        if os.environ.get("RANK", "0") == "0":
            sys.stderr.write(f"{section.get('name', phase)} is left out: {section.get('dataroot_lq')} is not there\n")


def _check_metrics(section: dict[str, Any], registry: Any, where: str) -> None:
    for name, metric in (section.get("metrics") or {}).items():
        _check_call(metric, registry, f"{where}:metrics:{name}", {"better"}, ("img", "img2"))


def _in_section(where: str, check: Callable[[dict[str, Any]], None], section: dict[str, Any]) -> None:
    try:
        check(section)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _check_paths(section: dict[str, Any]) -> None:
    _known(section, PATH, "path")
    for key in ("pretrain_network_g", "resume_state"):
        if section.get(key) and not Path(section[key]).expanduser().is_file():
            raise InputError(f"path:{key}: {section[key]} does not exist in {Path.cwd()}; correct the path")


def _check_val(section: dict[str, Any], registry: Any, is_train: bool, net: Any) -> None:
    from mprnet_plugin.archs.local_pooling import use_local_pooling
    from mprnet_plugin.training.validation import VAL_OPTIONS

    _known(section, VAL_OPTIONS, "val")
    _required(section, ["val_freq"] if is_train else [], "val")
    _number(section, "val_freq", "val", 1)
    _number(section, "grid_images", "val", 0)
    if section.get("local_pooling"):
        where, pooling = "val:local_pooling", _section(section, "local_pooling", "val")
        _known(pooling, _arguments(use_local_pooling, ["net"]), where)
        _try_call(use_local_pooling, pooling, where, net)
    section.setdefault("save_img", False)
    _check_metrics(section, registry, "val")


def _check_network(section: Any, registry: Any) -> Any:
    import torch

    call = _check_call(section, registry, "network_g")
    with torch.device("meta"):  # shapes only
        return _try_call(call, section, "network_g")


def _check_train(section: dict[str, Any], registry: Any) -> None:
    import torch

    from mprnet_plugin.hosts.basicsr.model import PRECISIONS, TRAIN_OPTIONS, schedulers
    from mprnet_plugin.training.mixup import mixup

    _known(section, TRAIN_OPTIONS, "train")
    _required(section, ["total_iter", "optim_g", "scheduler", "pixel_opt"], "train")
    for name in ("pixel_opt", "edge_opt"):
        if section.get(name):
            where = f"train:{name}"
            _try_call(_check_call(section[name], registry, where), section[name], where)
            if section[name].get("reduction") == "none":
                raise InputError(f"{where}:reduction: none leaves no number to minimise: use mean or sum")
    for name, low in (("total_iter", 1), ("micro_batch_size", 1), ("warmup_iter", -1)):
        _number(section, name, "train", low)
    _number(section, "ema_decay", "train", 0, float, below=1)
    if section.get("precision", PRECISIONS[0]) not in PRECISIONS:
        precision = section["precision"]
        raise InputError(f"train:precision: {precision!r} is not known, {nearest(str(precision), PRECISIONS)}")
    if section.get("mixup"):
        blend = _section(section, "mixup", "train")
        _known(blend, ["start_iter", *_arguments(mixup, ["lq", "gt", "generator"])], "train:mixup")
        _number(blend, "start_iter", "train:mixup", 0)
        _number(blend, "alpha", "train:mixup", 1e-6, float)
    optimizers = {
        name: cls
        for name, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and name not in NO_STEP
    }
    where, call = "train:optim_g", _check_call(section["optim_g"], optimizers, "train:optim_g", skip=("params",))
    optimizer = _try_call(call, section["optim_g"], where, [torch.nn.Parameter(torch.zeros(1))])
    _required(section["optim_g"], ["lr"], "train:optim_g")
    where = "train:scheduler"
    call = _check_call(section["scheduler"], schedulers(), where, skip=("optimizer", "last_epoch"))
    _try_call(call, section["scheduler"], where, optimizer)


def _check_call(
    section: Any, registry: Any, where: str, also: Iterable[str] = (), skip: Iterable[str] = ("self",)
) -> Callable[..., Any]:
    """Check a ``{type: NAME, argument: value, ...}`` section's names against NAME's signature; return what NAME is."""
    if not isinstance(section, dict):
        raise InputError(f"{where}: must be a section with a type, such as {{type: NAME}}")
    call: Callable[..., Any] = _lookup(section, registry, where)
    arguments = _arguments(call, skip)
    _known(section, {"type", *also, *arguments}, where)
    needed = [name for name, parameter in arguments.items() if parameter.default is inspect.Parameter.empty]
    _required(section, needed, where)
    return call


def _try_call(call: Callable[..., Any], section: Mapping[str, Any], where: str, *arguments: object) -> Any:
    """Build what a section describes, to hear now what is wrong with its values."""
    options = {key: value for key, value in section.items() if key != "type"}
    try:
        return call(*arguments, **options)
    except Exception as error:  # whatever a constructor does with a value it was not made for
        given = ", ".join(f"{key}: {value!r}" for key, value in options.items())
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{where}: {section.get('type', 'it')} does not take these values ({reason}); given {given}"
        ) from error


def _arguments(call: Callable[..., Any], skip: Iterable[str]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(call).parameters
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in parameters.items() if p.kind not in variable and name not in skip}


def _lookup(section: Mapping[str, Any], registry: Any, where: str) -> Any:
    name = section.get("type")
    if name is None:
        raise InputError(f"{where}:type is missing")
    if name not in registry:
        raise InputError(f"{where}:type: {name!r} is not known, {nearest(str(name), registry.keys())}")
    return registry[name] if isinstance(registry, dict) else registry.get(name)


def _section(opt: dict[str, Any], name: str, parent: str = "") -> dict[str, Any]:
    section = opt[name]
    if not isinstance(section, dict):
        raise InputError(f"{parent + ':' if parent else ''}{name}: must be a section, not {section!r}")
    return section


def _number(
    section: dict[str, Any], name: str, where: str, low: float, kind: type[float] = int, below: float = float("inf")
) -> None:
    """Check an option that is a number, where it is given; a whole number may be written as 4e5."""
    value = section.get(name)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = section[name] = int(value)
    if value is None or (isinstance(value, (int, kind)) and not isinstance(value, bool) and low <= value < below):
        return
    what = "a whole number" if kind is int else "a number"
    end = "" if below == float("inf") else f" and below {below:g}"
    raise InputError(f"{where + ':' if where else ''}{name}: {value!r} must be {what}, at least {low:g}{end}")


def _known(section: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    names = set(known)
    for key in section:
        if key not in names:
            path = f"{where}:{key}" if where else str(key)
            raise InputError(f"option {path} is read by nobody, {nearest(str(key), names)}")


def _required(section: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in names:
        if name not in section:
            raise InputError(f"option {where + ':' if where else ''}{name} is missing")
