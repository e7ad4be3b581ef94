"""Checkpoints on the disk: whole or not at all, and only of networks that are still of use."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file

__all__ = ["check_finite_weights", "save"]

_LITTLE = 2**24
"""Free bytes that are as good as none."""


def save(content: object, path: Path) -> None:
    """``torch.save``, whole or not at all.

    Raises:
        InputError: The disk is full, or the like; an older file of that name is as it was.
    """
    with whole_file(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:
            # torch's writer keeps the system's error to itself; a full disk can be seen all the same.
            free = shutil.disk_usage(part.parent).free
            reason = f"{free:,d} bytes are free" if free < _LITTLE else str(error).partition("\n")[0]
            raise OSError(reason) from error


def check_finite_weights(content: Mapping[str, Mapping[str, Tensor]], iteration: int) -> None:
    """Stop a training whose weights have become useless, before they replace or join the good ones.

    Raises:
        InputError: A value of an entry's weights is not finite.
    """
    if not all(bool(value.isfinite().all()) for weights in content.values() for value in weights.values()):
        raise InputError(
            f"the network has values that are not finite at iteration {iteration}: training diverged, and nothing was "
            "saved; lower train:optim_g:lr and start from an earlier checkpoint with path:pretrain_network_g"
        )
