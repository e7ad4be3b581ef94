"""Which file of weights is taken where several could be."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.weights.download import cached, demo_weights, fetch

__all__ = ["DEMO_PREFIX", "PREFIX", "find_file", "find_weights"]

logger = logging.getLogger(__name__)

PREFIX = "mprnet://"
"""Before a task's name: its published weights. Before a path: that file, where a host needs a scheme."""
DEMO_PREFIX = "demo://"
"""Before a task's name: the small weights that come with this package."""


def find_file(name: str) -> Path:
    """Return the file of weights that a name means.

    Args:
        name: ``mprnet://Deblurring`` (published, from the cache or its publisher), ``demo://Deblurring``, or a path.

    Raises:
        InputError: Published weights that can neither be found nor downloaded, or demo weights of no task.
    """
    if name.startswith(DEMO_PREFIX):
        demo = demo_weights(find_task(name.removeprefix(DEMO_PREFIX)).name)
        if demo is None:
            raise InputError(
                f"{name}: this installation lacks the demo weights; install the package again, or give a file"
            )
        return demo
    bare = name.removeprefix(PREFIX)
    if bare == name:
        return Path(name)
    try:
        task = find_task(bare)
    except InputError:
        return Path(bare)
    return fetch(task.name)


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
