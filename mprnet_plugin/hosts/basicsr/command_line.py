"""The command line and the YAML file: read without executing anything, checked before anything is created.

The host's ``parse_options`` still does its work, on a plain copy of the file with the overrides put in.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.current_run import RUN
from mprnet_plugin.hosts.basicsr.launch import check_launcher, count_processes, report_input_errors
from mprnet_plugin.hosts.basicsr.option_checks import check_model_type, check_options
from mprnet_plugin.hosts.basicsr.option_defaults import fill_defaults, fix_batch, fix_devices, schedule_datasets
from mprnet_plugin.hosts.basicsr.run_options import MODEL_TYPE, RunOptions
from mprnet_plugin.hosts.basicsr.stopping import end_with_launcher, hold_experiment
from mprnet_plugin.shipped_options import find_options
from mprnet_plugin.training.processes import from_first_process

Opt = dict[str, Any]
ParseOptions = Callable[..., tuple[Opt, argparse.Namespace]]

HELP = {
    "train": "Train an image restoration network as an options file says.",
    "test": "Run a trained network over test sets as an options file says, and print the metrics.",
}
EPILOG = """\
examples:
  python -m basicsr.train -opt train_MPRNet_Deblur.yml
  python -m basicsr.train -opt train_MPRNet_Deblur.yml --auto_resume
  python -m basicsr.train -opt train_MPRNet_Deblur.yml --force_yml train:total_iter=1000 name=short
  torchrun --nproc_per_node=8 -m basicsr.train -opt train_MPRNet_Deblur.yml --launcher pytorch
  python -m basicsr.test  -opt test_MPRNet_Deblur.yml

FILE is a path, or the name of a file that comes with the plugin: `mprnet-options` lists them and copies one to edit.
Outputs go to the working folder: experiments/NAME and tb_logger/NAME (train), results/NAME (test).

what FILE may hold (mprnet-options --explain train:mixup says more):
"""


_LARGEST = 100_000
"""Values of an options file."""


class _Loader(yaml.SafeLoader):
    """YAML without object construction, and with 1e-6 read as a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def wrap_parse_options(original: ParseOptions) -> ParseOptions:
    """Return the host's ``parse_options`` made safe, with errors that are one line and exit status 2."""

    @functools.wraps(original)
    def parse_options(root_path: str, is_train: bool = True) -> tuple[Opt, argparse.Namespace]:
        report_input_errors(is_train)
        # What the datasets say of themselves goes where the host's lines go, the log file included.
        logging.getLogger("mprnet_plugin").parent = logging.getLogger("basicsr")
        args = _parser(is_train).parse_args()
        check_launcher(args.launcher)
        opt = read_options(args.opt)
        for override in args.force_yml or []:
            apply_override(opt, override)
        check_model_type(opt, args.opt)
        check_options(opt, args.opt, is_train)
        if is_train and opt.get("model_type") == MODEL_TYPE:
            from mprnet_plugin.hosts.basicsr.recipes import differing_settings  # here, as it reads options with us

            RUN.settings = differing_settings(opt, args.opt)
        fill_defaults(opt, is_train)
        fix_devices(opt, args.launcher)
        fix_batch(opt, count_processes(args.launcher))
        with _plain_arguments(args, opt):
            opt, host_args = original(root_path, is_train)
        host_args.opt = str(find_options(args.opt))
        schedule_datasets(opt)
        if is_train:
            _run_our_way()
            if opt.get("model_type") == MODEL_TYPE:
                from_first_process(functools.partial(_hold, opt))
                RUN.stop.install()
                end_with_launcher()
        return opt, host_args

    return parse_options


def _parser(is_train: bool) -> argparse.ArgumentParser:
    from mprnet_plugin.hosts.basicsr.option_reference import names  # here, so that it can also be run by itself

    runner = "train" if is_train else "test"
    parser = argparse.ArgumentParser(
        prog=f"python -m basicsr.{runner}",
        description=HELP[runner],
        epilog=EPILOG + names(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-opt", required=True, metavar="FILE", help="options file (YAML): a path, or a name that mprnet-options lists"
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm"],
        default="none",
        help="pytorch under torchrun (NCCL on GPUs, gloo on CPUs), slurm under srun (default: none, one process)",
    )
    parser.add_argument("--auto_resume", action="store_true", help="continue from the newest whole checkpoint, if any")
    parser.add_argument("--debug", action="store_true", help="log, save and validate every few iterations")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        "--force_yml",
        nargs="+",
        metavar="KEY=VALUE",
        help="override options of the file, sections joined by colons: train:optim_g:lr=1e-4",
    )
    return parser


def read_options(path: str) -> Opt:
    """Read an options file as plain data.

    Raises:
        InputError: No such file, or not a YAML mapping; names the line.
    """
    try:
        text = find_options(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(
            f"options file {path}: {reason}; give the path of a YAML file, or a name that mprnet-options lists, to -opt"
        ) from error
    try:
        opt = yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"options file {path} is not valid YAML: {' '.join(str(error).split())}") from error
    except Exception as error:  # PyYAML raises nearly anything for 2024-13-45, 10,000 digits, thousands of brackets
        reason = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
        raise InputError(f"options file {path} has a value that cannot be read: {reason}") from error
    if not isinstance(opt, dict) or not all(isinstance(key, str) for key in opt):
        raise InputError(f"options file {path} must hold sections such as name, datasets and train")
    if _extent(opt, {}) > _LARGEST:
        raise InputError(f"options file {path} holds itself, or more than {_LARGEST} values: write out what is meant")
    return opt


def _extent(value: object, known: dict[int, int]) -> int:
    """Count the values of nested data as if it were written out: anchors can make much of a few bytes."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = _LARGEST + 1  # found again while it is counted, it holds itself
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_extent(one, known) for one in inner)
    return known[id(value)]


def apply_override(opt: Opt, override: str) -> None:
    """Put one ``KEY=VALUE`` of ``--force_yml`` into ``opt``; the value is YAML or, as for the host, None; never code.

    A new option is taken as the host takes it: ours are checked with the others, another model's only it knows.

    Raises:
        InputError: No ``=``, or a section that the file does not have.
    """
    keys, equals, value = override.partition("=")
    if not equals:
        raise InputError(f"--force_yml {override!r} must be KEY=VALUE, such as train:total_iter=1000")
    *sections, last = keys.strip().split(":")
    section: Any = opt
    ours = opt.get("model_type") == MODEL_TYPE
    if ours and "." in keys:
        raise InputError(f"--force_yml {override!r}: sections are joined by colons: {keys.replace('.', ':')}={value}")
    for name in sections:
        if ours and section is opt and section.get(name) is None and name in RunOptions.model_fields:
            section[name] = {}
        section = section.get(name) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise InputError(f"--force_yml {override!r}: the options file has no section {name!r} there")
    try:
        # As the host's users write it; with our parts reduction=none is a text.
        none = value.strip() == "None" or (not ours and value.strip().lower() == "none")
        section[last] = None if none else yaml.load(value, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except Exception as error:  # as above
        raise InputError(f"--force_yml {override!r}: the value is not valid YAML") from error


@contextlib.contextmanager
def _plain_arguments(args: argparse.Namespace, opt: Opt) -> Iterator[None]:
    """Let the host parse a copy of the options that holds plain data only."""
    flags = [flag for flag in ("auto_resume", "debug") if getattr(args, flag)]
    handle, path = tempfile.mkstemp(suffix=".yml")
    argv = sys.argv
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yaml.safe_dump(opt, file, sort_keys=False)
        sys.argv = [argv[0], "-opt", path, "--launcher", args.launcher, *(f"--{flag}" for flag in flags)]
        yield
    finally:
        sys.argv = argv
        Path(path).unlink()


def _hold(opt: Opt) -> None:
    RUN.lock = hold_experiment(Path(opt["path"]["experiments_root"]))


def _run_our_way() -> None:
    """``python -m basicsr.train`` runs a second copy of the runner, whose functions are its own."""
    main: Any = sys.modules["__main__"]
    if hasattr(main, "train_pipeline") and hasattr(main, "load_resume_state"):
        runner = sys.modules["basicsr.train"]
        for name in ("load_resume_state", "init_tb_loggers"):
            setattr(main, name, getattr(runner, name))
