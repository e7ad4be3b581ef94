"""Which file of weights is taken where several could be."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.weights.download import cached, demo_weights, fetch

__all__ = ["find_weights"]

logger = logging.getLogger(__name__)


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
