"""What happens to checked options before the host sees them: defaults, absent sets, one batch, one GPU a process."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from basicsr.utils import registry

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.dataset_checks import absent_sets
from mprnet_plugin.hosts.basicsr.run_options import MODEL_TYPE, LoggerOptions, RunOptions, as_typed, dataset_options

__all__ = ["fill_defaults", "fix_batch", "fix_devices", "schedule_datasets"]

Opt = dict[str, Any]


def fill_defaults(opt: Opt, is_train: bool) -> None:
    """Write into the options of our model what the host reads without asking whether it is there.

    Args:
        opt: Options that were checked; changed in place.
        is_train: Whether the training runner reads them.

    Optional sets whose files are absent are left out, with a line on standard error.
    """
    if opt.get("model_type") != MODEL_TYPE:
        return
    options = RunOptions.read(opt)
    as_typed(opt, options)
    opt["name"] = options.name
    for name in ("scale", "num_gpu", "manual_seed"):
        opt.setdefault(name, getattr(options, name))  # without a seed the host would draw one for each process
    opt["path"] = opt.get("path") or {}
    if not is_train:
        # The moving average where there is one, as when restoring; the host would take the plain weights.
        opt["path"].setdefault("param_key_g", "params_ema")
    if "train" not in opt or "val" in opt:
        opt["val"] = {"save_img": False, **(opt.get("val") or {})}
    if opt.get("logger"):
        opt["logger"].setdefault("use_tb_logger", LoggerOptions.model_fields["use_tb_logger"].default)
    for phase in absent_sets(opt["datasets"]):
        section = opt["datasets"].pop(phase)
        if os.environ.get("RANK", "0") == "0":
            sys.stderr.write(f"{section.get('name', phase)} is left out: {section.get('dataroot_lq')} is not there\n")
    for phase, section in opt["datasets"].items():
        _fill_dataset(phase, section)
    if is_train:
        _fill_local_pooling(opt)


def _fill_local_pooling(opt: Opt) -> None:
    """Local pooling fits its windows to the patches of training, the last ones where their size changes."""
    train, pooling = opt["datasets"]["train"], (opt.get("val") or {}).get("local_pooling")
    if pooling is None or "train_size" in pooling or "gt_size" not in train:
        return
    pooling["train_size"] = [train, *(train.get("patch_schedule") or ())][-1]["gt_size"]
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"val:local_pooling:train_size is {pooling['train_size']}, the patches of datasets:train\n")


def _fill_dataset(phase: str, section: Opt) -> None:
    training = phase.split("_")[0] == "train"
    dataset = registry.DATASET_REGISTRY.get(section["type"])
    if (options := dataset_options(dataset, training)) is not None:
        as_typed(section, options.read({"phase": phase.split("_")[0], **section}))
    section["name"] = str(section.get("name") or phase)
    section.pop("optional", None)
    if training:
        section.setdefault("num_worker_per_gpu", 0)


def fix_devices(opt: Opt, launcher: str) -> None:
    """One process trains on one GPU, several on one each.

    The host's DataParallel would count an epoch's iterations wrongly and forget the precision in its threads.

    Raises:
        InputError: One process is to use several GPUs, or several processes are to leave the GPUs alone.
    """
    available = torch.cuda.device_count()
    if opt.get("model_type") != MODEL_TYPE or not available:
        return
    if launcher != "none":
        if opt["num_gpu"] == 0:
            raise InputError("num_gpu: 0 with --launcher needs the GPUs hidden: set CUDA_VISIBLE_DEVICES= as well")
        return
    if opt["num_gpu"] == "auto":
        opt["num_gpu"] = 1
        if available > 1:
            sys.stderr.write(
                f"using 1 of {available} GPUs; torchrun --nproc_per_node={available} uses all, see --help\n"
            )
    elif opt["num_gpu"] > 1:
        raise InputError(
            f"num_gpu: {opt['num_gpu']} needs as many processes: torchrun --nproc_per_node={opt['num_gpu']} -m "
            "basicsr.train -opt FILE --launcher pytorch"
        )


def fix_batch(opt: Opt, processes: int) -> None:
    """Turn a stated global batch, that of one optimiser step over all processes, into the host's batch per process.

    Raises:
        InputError: It does not divide.
    """
    train = (opt.get("datasets") or {}).get("train")
    if not isinstance(train, dict) or "batch_size" not in train:
        return
    total = train.pop("batch_size")
    if total % processes:
        raise InputError(
            f"datasets:train:batch_size {total} must be a multiple of the {processes} processes: "
            f"use {processes * max(total // processes, 1)} or {processes * (total // processes + 1)}"
        )
    train["batch_size_per_gpu"] = total // processes


def schedule_datasets(opt: Opt) -> None:
    """Tell our training dataset what its sampler must know of the run."""
    train = opt["datasets"].get("train")
    if opt.get("model_type") != MODEL_TYPE or train is None:
        return
    train["schedule"] = {"seed": opt["manual_seed"], "batch_size": train["batch_size_per_gpu"], "start_iter": 0}
    if not train["num_worker_per_gpu"]:
        train["persistent_workers"] = False  # torch refuses to keep workers that are not there
    if not torch.cuda.is_available():
        train["pin_memory"] = False  # nothing to pin for; torch would warn at every epoch
