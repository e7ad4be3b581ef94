"""Check databases: ``python -m lmdb_tools.verify PATH...``; exit status 1 where something is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from tqdm import tqdm

from lmdb_tools.command import folder
from lmdb_tools.manifest import MANIFEST_NAME, Entry, Manifest, read_manifest
from mprnet_plugin.data.stores import LMDB_SUFFIX, LmdbStore
from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.streams import printable

INPUT_SUFFIX, TARGET_SUFFIX = f"_input{LMDB_SUFFIX}", f"_target{LMDB_SUFFIX}"

_SHOWN = 10
_WINDOW = 64
_WORKERS_MAX = 1024

DESCRIPTION = """\
Check LMDBs: every value's hash and size against the manifest, every picture's shape, the host's meta_info.txt, and that
<split>_input.lmdb and <split>_target.lmdb hold the same keys and shapes. A database without a manifest (made by
BasicSR's own tools) is decoded and checked for its shapes only.

example: python -m lmdb_tools.verify datasets/GoPro_lmdb"""


def databases(paths: Sequence[Path]) -> list[Path]:
    """Return the databases that ``paths`` are or contain.

    Raises:
        InputError: A path is neither a database nor a folder with some.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path] if path.name.endswith(LMDB_SUFFIX) else sorted(path.glob(f"*{LMDB_SUFFIX}"))
        inside = [root for root in inside if root.is_dir()]
        if not inside:
            raise InputError(f"{path} is no *.lmdb folder and holds none; give the --output of a packing command")
        found += inside
    return list(dict.fromkeys(found))


def has_manifest(root: Path) -> bool:
    """Return whether something of a manifest's name is there, be it a link to nothing."""
    return os.path.lexists(root / MANIFEST_NAME)


def check_database(root: Path, workers: int = 1) -> Iterator[str]:
    """Yield one line for each thing that is wrong with a database."""
    manifest = None
    try:
        manifest = read_manifest(root) if has_manifest(root) else None
    except InputError as error:
        yield str(error)
    try:
        store = LmdbStore(root)
        if manifest is not None:
            yield from _check_head(root, manifest, store.keys())
        store.open()
    except InputError as error:
        yield str(error)
    else:
        yield from _check_values(store, manifest.entries if manifest is not None else {}, workers)


def _check_values(store: LmdbStore, entries: Mapping[str, Entry], workers: int) -> Iterator[str]:
    def check(key: str) -> str | None:
        return check_value(store, key, entries.get(key))

    keys = store.keys()
    with (
        ThreadPoolExecutor(workers) as threads,
        tqdm(desc=store.root.name, total=len(keys), unit="image", disable=None, leave=False) as bar,
    ):
        for start in range(0, len(keys), _WINDOW):
            for problem in threads.map(check, keys[start : start + _WINDOW]):
                bar.update()
                if problem is not None:
                    yield problem


def check_value(store: LmdbStore, key: str, entry: Entry | None) -> str | None:
    """Return what is wrong with one value, or None.

    Args:
        store: The database.
        key: Which value.
        entry: What the manifest says, or None where there is no manifest.
    """
    try:
        data = store.raw(key)
        if entry is not None and (len(data) != entry.bytes or sha256(data).hexdigest() != entry.sha256):
            return f"{store.where(key)} is not what was packed: its hash or size differs from the manifest's"
        shape = store.read(key).shape
    except InputError as error:
        return str(error)
    expected = {"meta_info.txt": store.size(key)} | ({"the manifest": entry.shape[:2]} if entry else {})
    for name, size in expected.items():
        if shape[:2] != tuple(size):
            return f"{store.where(key)} is {shape[1]}x{shape[0]}, {name} says {size[1]}x{size[0]}"
    return None


def check_pair(root: Path) -> Iterator[str]:
    """Yield what keeps an input database from being the partner of its target, or the other way round."""
    name = root.name
    for mine, other in ((INPUT_SUFFIX, TARGET_SUFFIX), (TARGET_SUFFIX, INPUT_SUFFIX)):
        if not name.endswith(mine):
            continue
        partner = root.with_name(name.removesuffix(mine) + other)
        if not partner.is_dir():
            yield f"{root} has no partner {partner.name}"
        elif mine == INPUT_SUFFIX:
            yield from _compare(root, partner)


def _compare(inputs: Path, targets: Path) -> Iterator[str]:
    try:
        first, second = LmdbStore(inputs), LmdbStore(targets)
        plans = {read_manifest(root).plan for root in (inputs, targets) if has_manifest(root)}
    except InputError:
        return  # said by check_database already
    ours, theirs = set(first.keys()), set(second.keys())
    for store, missing in ((second, ours - theirs), (first, theirs - ours)):
        yield from (f"{store.where(key)} is missing, its partner is there" for key in sorted(missing))
    for key in sorted(ours & theirs):
        if first.size(key) != second.size(key):
            yield f"{first.where(key)} is {first.size(key)}, its target is {second.size(key)} (height, width)"
    if len(plans) > 1:
        yield f"{inputs} and {targets.name} were packed from different sources or with different options"


def _check_head(root: Path, manifest: Manifest, keys: Sequence[str]) -> Iterator[str]:
    named, listed = set(manifest.entries), set(keys)
    for key in sorted(named ^ listed):
        yield f"{root}:{key} is only in {'the manifest' if key in named else 'meta_info.txt'}"
    totals = {"count": len(named), "bytes": sum(entry.bytes for entry in manifest.entries.values())}
    for name, value in totals.items():
        said = getattr(manifest, name)
        if said != value:
            yield f"{root}: the manifest says {name} {said}, its entries make {value}"


def say(line: str) -> None:
    """Print a line: names in a database may hold anything, so what is no letter to a terminal is escaped."""
    sys.stdout.write(f"{printable(line)}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 where all is well, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m lmdb_tools.verify",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", type=folder, nargs="+", metavar="PATH", help="*.lmdb folders, or folders that hold some"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="threads (default: cores)"
    )
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.workers <= _WORKERS_MAX:
        raise InputError(f"--workers {arguments.workers} is out of range; expected 1 to {_WORKERS_MAX}")
    bad = 0
    for root in databases(arguments.paths):
        problems = [*check_database(root, arguments.workers), *check_pair(root)]
        for problem in problems[:_SHOWN]:
            say(f"BAD  {problem}")
        if len(problems) > _SHOWN:
            say(f"BAD  {root}: {len(problems) - _SHOWN} more")
        if not problems:
            say(f"good {root}{'' if has_manifest(root) else ' (no manifest: shapes only)'}")
        bad += bool(problems)
    return 1 if bad else 0


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
