"""Which file of weights is taken where several could be."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.weights.download import cached, demo_weights, fetch

__all__ = ["PREFIX", "find_file", "find_weights", "named_task", "published_licence", "published_task"]

logger = logging.getLogger(__name__)

PREFIX = "mprnet://"
"""Before a task, ``demo/`` and a task, or a file, wherever a host takes a file of weights."""
_DEMO = "demo/"


def published_task(name: str) -> str | None:
    """Return the task whose published weights ``mprnet://TASK`` means; None for anything else.

    Raises:
        InputError: A preset whose weights nobody publishes at an address of their own.
    """
    bare = name.removeprefix(PREFIX)
    if bare == name:
        return None
    if bare in PRESETS.keys() - TASKS.keys():
        raise InputError(f"{name}: these weights have no address of their own: get the file, and give its path")
    try:
        return find_task(bare).name
    except InputError:
        return None


def named_task(name: str) -> str | None:
    """Return the task that ``mprnet://TASK`` or ``mprnet://demo/TASK`` names; None for anything else."""
    if not name.startswith(PREFIX):
        return None
    with suppress(InputError):
        return find_task(name.removeprefix(PREFIX).removeprefix(_DEMO)).name
    return None


def published_licence(name: str, path: Path) -> str | None:
    """Return the licence of the file that :func:`find_file` found for ``mprnet://TASK``; None for any other name."""
    task = published_task(name)
    return None if task is None else next((one.licence for one in TASKS[task].weights if one.name == path.name), None)


def find_file(name: str) -> Path:
    """Return the file that a name means, downloaded where it must be.

    Args:
        name: ``mprnet://Deblurring`` for published weights, ``mprnet://demo/Deblurring`` for the small ones that come
            with the package, else a path, with or without the prefix. Tasks go by short names too.

    Raises:
        InputError: An unknown task's demo weights, or published weights that can neither be found nor downloaded.
    """
    task = published_task(name)
    if task is not None:
        return fetch(task)
    bare = name.removeprefix(PREFIX)
    wanted = bare.removeprefix(_DEMO)
    if name == bare or wanted == bare or "." in wanted:  # a folder of one's own may be called demo as well
        with suppress(RuntimeError):  # ~nosuchuser, which is then no file either
            return Path(bare).expanduser()
        return Path(bare)
    demo = demo_weights(wanted)
    if demo is None:
        raise InputError(f"{name}: this installation came without demo weights: use {PREFIX}TASK, or give a file")
    return demo


def find_weights(task: str | None, weight_path: str | os.PathLike[str] | None = None, download: bool = False) -> Path:
    """Choose the file of weights: the one given, else published ones in the cache, else the demo's, else a download.

    Args:
        task: A preset's name; may be None when a file is given.
        weight_path: A file of weights.
        download: Download the published weights rather than take the demo's.

    Raises:
        InputError: An unknown task, neither task nor file, or nothing at hand and no network.
    """
    if weight_path is not None:
        return Path(weight_path)
    if task is None:
        raise InputError(f"neither task nor weight_path is given: choose a task of {', '.join(TASKS)}, or give a file")
    at_hand = cached(task)
    if at_hand is not None:
        return at_hand
    demo = None if download else demo_weights(task)
    if demo is None:
        return fetch(task)
    logger.warning(
        "%s: using the small demo weights that come with this package; --download (download=True) gets the published "
        "ones, --weight_path FILE uses your own",
        task,
    )
    return demo
