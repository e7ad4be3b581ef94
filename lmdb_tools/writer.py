"""Databases that appear whole or not at all, and that go on where a killed run stopped.

A database ``train_input.lmdb`` is built in the hidden folder ``.train_input.partial`` beside it. Batches of values are
written in one LMDB transaction each; before it commits, a journal line for each value is on the disk. A later run finds
how many values were committed, and goes on after them if it packs the same plan. At the end the journal becomes the
manifest, and renaming the folder makes the database visible.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import lmdb

from lmdb_tools.codec import Value
from lmdb_tools.manifest import FORMAT, MANIFEST_NAME, Entry, read_manifest
from mprnet_plugin.data.lmdb_pages import check_pages
from mprnet_plugin.data.meta_info import META_NAME
from mprnet_plugin.data.stores import DATA_NAME
from mprnet_plugin.errors import InputError

_PLAN_NAME = "plan"
_JOURNAL_NAME = "journal.jsonl"
_SLACK = 64 << 20  # bytes of address space, not of disk


class Database:
    """One database on its way from nothing over partial to visible.

    Args:
        final: Where it will be visible, ``*.lmdb``.
        plan: Identifies the sources and options; a partial database of another plan is thrown away.
        head: What the manifest says besides the entries.
        overwrite: Replace a database that is there, instead of leaving it alone.

    Attributes:
        complete: Whether nothing is left to do.
        ready: Whether all values are written and only publishing is left.
        count: Number of values that are safely on the disk, the first of the plan.

    Raises:
        InputError: A database of another plan is there and ``overwrite`` is not given.
    """

    def __init__(self, final: Path, plan: str, head: Mapping[str, Any], overwrite: bool) -> None:
        self.final = final
        self.partial = final.parent / f".{final.stem}.partial"
        self.old = final.parent / f".{final.stem}.old"
        self.complete = self.ready = False
        self.count = 0
        self._plan = plan
        self._head = dict(head)
        self._env: lmdb.Environment | None = None
        if os.path.lexists(final) and not overwrite:
            self._check_final()
            self.complete = True
            for leftover in (self.partial, self.old):
                shutil.rmtree(leftover, ignore_errors=True)

    def open(self) -> None:
        """Go on with the partial database, or start one. Does nothing where the database is complete.

        Raises:
            OSError: The target cannot be written.
        """
        if self.complete:
            return
        self.ready = self._ready()
        if self.ready:
            return
        plan = self.partial / _PLAN_NAME
        if not plan.is_file() or plan.read_text() != self._plan or not self._resume():
            self._start(plan)

    def write(self, batch: Sequence[Value]) -> None:
        """Commit values in one transaction: all of them or none.

        Raises:
            InputError: A key is there already.
            lmdb.Error: The disk is full, for example.
        """
        env = self._opened()
        used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        env.set_mapsize(used + 2 * sum(len(value.data) + len(value.key) for value in batch) + _SLACK)
        with env.begin(write=True) as transaction:
            for value in batch:
                if not transaction.put(value.key.encode("ascii"), value.data, overwrite=False):
                    raise InputError(f"{self.final}: key {value.key!r} comes twice; rename one of the sources")
            self._journal(batch)
        self.count += len(batch)

    def finish(self) -> None:
        """Write meta data and manifest; then only :func:`publish` is left."""
        if self.complete or self.ready:
            return
        self.close()
        journal = self.partial / _JOURNAL_NAME
        level, total = self._head["options"]["level"], 0
        with _synced(self.partial / META_NAME) as file:
            for entry in _read_journal(journal):
                height, width, channels = entry.shape
                file.write(f"{entry.key}.png ({height},{width},{channels}) {level}\n")
                total += entry.bytes
        head = {"format": FORMAT, **self._head, "plan": self._plan, "count": self.count, "bytes": total, "entries": []}
        temporary = self.partial / f"{MANIFEST_NAME}.tmp"
        with _synced(temporary) as file, journal.open() as lines:
            text = json.dumps(head, indent=1)
            file.write(text[: text.rindex("]")])
            for number, line in enumerate(lines):
                file.write(f"{',' if number else ''}\n{line.rstrip()}")
            file.write("\n]\n}\n")
        temporary.replace(self.partial / MANIFEST_NAME)
        self.ready = True

    def close(self) -> None:
        """Close the partial database; what is committed stays."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _check_final(self) -> None:
        advice = "give --overwrite to replace it, or another --output"
        if not (self.final / MANIFEST_NAME).is_file():
            raise InputError(f"{self.final} exists and was not made by lmdb_tools; {advice}")
        if read_manifest(self.final).plan != self._plan:
            raise InputError(f"{self.final} exists, packed from other files or with other options; {advice}")

    def _ready(self) -> bool:
        if not (self.partial / MANIFEST_NAME).is_file():
            return False
        with contextlib.suppress(InputError):
            return read_manifest(self.partial).plan == self._plan
        return False

    def _resume(self) -> bool:
        """Open the partial database and cut the journal to what was committed; False where they do not fit."""
        journal = self.partial / _JOURNAL_NAME
        try:
            self.count = check_pages(self.partial / DATA_NAME)
            self._open_env()
            with journal.open("rb+") as file:
                end = sum(len(file.readline()) for _ in range(self.count))
                file.truncate(end)
            if sum(1 for _ in _read_journal(journal)) == self.count:
                return True
        except (lmdb.Error, FileNotFoundError, ValueError):
            pass
        self.close()
        return False

    def _start(self, plan: Path) -> None:
        if self.partial.exists():
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True)
        (self.partial / _JOURNAL_NAME).touch()
        self.count = 0
        self._open_env()
        with _synced(plan) as file:
            file.write(self._plan)

    def _open_env(self) -> lmdb.Environment:
        # No lock file: the output folder is locked as a whole. No writable map: a full disk would be a SIGBUS.
        self._env = lmdb.open(os.fsencode(self.partial), map_size=_SLACK, lock=False, readahead=False)
        return self._env

    def _opened(self) -> lmdb.Environment:
        if self._env is None:
            raise RuntimeError(f"{self.partial} is not open")
        return self._env

    def _journal(self, batch: Sequence[Value]) -> None:
        with (self.partial / _JOURNAL_NAME).open("a", encoding="ascii") as file:
            for value in batch:
                entry = Entry(value.key, len(value.data), value.shape, sha256(value.data).hexdigest())
                file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())


def publish(databases: Sequence[Database]) -> None:
    """Make finished databases visible together.

    Old ones go out of sight before the first new one appears, so that at no moment an old and a new half stand side by
    side as if they were a pair.
    """
    waiting = [database for database in databases if not database.complete]
    for database in waiting:
        shutil.rmtree(database.old, ignore_errors=True)
        if os.path.lexists(database.final):
            database.final.replace(database.old)
    for database in waiting:
        for name in (_PLAN_NAME, _JOURNAL_NAME):
            (database.partial / name).unlink(missing_ok=True)
        _sync_folder(database.partial)
        database.partial.replace(database.final)
        database.complete = True
    for database in waiting:
        _sync_folder(database.final.parent)
        shutil.rmtree(database.old, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against a second run; the lock ends with the process, however it ends.

    Raises:
        InputError: Another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is packing into {folder}; wait for it or give another --output") from None
        yield
    finally:
        os.close(descriptor)


def data_bytes(root: Path) -> int:
    """Return the size of a database's data file in bytes."""
    return (root / DATA_NAME).stat().st_size


def _read_journal(path: Path) -> Iterator[Entry]:
    with path.open() as file:
        for line in file:
            key, size, shape, digest = json.loads(line)
            yield Entry(key, size, tuple(shape), digest)


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[TextIO]:
    """Open a new text file that is on the disk at the end of the block."""
    with path.open("w", encoding="ascii") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
