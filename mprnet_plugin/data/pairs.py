"""Which files of a folder are images, and which input belongs to which target: by name, never by position."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mprnet_plugin.data.images import IMAGE_SUFFIXES
from mprnet_plugin.errors import InputError

_SHOWN = 3


def list_images(root: str | Path) -> dict[str, Path]:
    """List the images below ``root``, folders included, in the order of their keys.

    Args:
        root: Folder to search. Hidden files and folders are skipped, symbolic links to folders are followed.

    Returns:
        Key to path; the key is the path below ``root`` with ``/`` and without the last suffix.

    Raises:
        InputError: ``root`` is missing or holds no image, or two files would get one key (``a.png``, ``a.jpg``).
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"folder {root} does not exist; check the path")
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            key = path.relative_to(root).with_suffix("").as_posix()
            if key in found:
                raise InputError(f"{path} and {found[key].name} have the same name {key!r}; rename or remove one")
            found[key] = path
    if not found:
        raise InputError(f"folder {root} holds no images; expected files such as *.png or *.jpg in it or below it")
    return dict(sorted(found.items()))


def pair_keys(
    input_keys: Iterable[str], target_keys: Iterable[str], input_root: str | Path, target_root: str | Path
) -> list[str]:
    """Return the sorted keys that both sides have.

    Args:
        input_keys: Keys of the degraded images.
        target_keys: Keys of the clean images.
        input_root: Where the inputs are, for the message.
        target_root: Where the targets are, for the message.

    Raises:
        InputError: A key is on one side only; the message counts and names the first few.
    """
    inputs, targets = set(input_keys), set(target_keys)
    orphans = [
        f"{len(alone)} only in {root} ({', '.join(sorted(alone)[:_SHOWN])}{', ...' if len(alone) > _SHOWN else ''})"
        for alone, root in ((inputs - targets, input_root), (targets - inputs, target_root))
        if alone
    ]
    if orphans:
        raise InputError(f"images without a partner: {'; '.join(orphans)}; every input needs a target of its name")
    return sorted(inputs)
