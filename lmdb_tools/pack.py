"""One split into its two databases: what is left to do, decoded in processes, written in order, made visible together.

Memory is bounded: each decoding process holds a picture or two, and one batch is written while the next is received.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import lmdb
from tqdm import tqdm

from lmdb_tools.codec import PackOptions, Value, regions
from lmdb_tools.decoders import Job, decoders
from lmdb_tools.layout import Pair, Picture, Split
from lmdb_tools.writer import Database, data_bytes, publish
from mprnet_plugin.errors import InputError

log = logging.getLogger(__name__)

SIDES = ("input", "target")

_BATCH_BYTES = 32 << 20


def pack_split(split: Split, output: Path, options: PackOptions, workers: int, overwrite: bool) -> None:
    """Pack both sides of a split and make them visible together.

    Raises:
        InputError: A corrupt source, no room, or a database of other files is there.
        OSError: The target cannot be written.
    """
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


def plan_id(split: Split, options: PackOptions) -> str:
    """Return a hash of everything that decides what a split's databases hold.

    A picture is its key (which says where it is below its folder), its name, its size and its time: where the folder
    itself is, and how its path was typed, makes no other database.

    Raises:
        InputError: A picture is gone.
    """
    digest = sha256(json.dumps(asdict(options)).encode())
    for pair in split.pairs:
        for picture in (pair.input, pair.target):
            try:
                status = picture.path.stat()
            except OSError as error:
                raise InputError(f"{picture.path} cannot be read: {error.strerror}; check the file") from error
            row = [pair.key, picture.path.name, picture.variable, picture.position, status.st_size, status.st_mtime_ns]
            digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def count_values(split: Split, options: PackOptions) -> int:
    """Return how many values one side of a split takes: one a picture, or one a patch."""
    return sum(_count(pair, options) for pair in split.pairs)


def expected_bytes(split: Split, options: PackOptions) -> int:
    """Return how many bytes of pixels a split needs in both databases, exact for ppm of 8 bits."""
    total = 0
    for pair in split.pairs:
        total += sum(r.height * r.width * 3 for r in regions(pair.key, pair.input.size, options)) * len(SIDES)
    return total


def _fill(split: Split, options: PackOptions, databases: Sequence[Database], workers: int) -> None:
    """Write what is missing: one side after the other, in the order of the keys, batch by batch."""
    todo = [_jobs(split.pairs, side, database, options) for side, database in zip(SIDES, databases, strict=True)]
    jobs = [job for side in todo for job in side]
    total = count_values(split, options) * len(SIDES)
    left = sum(_count(job, options) - job.skip for job in jobs)
    bar = tqdm(desc=split.name, total=total, initial=total - left, unit="image", disable=None)
    # Blocks of .mat files come out of one big array, which one process should hold, not each.
    workers = min(workers, len(jobs)) if not any(job.picture.variable for job in jobs) else min(1, len(jobs))
    with bar, ThreadPoolExecutor(max_workers=1) as thread, decoders(jobs, options, workers) as results:
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


def _jobs(pairs: Sequence[Pair], side: str, database: Database, options: PackOptions) -> list[Job]:
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


def _count(item: Pair | Job, options: PackOptions) -> int:
    picture = item.input if isinstance(item, Pair) else item.picture
    return len(regions(item.key, picture.size, options))


def _check_room(split: Split, options: PackOptions, databases: Sequence[Database]) -> None:
    """Refuse early what cannot fit. Only for ppm: the size of the other forms is not known before."""
    folder = databases[0].final.parent
    if options.storage != "ppm":
        return
    present = sum(data_bytes(d.final if d.complete else d.partial) for d in databases)
    needed, free = expected_bytes(split, options) - present, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder} has {free / 1e9:.2f} GB free, {split.name} needs {needed / 1e9:.2f} GB more; make room, give "
            "another --output, or use --storage png or copy"
        )
