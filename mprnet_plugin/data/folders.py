"""The one walk over folders: which files are pictures, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from mprnet_plugin.data.decoding import IMAGE_SUFFIXES
from mprnet_plugin.errors import InputError

__all__ = ["list_images", "walk"]


def walk(root: str | Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Yield the files below ``root`` whose suffix, in lower case, is one of ``suffixes``.

    Hidden files and folders are left out. Links to folders are followed, but each folder is entered once: links can go
    round in circles, and one below a folder that was seen already leads to files that were yielded already.
    """
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        # Folders before links to them: a picture gets the shorter of its names.
        folders[:] = sorted(
            (name for name in folders if not name.startswith(".")),
            key=lambda name: (os.path.islink(os.path.join(folder, name)), name),  # noqa: PTH114, PTH118 - of strings
        )
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122
                yield Path(folder, name)


def list_images(root: str | Path) -> dict[str, Path]:
    """List the images below ``root``, folders included, in the order of their keys.

    Args:
        root: Folder to search, as :func:`walk` does.

    Returns:
        Key to path; the key is the path below ``root`` with ``/`` and without the last suffix.

    Raises:
        InputError: ``root`` is missing or holds no image, or two files would get one key (``a.png``, ``a.jpg``).
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"folder {root} does not exist; check the path")
    found: dict[str, Path] = {}
    for path in walk(root, IMAGE_SUFFIXES):
        key = path.relative_to(root).with_suffix("").as_posix()
        if key in found:
            raise InputError(f"{path} and {found[key].name} have the same name {key!r}; rename or remove one")
        found[key] = path
    if not found:
        raise InputError(f"folder {root} holds no images; expected files such as *.png or *.jpg in it or below it")
    return dict(sorted(found.items()))
