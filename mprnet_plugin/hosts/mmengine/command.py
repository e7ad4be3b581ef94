"""What the commands for training and testing share: configs, processes, errors of one line."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import inspect
import os
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.mmengine.registry import SCOPE
from mprnet_plugin.shipped_options import find_options

__all__ = ["base_parser", "in_one_line", "join_processes", "read_config", "require"]

BUILDER = "mmengine.registry.build_functions"
_SIMILAR = 0.8


class _Overrides(DictAction):  # type: ignore[misc]
    """The host's ``--cfg-options``, which says what is wrong with one."""

    def __call__(self, parser: Any, namespace: Any, values: Sequence[str], option_string: str | None = None) -> None:
        for one in values:
            if "=" not in one:
                raise InputError(f"--cfg-options {one!r} must be KEY=VALUE, such as train_cfg.max_iters=1000")
        super().__call__(parser, namespace, values, option_string)


def base_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that OpenMMLab's commands have in common."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("config", help="config file (Python): a path, or a name that mprnet-options lists")
    parser.add_argument("--work-dir", metavar="DIR", help="where logs and checkpoints go (default: work_dirs/CONFIG)")
    parser.add_argument(
        "--cfg-options", nargs="+", action=_Overrides, metavar="KEY=VALUE", help="override train_cfg.max_iters=1000 ..."
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="pytorch under torchrun, on GPUs or CPUs; slurm and mpi as mmengine has them (default: one process)",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def read_config(args: argparse.Namespace) -> Config:
    """Read a config, which is Python and runs, with the overrides of the command line put in.

    Raises:
        InputError: It cannot be read, or has a name at the top that is nearly one that the runner knows.
    """
    # A bare name without a suffix would first mean the options file of that name.
    path = find_options(args.config if Path(args.config).suffix else f"{args.config}.py")
    try:
        config = Config.fromfile(path)
        config.merge_from_dict(args.cfg_options or {})
    except Exception as error:  # a config can raise anything
        raise InputError(f"config {args.config}: {_reason(error)}") from error
    known = [*inspect.signature(Runner.__init__).parameters, "tta_model", "custom_imports"]
    for name in config:
        close = difflib.get_close_matches(name, known, n=1, cutoff=_SIMILAR)
        if name not in known and close:
            raise InputError(f"config {args.config}: {name} is read by nobody, did you mean {close[0]!r}?")
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.get("work_dir") or f"work_dirs/{path.stem}"
    config.setdefault("default_scope", SCOPE)
    hooks = [*config.get("custom_hooks", ())]
    for name in ("RestorationHook", "SpeedHook"):
        if not any(hook.get("type") == name for hook in hooks):
            hooks.append({"type": name})
    config.custom_hooks = hooks
    config.setdefault("model_wrapper_cfg", {"type": f"{SCOPE}.DistributedRestorer", "broadcast_buffers": False})
    return config


def require(config: Config, *names: str) -> None:
    """Check that a config has the sections that a command needs.

    Raises:
        InputError: One is missing.
    """
    for name in names:
        if not config.get(name):
            raise InputError(f"the config has no {name}: add it, or start from one that mprnet-options lists")


def join_processes(launcher: str) -> None:
    """Make the process group on CPUs, where the host asks for a GPU.

    Raises:
        InputError: The launcher's variables are missing, or torchrun's processes would each be a run of their own.
    """
    started = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    if launcher == "none" and started:
        raise InputError("torchrun started several processes, which need --launcher pytorch to become one run: add it")
    if launcher == "pytorch" and "RANK" not in os.environ:
        raise InputError("--launcher pytorch needs torchrun: torchrun --nproc_per_node=N COMMAND --launcher pytorch")
    if launcher == "pytorch" and not torch.cuda.is_available():
        torch.distributed.init_process_group("gloo")


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Turn what a config causes into an :class:`InputError` of one line, and leave the process group.

    Raises:
        InputError: A part that could not be built as the config says, or too little memory.
    """
    try:
        yield
    except InputError as error:
        # A loading process sends its traceback as the message; the error itself is the last line.
        message = str(error).strip().rpartition("\n")[2].removeprefix(f"{InputError.__module__}.InputError: ")
        raise InputError(message) from error
    except torch.cuda.OutOfMemoryError as error:
        raise InputError(
            "out of GPU memory: set model.micro_batch_size to fewer samples (the result is the same), or --amp, and "
            "--resume"
        ) from error
    except Exception as error:
        if not _while_building(error.__traceback__):
            raise
        raise InputError(f"config: {_reason(error)}") from error
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _while_building(trace: TracebackType | None) -> bool:
    """Tell whether an error comes from a part that the host built from the config, or from the runner's own checks."""
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    return any(frame.f_globals.get("__name__") == BUILDER or frame.f_code.co_name == "from_cfg" for frame in frames)


def _reason(error: Exception) -> str:
    """Return an error's message as one line, without the host's advice to read its documentation."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.partition(". Please")[0].split()) or type(error).__name__
