"""Show what a database holds: ``python -m lmdb_tools.info PATH``: a summary and a contact sheet of random pairs."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lmdb_tools.verify import INPUT_SUFFIX, TARGET_SUFFIX, databases
from lmdb_tools.writer import MANIFEST_NAME, data_bytes, read_manifest
from mprnet_plugin.data.stores import LmdbStore
from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.files import whole_file

_GAP = 8
_SHOWN_SIZES = 3

DESCRIPTION = """\
Say what LMDBs hold and draw random pairs of them, input left, target right, one pair a row.

example: python -m lmdb_tools.info datasets/GoPro_lmdb"""


def summary(root: Path) -> str:
    """Return a few lines about a database."""
    store = LmdbStore(root)
    keys = store.keys()
    sizes = Counter(store.size(key) for key in keys).most_common()
    common = [f"{count} of {width}x{height}" for (height, width), count in sizes[:_SHOWN_SIZES]]
    if len(sizes) > _SHOWN_SIZES:
        common.append(f"{len(sizes) - _SHOWN_SIZES} more sizes")
    lines = [
        f"{root}",
        f"  images   {len(keys)}: {', '.join(common)}",
        f"  on disk  {data_bytes(root) / 1e9:.3f} GB",
        f"  keys     {keys[0]} ... {keys[-1]}",
    ]
    if (root / MANIFEST_NAME).exists():
        head = read_manifest(root).head
        options = head["options"]
        how = f"{options['patch']}x{options['patch']} patches" if options["patch"] else "whole images"
        lines.append(f"  packed   {options['storage']}, {how}, from {head['layout']}, format {head['format']}")
    else:
        lines.append("  packed   by other tools (no manifest)")
    return "\n".join(lines)


def contact_sheet(roots: Sequence[Path], count: int, side: int, seed: int) -> npt.NDArray[np.uint8]:
    """Draw random images, one row each, the same key of all databases side by side.

    Args:
        roots: Databases of equal keys, left to right.
        count: Number of rows.
        side: Longest side of an image in pixels; larger images are made smaller.
        seed: Which images.

    Returns:
        Array (H, W, 3), RGB, on white.
    """
    stores = [LmdbStore(root) for root in roots]
    keys = stores[0].keys()
    rows = []
    for key in sorted(random.Random(seed).sample(keys, min(count, len(keys)))):  # noqa: S311 (no secret)
        images = [_thumbnail(store, key, side) for store in stores]
        height = max(image.shape[0] for image in images) + _GAP
        rows.append(np.hstack([_on_white(image, height, side + _GAP) for image in images]))
    return np.pad(np.vstack(rows), ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=255)


def _thumbnail(store: LmdbStore, key: str, side: int) -> npt.NDArray[np.uint8]:
    image = store.read(key)
    small = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    height, width = small.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)


def _on_white(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    missing = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return np.pad(image, missing, constant_values=255)


def write_picture(path: Path, rgb: npt.NDArray[np.uint8]) -> None:
    """Write a PNG, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    _, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    with whole_file(path) as part:
        part.write_bytes(bytes(data))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lmdb_tools.info", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a *.lmdb folder, or a folder that holds some")
    parser.add_argument(
        "--sheet", type=Path, default=Path(), metavar="DIR", help="where the pictures go (default: here)"
    )
    parser.add_argument("--rows", type=int, default=4, metavar="N", help="pairs in a picture (default 4)")
    parser.add_argument("--side", type=int, default=480, metavar="PX", help="longest side of an image (default 480)")
    parser.add_argument("--seed", type=int, default=0, help="which pairs (default 0)")
    arguments = parser.parse_args(argv)
    if arguments.rows < 1 or arguments.side < 1:
        raise InputError(f"--rows {arguments.rows} and --side {arguments.side} must be 1 or more")
    for root in databases([arguments.path]):
        sys.stdout.write(summary(root) + "\n")
        partner = root.with_name(root.name.removesuffix(INPUT_SUFFIX) + TARGET_SUFFIX)
        if root.name.endswith(TARGET_SUFFIX) and arguments.path != root:
            continue  # drawn beside its input
        sheet = arguments.sheet / f"{root.stem.removesuffix('_input')}_pairs.png"
        roots = [root, partner] if root.name.endswith(INPUT_SUFFIX) and partner.is_dir() else [root]
        write_picture(sheet, contact_sheet(roots, arguments.rows, arguments.side, arguments.seed))
        sys.stdout.write(f"  picture  {sheet}\n")
    return 0


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
