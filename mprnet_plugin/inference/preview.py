"""What each task makes of a part of a picture, in one picture: for people who do not know which to take."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.inputs import PREVIEW, find_pictures
from mprnet_plugin.inference.picture_files import Picture, read_picture
from mprnet_plugin.inference.picture_writing import write_picture
from mprnet_plugin.inference.progress import Progress, counting
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.inference.sheets import detailed_part, labelled
from mprnet_plugin.inference.targets import rgb8
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.choice import find_weights

__all__ = ["all_restorers", "preview", "try_all"]

_SIDE = 256

logger = logging.getLogger(__name__)


def preview(
    paths: Sequence[str | os.PathLike[str]],
    output_path: str | os.PathLike[str] = "output_dir",
    overwrite: bool = False,
    download: bool = False,
    **engine: Any,  # noqa: ANN401 - the restorer's
) -> list[Path]:
    """Write a preview of each picture: its most detailed part as it is, deblurred, denoised and derained.

    Args:
        paths: Files, folders, patterns.
        output_path: Folder for ``NAME_preview.png``.
        overwrite: Replace previews that are there.
        download: Take the published weights, which are downloaded where they are not in the cache.
        engine: Further arguments of :class:`~mprnet_plugin.inference.restorer.Restorer`.

    Returns:
        The previews, in order; of a picture that cannot be read there is none, and a line says why.

    Raises:
        InputError: No picture, or no weights.
    """
    folder = Path(output_path)
    pictures = [pair for path in paths for pair in find_pictures(path, (folder,))]
    restorers = all_restorers(download, **engine)
    outputs = [folder / relative.with_name(f"{relative.stem}{PREVIEW}.png") for _, relative in pictures]
    return [
        output
        for (source, _), output in zip(pictures, outputs, strict=True)
        if _is_kept(output, overwrite) or _is_written(source, restorers, output)
    ]


def _is_kept(output: Path, overwrite: bool) -> bool:
    if overwrite or not output.exists():
        return False
    logger.info("%s: kept, as it is there already; --overwrite replaces it", output)
    return True


def _is_written(source: Path, restorers: Mapping[str, Restorer], output: Path) -> bool:
    try:
        write_preview(read_picture(source), restorers, output)
    except InputError as error:
        logger.error("skipped: %s", error)
        return False
    return True


def all_restorers(
    download: bool = False,
    weights: Mapping[str, Path] | None = None,
    **engine: Any,  # noqa: ANN401 - the restorer's
) -> dict[str, Restorer]:
    """Return a restorer for each task, by its short name.

    Args:
        download: See :func:`preview`.
        weights: File of weights by full name of the task, for tasks that are not to take what is chosen by default.
        engine: See :func:`preview`.

    Raises:
        InputError: No weights, or an engine that cannot be had.
    """
    files = {name: (weights or {}).get(name) or find_weights(name, None, download) for name in TASKS}
    return {task.short: Restorer(load_network(files[name]), **engine) for name, task in TASKS.items()}


def try_all(
    picture: Picture, restorers: Mapping[str, Restorer], progress: Progress | None = None
) -> dict[str, NDArray[np.uint8]]:
    """Return the most detailed part of a picture as it is, then restored by each: label to (H, W, 3) of 8 bits.

    Args:
        picture: Of any size; the part has at most 256 x 256 pixels.
        restorers: By the label of what they make.
        progress: Is told the share that is done.

    Raises:
        InputError: It cannot be restored.
    """
    rows, columns = detailed_part(picture.pixels, _SIDE, _SIDE)
    part = picture.pixels[rows.start : rows.stop, columns.start : columns.stop]
    panels = {"as it is": rgb8(part)}
    with counting(len(restorers), progress or (lambda share: None), None) as count:
        for done, (label, restorer) in enumerate(restorers.items()):
            panels[label] = rgb8(restorer(part, lambda share, done=done: count(done + share)))  # type: ignore[misc]
    return panels


def write_preview(picture: Picture, restorers: Mapping[str, Restorer], output: Path) -> None:
    """Write the preview of one picture.

    Raises:
        InputError: It cannot be restored or written.
    """
    panels = try_all(picture, restorers)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_picture(output, picture._replace(pixels=labelled(panels)))
