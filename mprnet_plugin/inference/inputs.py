"""Which picture files a person means by a path, a folder or a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from mprnet_plugin.data.folders import walk
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.picture_files import PICTURE_FORMATS

__all__ = ["find_pictures"]


def find_pictures(path: str | os.PathLike[str], results: Iterable[Path] = ()) -> list[tuple[Path, Path]]:
    """List what ``path`` means: a file, a folder with all its subfolders, or a glob pattern.

    Args:
        path: What the user typed. A name that exists is never taken for a pattern.
        results: Folders of results. The first of them that lies below ``path`` is left out, as it is no input.

    Returns:
        Files in order, each with the path that it keeps below the output folder.

    Raises:
        InputError: Nothing is there, or no picture.
    """
    if not os.fspath(path):
        raise InputError("the path of the pictures is empty; give a file, a folder, or a pattern")
    root = Path(path)
    if root.is_dir():
        pictures = _without(list(walk(root, PICTURE_FORMATS)), root, results)
        if not pictures:
            raise InputError(
                f"folder {root} holds no pictures; expected files such as *.png or *.jpg in it or below it"
            )
        return sorted((file, file.relative_to(root)) for file in pictures)
    if root.is_file():
        matches = [root]
    else:
        matches = [Path(name) for name in sorted(glob.glob(os.fspath(path), recursive=True))]  # noqa: PTH207 - absolute too
        matches = [file for file in matches if file.is_file() and file.suffix.lower() in PICTURE_FORMATS]
        if matches:
            matches = _without(matches, Path(os.path.commonpath([file.parent for file in matches])), results)
    if not matches:
        raise InputError(f"{path}: no such file, folder, or pattern that matches a picture; check the path")
    base = Path(os.path.commonpath([file.parent for file in matches]))
    return [(file, file.relative_to(base)) for file in matches]


def _without(files: list[Path], root: Path, results: Iterable[Path]) -> list[Path]:
    # realpath, as resolve() fails for a link to itself.
    real = [Path(os.path.realpath(folder)) for folder in results]
    inside = next((folder for folder in real if Path(os.path.realpath(root)) in folder.parents), None)
    return [file for file in files if inside is None or inside not in Path(os.path.realpath(file)).parents]
