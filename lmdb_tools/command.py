"""The command line that the datasets' commands share: from options to packed splits, and a word on what to do next."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from lmdb_tools.codec import STORAGES, PackOptions
from lmdb_tools.layout import Split, check_count
from lmdb_tools.pack import SIDES, count_values, expected_bytes, pack_split
from lmdb_tools.sources import Dataset, check_source
from lmdb_tools.writer import data_bytes, locked
from mprnet_plugin.errors import InputError

log = logging.getLogger(__name__)

_MAX_DEFAULT_WORKERS = 8  # more outrun the disk, and each holds a picture or two


def run(dataset: Dataset, argv: Sequence[str] | None = None, random_patches: bool = False) -> int:
    """Pack a dataset as the command line says; return the exit status.

    Raises:
        InputError: A wrong option or path, a corrupt source, no room or no right to write, a second run.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    arguments = parser(dataset, random_patches).parse_args(argv)
    options = _options(arguments)
    check_source(dataset, arguments.source)
    splits = dataset.discover(arguments.source)
    for split in splits:
        log.info("found %s: %d pairs, %s", split.name, len(split.pairs), split.layout)
        check_count(split, arguments.strict)
    if arguments.dry_run:
        _dry_run(splits, options, arguments.output)
        return 0
    started = time.monotonic()
    try:
        with locked(arguments.output):
            for split in splits:
                chosen = _options_of(split, options)
                pack_split(split, arguments.output, chosen, arguments.workers, arguments.overwrite)
    except OSError as error:
        raise InputError(f"{arguments.output} cannot be written: {error}; check rights and free space") from error
    _summary(dataset, splits, options, arguments.output, time.monotonic() - started)
    return 0


def folder(text: str) -> Path:
    """Return the folder that an argument means, ``~`` and ``~user`` replaced."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or a user without home
        raise argparse.ArgumentTypeError(
            f"{text!r} names a home folder that is not known; give the whole path"
        ) from None


def parser(dataset: Dataset, random_patches: bool) -> argparse.ArgumentParser:
    """Return the command line of a dataset's command."""
    result = argparse.ArgumentParser(
        prog=f"python -m lmdb_tools.{dataset.name}",
        description=dataset.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The command may be stopped or killed at any time: type it again and it goes on where it was.\n"
        "Check the result with: python -m lmdb_tools.verify OUTPUT",
    )
    add = result.add_argument
    add("--source", type=folder, required=True, metavar="DIR", help="the dataset on your disk, in one of these layouts")
    add("--output", type=folder, required=True, metavar="DIR", help="where <split>_input.lmdb and _target.lmdb go")
    add(
        "--storage",
        choices=STORAGES,
        default="ppm",
        help="ppm: uncompressed, fastest to train from (default); png: lossless, about half the size, PNG sources are "
        "not encoded again; copy: the files' own bytes, smallest for JPEG sources",
    )
    add("--level", type=int, default=1, metavar="0-9", help="zlib level of PNGs that are made (default 1)")
    workers = min(os.cpu_count() or 1, _MAX_DEFAULT_WORKERS)
    add("--workers", type=int, default=workers, metavar="N", help=f"decoding processes (default {workers})")
    add("--patch-size", type=int, default=0, metavar="P", help="cut the training pictures into PxP patches")
    add("--stride", type=int, default=0, metavar="S", help="distance of patches in pixels (default: half of P)")
    if random_patches:
        add("--random-patches", type=int, default=0, metavar="N", help="N random patches per picture (the paper: 300)")
        add("--seed", type=int, default=0, help="of the random patches (default 0)")
    add("--overwrite", action="store_true", help="replace databases that are there; without it they are left alone")
    add("--strict", action="store_true", help="stop where a split has not the published number of pairs")
    add("--dry-run", action="store_true", help="say what would be done, write nothing")
    return result


def _options(arguments: argparse.Namespace) -> PackOptions:
    count, patch = getattr(arguments, "random_patches", 0), arguments.patch_size
    if count and not patch:
        patch = 256
    stride = arguments.stride or patch // 2
    for name, value, low, high in (
        ("--level", arguments.level, 0, 9),
        ("--workers", arguments.workers, 1, 1024),
        ("--patch-size", patch, 0, 1 << 20),
        ("--stride", stride, min(patch, 1), patch),
        ("--random-patches", count, 0, 1 << 20),
        ("--seed", getattr(arguments, "seed", 0), 0, 1 << 63),
    ):
        if not low <= value <= high:
            raise InputError(f"{name} {value} is out of range; expected {low} to {high}")
    if count and arguments.stride:
        raise InputError("--stride and --random-patches exclude each other; leave out one")
    if patch and arguments.storage == "copy":
        raise InputError("--storage copy keeps whole files and cannot cut patches; use ppm or png")
    return PackOptions(arguments.storage, arguments.level, patch, stride, count, getattr(arguments, "seed", 0))


def _options_of(split: Split, options: PackOptions) -> PackOptions:
    """Return how a split is stored: only training pictures are cut into patches."""
    return options if split.training else PackOptions(options.storage, options.level)


def _dry_run(splits: Sequence[Split], options: PackOptions, output: Path) -> None:
    for split in splits:
        chosen = _options_of(split, options)
        log.info(
            "would write %s and _target.lmdb: %s, %.2f GB uncompressed",
            output / f"{split.name}_input.lmdb",
            _holds(split, chosen),
            expected_bytes(split, chosen) / 1e9,
        )


def _holds(split: Split, options: PackOptions) -> str:
    """Say how many pairs a split's databases hold, in what is stored: patches or whole images."""
    pairs = len(split.pairs)
    if not options.patch:
        return f"{pairs} pairs of images"
    return f"{count_values(split, options)} pairs of patches cut from {pairs} pairs of images"


def _summary(dataset: Dataset, splits: Sequence[Split], options: PackOptions, output: Path, seconds: float) -> None:
    size = sum(data_bytes(output / f"{split.name}_{side}.lmdb") for split in splits for side in SIDES)
    held = "; ".join(f"{split.name}: {_holds(split, _options_of(split, options))}" for split in splits)
    log.info("%s: %.2f GB in %s, %.0f s; %s", dataset.name, size / 1e9, output, seconds, held)
    train = next((split.name for split in splits if split.training), splits[0].name)
    log.info("in the options file: dataroot_lq: %s", output / f"{train}_input.lmdb")
    log.info("                     dataroot_gt: %s", output / f"{train}_target.lmdb")
    log.info("then: python -m basicsr.train -opt %s", dataset.options_file)
