"""Checkpoints are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from mprnet_plugin.errors import InputError


def save_whole(content: object, path: Path) -> None:
    """``torch.save`` beside ``path``, then rename: a reader sees the old file or the new one, never a part.

    Raises:
        InputError: It cannot be written (a full disk, no permission); the previous file is as it was.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(
            f"checkpoint {path} could not be written ({reason}): free space, then continue with --auto_resume"
        ) from error
