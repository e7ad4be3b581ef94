"""The command that gopro, sidd and rain13k share: plan, decode in processes, write in order, report."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

import cv2
import lmdb
from tqdm import tqdm

from lmdb_tools.codec import STORAGES, Options, Value, encode, regions
from lmdb_tools.layout import Pair, Picture, Split, check_count
from lmdb_tools.writer import Database, data_bytes, locked, publish
from mprnet_plugin.errors import InputError

log = logging.getLogger(__name__)

SIDES = ("input", "target")

_BATCH_BYTES = 32 << 20
_MAX_DEFAULT_WORKERS = 8  # more outrun the disk, and each holds a picture or two
_HEAD = struct.Struct("<IQ")


class Job(NamedTuple):
    """One picture to encode, and how many of its values are stored already."""

    key: str
    picture: Picture
    skip: int


class Dataset(NamedTuple):
    """What a command knows of its dataset.

    Attributes:
        name: As people call it.
        description: For ``--help``: the layouts that are accepted, with an example.
        discover: Finds the splits below a folder.
        options_file: The training file to go on with.
    """

    name: str
    description: str
    discover: Callable[[Path], list[Split]]
    options_file: str


def run(dataset: Dataset, argv: Sequence[str] | None = None, random_patches: bool = False) -> int:
    """Pack a dataset as the command line says; return the exit status.

    Raises:
        InputError: A wrong option or path, a corrupt source, no room or no right to write, a second run.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    arguments = parser(dataset, random_patches).parse_args(argv)
    options = _options(arguments)
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
                pack_split(split, arguments.output, options, arguments.workers, arguments.overwrite)
    except OSError as error:
        raise InputError(f"{arguments.output} cannot be written: {error}; check rights and free space") from error
    _summary(dataset, splits, arguments.output, time.monotonic() - started)
    return 0


def parser(dataset: Dataset, random_patches: bool) -> argparse.ArgumentParser:
    """Return the command line of a dataset's command."""
    result = argparse.ArgumentParser(
        prog=f"python -m lmdb_tools.{dataset.name.lower()}",
        description=dataset.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The command may be stopped or killed at any time: type it again and it goes on where it was.\n"
        "Check the result with: python -m lmdb_tools.verify OUTPUT",
    )
    add = result.add_argument
    add("--source", type=Path, required=True, metavar="DIR", help="the dataset on your disk, in one of these layouts")
    add("--output", type=Path, required=True, metavar="DIR", help="where <split>_input.lmdb and _target.lmdb go")
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


def _options(arguments: argparse.Namespace) -> Options:
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
    return Options(arguments.storage, arguments.level, patch, stride, count, getattr(arguments, "seed", 0))


def pack_split(split: Split, output: Path, options: Options, workers: int, overwrite: bool) -> None:
    """Pack both sides of a split and make them visible together.

    Raises:
        InputError: As :func:`run`.
    """
    if not split.training:
        options = Options(options.storage, options.level)
    plan = plan_id(split, options)
    head = {"split": split.name, "layout": split.layout, "options": asdict(options), "hash": "sha256"}
    databases = [
        Database(output / f"{split.name}_{side}.lmdb", plan, {"side": side, **head}, overwrite) for side in SIDES
    ]
    if all(database.complete for database in databases):
        log.info("%s is complete already, left alone", split.name)
        return
    try:
        for database in databases:
            database.open()
        _check_room(split, options, databases)
        _fill(split, options, databases, workers)
        for database in databases:
            database.finish()
        publish(databases)
    except lmdb.Error as error:
        # A full disk is an "Input/output error" to LMDB, so say what is free.
        free = shutil.disk_usage(output).free / 1e6
        raise InputError(
            f"{output} cannot be written: {error}, {free:.0f} MB free; make room and type the same command: it goes on"
        ) from error
    finally:
        for database in databases:
            database.close()


def plan_id(split: Split, options: Options) -> str:
    """Return a hash of everything that decides what a split's databases hold."""
    digest = sha256(json.dumps(asdict(options)).encode())
    for pair in split.pairs:
        for picture in (pair.input, pair.target):
            status = picture.path.stat()
            row = [pair.key, str(picture.path), picture.variable, picture.position, status.st_size, status.st_mtime_ns]
            digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _fill(split: Split, options: Options, databases: Sequence[Database], workers: int) -> None:
    """Write what is missing: one side after the other, in the order of the keys, batch by batch."""
    todo = [_jobs(split.pairs, side, database, options) for side, database in zip(SIDES, databases, strict=True)]
    jobs = [job for side in todo for job in side]
    total = sum(_count(pair, options) for pair in split.pairs) * len(SIDES)
    left = sum(_count(job, options) - job.skip for job in jobs)
    bar = tqdm(desc=split.name, total=total, initial=total - left, unit="image", disable=None)
    # Blocks of .mat files come out of one big array, which one process should hold, not each.
    workers = min(workers, len(jobs)) if not any(job.picture.variable for job in jobs) else min(1, len(jobs))
    with bar, ThreadPoolExecutor(max_workers=1) as thread, _decoders(jobs, options, workers) as results:
        for side, database in zip(todo, databases, strict=True):
            _drain(database, (value for _ in side for value in next(results)), thread, bar.update)


def _drain(
    database: Database, values: Iterator[Value], thread: ThreadPoolExecutor, progress: Callable[[int], object]
) -> None:
    """Write values in batches; while a batch is written, the next is received, but no more than that is in memory."""
    writing: Future[None] | None = None
    for batch in _batches(values):
        if writing is not None:
            writing.result()
        writing = thread.submit(database.write, batch)
        progress(len(batch))
    if writing is not None:
        writing.result()


def _batches(values: Iterator[Value]) -> Iterator[list[Value]]:
    batch: list[Value] = []
    size = 0
    for value in values:
        batch.append(value)
        size += len(value.data)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _jobs(pairs: Sequence[Pair], side: str, database: Database, options: Options) -> list[Job]:
    """Return the jobs of one side that are not done, the first one perhaps in part."""
    if database.complete or database.ready:
        return []
    jobs, done = [], database.count
    for pair in pairs:
        picture: Picture = getattr(pair, side)
        count = len(regions(pair.key, picture.size, options))
        if done < count:
            jobs.append(Job(pair.key, picture, done))
        done = max(0, done - count)
    return jobs


def _count(item: Pair | Job, options: Options) -> int:
    picture = item.input if isinstance(item, Pair) else item.picture
    return len(regions(item.key, picture.size, options))


@contextlib.contextmanager
def _decoders(jobs: Sequence[Job], options: Options, workers: int) -> Iterator[Iterator[Iterator[Value]]]:
    """Run decoding processes; yields, for each job in order, an iterator over its values.

    Job *i* belongs to process *i* mod *workers*. A process sends its values through a socket and waits when that is
    full, which bounds the memory however many pictures there are.
    """
    context = multiprocessing.get_context("spawn")
    ours, processes = [], []
    try:
        for number in range(workers):
            here, there = socket.socketpair()
            ours.append(here)
            process = context.Process(target=_decode, args=(there, jobs[number::workers], options), daemon=True)
            process.start()
            processes.append(process)
            there.close()
        yield (_receive_job(ours[index % workers], job, processes) for index, job in enumerate(jobs))
    finally:
        for end in ours:
            end.close()  # which ends a process that is sending
        for process in processes:
            process.terminate()
            process.join()


def _decode(there: socket.socket, jobs: Sequence[Job], options: Options) -> None:
    """Encode jobs and send their values; the body of a decoding process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    cv2.setNumThreads(1)
    send = partial(_send, there)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), there:
        for job in jobs:
            try:
                for number, value in enumerate(encode(job.key, job.picture, options)):
                    if number >= job.skip:
                        send(value[:2], value.data)
            except InputError as error:
                send(str(error))
                return
            send(None)


def _send(there: socket.socket, head: object, data: bytes | bytearray = b"") -> None:
    text = pickle.dumps(head)
    there.sendall(_HEAD.pack(len(text), len(data)) + text)
    there.sendall(data)


def _receive_job(here: socket.socket, job: Job, processes: Sequence[SpawnProcess]) -> Iterator[Value]:
    try:
        while True:
            head_size, data_size = _HEAD.unpack(_receive(here, _HEAD.size))
            head = pickle.loads(_receive(here, head_size))  # noqa: S301 (from our own child)
            if head is None:
                return
            if isinstance(head, str):
                raise InputError(head)
            key, shape = head
            yield Value(key, shape, _receive(here, data_size))
    except (EOFError, ConnectionResetError):
        codes = [process.exitcode for process in processes]
        raise InputError(
            f"a decoding process ended at {job.picture.path} (exit statuses {codes}; -9 is out of memory); "
            "type the command again with fewer --workers"
        ) from None


def _receive(here: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = here.recv_into(view[got:], 0, socket.MSG_WAITALL)
        if not count:
            raise EOFError
        got += count
    return data


def _expected_bytes(split: Split, options: Options) -> int:
    """Return how many bytes of pixels a split needs in both databases, exact for ppm of 8 bits."""
    total = 0
    for pair in split.pairs:
        total += sum(r.height * r.width * 3 for r in regions(pair.key, pair.input.size, options)) * len(SIDES)
    return total


def _check_room(split: Split, options: Options, databases: Sequence[Database]) -> None:
    """Refuse early what cannot fit. Only for ppm: the size of the other forms is not known before."""
    folder = databases[0].final.parent
    if options.storage != "ppm":
        return
    present = sum(data_bytes(d.final if d.complete else d.partial) for d in databases)
    needed, free = _expected_bytes(split, options) - present, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder} has {free / 1e9:.2f} GB free, {split.name} needs {needed / 1e9:.2f} GB more; make room, give "
            "another --output, or use --storage png or copy"
        )


def _dry_run(splits: Sequence[Split], options: Options, output: Path) -> None:
    for split in splits:
        chosen = options if split.training else Options(options.storage, options.level)
        images = sum(_count(pair, chosen) for pair in split.pairs)
        log.info(
            "would write %s and _target.lmdb: %d pairs of images, %.2f GB uncompressed",
            output / f"{split.name}_input.lmdb",
            images,
            _expected_bytes(split, chosen) / 1e9,
        )


def _summary(dataset: Dataset, splits: Sequence[Split], output: Path, seconds: float) -> None:
    size = sum(data_bytes(output / f"{split.name}_{side}.lmdb") for split in splits for side in SIDES)
    pairs = sum(len(split.pairs) for split in splits)
    log.info("%s: %d pairs, %.2f GB in %s, %.0f s", dataset.name, pairs, size / 1e9, output, seconds)
    train = next((split.name for split in splits if split.training), splits[0].name)
    log.info("in the options file: dataroot_lq: %s", output / f"{train}_input.lmdb")
    log.info("                     dataroot_gt: %s", output / f"{train}_target.lmdb")
    log.info("then: python -m basicsr.train -opt %s", dataset.options_file)
