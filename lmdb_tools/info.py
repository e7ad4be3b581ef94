"""Show what a database holds: ``python -m lmdb_tools.info PATH``: a summary and a contact sheet of random pairs."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lmdb_tools.command import folder
from lmdb_tools.manifest import read_manifest
from lmdb_tools.sheet import contact_sheet, write_sheet
from lmdb_tools.verify import INPUT_SUFFIX, TARGET_SUFFIX, databases, has_manifest, say
from lmdb_tools.writer import data_bytes
from mprnet_plugin.data.stores import LMDB_SUFFIX, LmdbStore
from mprnet_plugin.errors import InputError, run_command

_SHOWN_SIZES = 3

DESCRIPTION = """\
Say what LMDBs hold and draw random pairs of them, input left, target right, one pair a row. The pictures lie beside the
databases: train_pairs.png beside train_input.lmdb and train_target.lmdb.

example: python -m lmdb_tools.info datasets/GoPro_lmdb"""


def summary(root: Path) -> list[str]:
    """Return a few lines about a database.

    Raises:
        InputError: It is damaged.
    """
    store = LmdbStore(root)
    store.open()
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
    if has_manifest(root):
        manifest = read_manifest(root)
        patch = manifest.options.patch
        how = f"{patch}x{patch} patches" if patch else "whole images"
        lines.append(f"  packed   {manifest.options.storage}, {how}, from {manifest.layout}, format {manifest.format}")
    else:
        lines.append("  packed   by other tools (no manifest)")
    return lines


def sheets(roots: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the names of the pictures to draw, and the databases that stand side by side in each."""
    found: dict[str, list[Path]] = {}
    for root in roots:
        name = root.name.removesuffix(INPUT_SUFFIX)
        partner = root.with_name(name + TARGET_SUFFIX)
        if root.name.endswith(INPUT_SUFFIX) and partner.is_dir():
            found[f"{name}_pairs.png"] = [root, partner]
        elif root.with_name(root.name.removesuffix(TARGET_SUFFIX) + INPUT_SUFFIX) not in roots:
            found[f"{root.name.removesuffix(LMDB_SUFFIX)}_images.png"] = [root]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lmdb_tools.info", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=folder, metavar="PATH", help="a *.lmdb folder, or a folder that holds some")
    parser.add_argument(
        "--sheet", type=folder, metavar="DIR", help="where the pictures go (default: beside the databases)"
    )
    parser.add_argument("--rows", type=int, default=4, metavar="N", help="pairs in a picture (default 4)")
    parser.add_argument("--side", type=int, default=480, metavar="PX", help="longest side of an image (default 480)")
    parser.add_argument("--seed", type=int, default=0, help="which pairs (default 0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 where a database is damaged.

    Raises:
        InputError: No database is there, an option is out of range, or a picture cannot be written.
    """
    arguments = _parser().parse_args(argv)
    for name, value, low, high in (("--rows", arguments.rows, 1, 100), ("--side", arguments.side, 16, 2048)):
        if not low <= value <= high:
            raise InputError(f"{name} {value} is out of range; expected {low} to {high}")
    damaged = False
    roots = databases([arguments.path])
    for root in roots:
        try:
            for line in summary(root):
                say(line)
        except InputError as error:
            say(f"BAD  {error}")
            damaged = True
    for name, shown in sheets(roots).items():
        try:
            sheet = contact_sheet(shown, arguments.rows, arguments.side, arguments.seed)
        except InputError as error:
            say(f"BAD  no {name}: {error}")
            damaged = True
            continue
        path = (arguments.sheet or shown[0].parent) / name
        write_sheet(path, sheet, shown[0])
        say(f"picture  {path}")
    return 1 if damaged else 0


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
