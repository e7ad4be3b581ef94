"""Which picture files a person means by a path, a folder or a pattern."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from mprnet_plugin.data.folders import walk
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import check_regular
from mprnet_plugin.inference.picture_files import PHONE_FORMATS, readable_formats
from mprnet_plugin.streams import printable

__all__ = ["COMPARISON", "PREVIEW", "RESULT", "find_pictures", "result_name"]

RESULT, COMPARISON, PREVIEW = "_restoration", "_compare", "_preview"
"""What results, pictures of before and after, and previews have behind the name of their input."""
_RAW = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"})
"""Of cameras, before they are developed into pictures."""

logger = logging.getLogger(__name__)


def result_name(picture: Path, suffix: str | None = None) -> str:
    """Return the name of a picture's result.

    Args:
        picture: Its name, with or without folders.
        suffix: Of the result; None is the picture's own, or PNG for what is only read.

    Example:
        >>> result_name(Path("a/b.JPG")), result_name(Path("b.heic")), result_name(Path("b.jpg"), ".tif")
        ('b_restoration.JPG', 'b_restoration.png', 'b_restoration.tif')
    """
    own = ".png" if picture.suffix.lower() in PHONE_FORMATS else picture.suffix
    return f"{picture.stem}{RESULT}{suffix or own}"


def find_pictures(path: str | os.PathLike[str], results: Iterable[Path] = ()) -> list[tuple[Path, Path]]:
    """List what ``path`` means: a file, a folder with all its subfolders, or a glob pattern.

    Args:
        path: What the user typed. A name that exists is never taken for a pattern.
        results: Folders of results. The first of them that lies below ``path`` is left out, as it is no input; where
            one is, or holds, ``path`` itself, the results of pictures beside them are left out.

    Returns:
        Files in order, each with the path that it keeps below the output folder.

    Raises:
        InputError: Nothing is there, or no picture.
    """
    if not os.fspath(path):
        raise InputError("the path of the pictures is empty; give a file, a folder, or a pattern")
    try:
        return _find(Path(path), list(results))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be looked at ({error.strerror}); give a file, a folder, or a pattern"
        ) from error


def _find(root: Path, results: list[Path]) -> list[tuple[Path, Path]]:
    if root.is_dir():
        pictures = _inputs(list(walk(root, readable_formats())), root, results)
        _say_what_is_passed_over(root)
        if not pictures:
            raise InputError(
                f"folder {root} holds no pictures; expected files such as *.png or *.jpg in it or below it"
            )
        return sorted((file, file.relative_to(root)) for file in pictures)
    if root.exists():
        check_regular(root, root.stat().st_mode)
        if remedy := _remedy(root.suffix.lower()):
            raise InputError(f"{root}: {remedy}")
        matches = [root]
    else:
        matches = [Path(name) for name in sorted(glob.glob(os.fspath(root), recursive=True))]  # noqa: PTH207 - absolute too
        matches = [file for file in matches if file.is_file() and file.suffix.lower() in readable_formats()]
        if matches:
            matches = _inputs(matches, Path(os.path.commonpath([file.parent for file in matches])), results)
    if not matches:
        raise InputError(f"{root}: no such file, folder, or pattern that matches a picture; check the path")
    base = Path(os.path.commonpath([file.parent for file in matches]))
    return [(file, file.relative_to(base)) for file in matches]


def _remedy(suffix: str) -> str:
    """Say what to do with a photograph that cannot be read; nothing of all other files."""
    if suffix in _RAW:
        return "is a RAW file of a camera; develop it into a TIFF or JPEG first"
    if suffix in PHONE_FORMATS and suffix not in readable_formats():
        return "cannot be read here; pip install pillow-heif, or save it as JPEG"
    return ""


def _say_what_is_passed_over(root: Path) -> None:
    found: dict[str, list[Path]] = {}
    for file in walk(root, _RAW | PHONE_FORMATS.keys()):
        found.setdefault(_remedy(file.suffix.lower()), []).append(file)
    for remedy, files in found.items():
        if remedy:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            logger.warning("passed over: %s%s: %s", printable(str(files[0])), more, remedy)


def _inputs(files: list[Path], root: Path, results: list[Path]) -> list[Path]:
    """Return the files that are no results."""
    # realpath, as resolve() fails for a link to itself.
    real = [Path(os.path.realpath(folder)) for folder in results]
    here = Path(os.path.realpath(root))
    inside = next((folder for folder in real if here in folder.parents), None)
    if inside is not None:
        return [file for file in files if inside not in Path(os.path.realpath(file)).parents]
    if not any(folder == here or folder in here.parents for folder in real):
        return files
    names = {file.with_suffix("") for file in files}
    return [file for file in files if not _is_result(file, names)]


def _is_result(file: Path, names: set[Path]) -> bool:
    """Return whether the picture that this one would be the result of lies beside it."""
    return any(
        file.stem.endswith(ending) and file.parent / file.stem.removesuffix(ending) in names
        for ending in (RESULT, COMPARISON, PREVIEW)
    )
