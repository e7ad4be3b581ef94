"""``python -m mprnet_plugin.hosts.mmengine.train CONFIG``: train with mmengine's runner."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.hosts.mmengine import command
from mprnet_plugin.hosts.mmengine.loading import with_scheme
from mprnet_plugin.shipped_options import shipped
from mprnet_plugin.training.checkpoints import NotWholeError, check_whole
from mprnet_plugin.training.processes import from_first_process
from mprnet_plugin.training.recipes import deviations, flat

__all__ = ["cli", "main"]

NEWEST = "auto"
SECTIONS = ("model", "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "val_evaluator", "randomness")
"""What makes a recipe."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train as a config says.

    Returns:
        0.

    Raises:
        InputError: The config, or what it names, is wrong.
    """
    parser = command.base_parser("mmengine_train.py", "Train a restoration network with mmengine's Runner.")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=NEWEST,
        metavar="CHECKPOINT",
        help="go on from the newest whole checkpoint in the work dir, or from the one given",
    )
    parser.add_argument("--amp", action="store_true", help="bf16 in the forward and backward pass, on GPUs and CPUs")
    args = parser.parse_args(argv)
    config = command.read_config(args)
    command.require(config, "model", "train_dataloader", "train_cfg", "optim_wrapper")
    if args.amp:
        config.model.precision = "bf16"
    with command.in_one_line():
        command.join_processes(args.launcher)
        choose_start(config, args.resume)
        settings = differing_settings(config)  # before the runner takes parts of it out
        runner = Runner.from_cfg(config)
        runner.logger.info(settings)
        runner.train()
    return 0


def differing_settings(config: Config) -> str:
    """Return in which settings a config differs from a shipped recipe, as lines for the log."""
    recipes = {
        name: flat(Config.fromfile(path).to_dict(), ".") for name, path in shipped().items() if path.suffix == ".py"
    }
    return deviations(Path(config.filename or "").name, flat(config.to_dict(), "."), recipes, _counts)


def _counts(name: str) -> bool:
    """Leave out names, paths and how data are loaded and results are shown."""
    first, *rest = name.split(".")
    own = rest and rest[-1] in ("name", "dataroot_lq", "dataroot_gt", "num_workers", "persistent_workers", "pin_memory")
    return first in SECTIONS and not own


def choose_start(config: Config, resume: str | None) -> None:
    """Set where a run starts: a checkpoint that it continues, weights, or nothing.

    Args:
        config: Changed in place.
        resume: ``auto``, a checkpoint's path, or None.

    Raises:
        InputError: The checkpoint is missing or damaged, or all of a work dir's are.
    """
    config.resume = False
    if resume == NEWEST:
        found = from_first_process(functools.partial(newest_whole, Path(config.work_dir)))
        if found is not None:
            config.resume, config.load_from = True, str(found)
    elif resume is not None:
        check_whole(Path(resume), "checkpoint")
        config.resume, config.load_from = True, resume
    if not config.resume and config.get("load_from"):
        config.load_from = with_scheme(config.load_from)


def newest_whole(work_dir: Path) -> Path | None:
    """Return the newest checkpoint that is whole; None where there is none at all.

    Raises:
        InputError: There are some, and each is damaged.
    """
    paths = [path for path in work_dir.glob("iter_*.pth") if path.stem.removeprefix("iter_").isdecimal()]
    for path in sorted(paths, key=lambda one: int(one.stem.removeprefix("iter_")), reverse=True):
        try:
            check_whole(path, "checkpoint")
        except NotWholeError as error:
            print_log(f"skipping {path.name}: {error}", level="WARNING")
        else:
            return path
    if paths:
        raise InputError(
            f"{work_dir} holds {len(paths)} checkpoints, none of which is whole: to start anew, move the folder away "
            "or leave out --resume"
        )
    return None


def cli() -> None:
    """Run :func:`main` as a command."""
    run_command(main)


if __name__ == "__main__":
    cli()
