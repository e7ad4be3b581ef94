"""Pictures decoded in processes of their own, and handed over in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

import cv2

from lmdb_tools.codec import PackOptions, Value, encode
from lmdb_tools.layout import Picture
from mprnet_plugin.errors import InputError

__all__ = ["Job", "decoders"]


class Job(NamedTuple):
    """One picture to encode, and how many of its values are stored already."""

    key: str
    picture: Picture
    skip: int


@contextlib.contextmanager
def decoders(jobs: Sequence[Job], options: PackOptions, workers: int) -> Iterator[Iterator[Iterator[Value]]]:
    """Run decoding processes; yields, for each job in order, an iterator over its values.

    Job *i* belongs to process *i* mod *workers*. A process sends its values through a pipe and waits when that is full,
    which bounds the memory however many pictures there are.
    """
    context = multiprocessing.get_context("spawn")
    ours: list[Connection] = []
    processes: list[SpawnProcess] = []
    try:
        for number in range(workers):
            here, there = context.Pipe()  # a pair of sockets: twice as fast as the pipe of duplex=False
            ours.append(here)
            process = context.Process(target=_decode, args=(there, jobs[number::workers], options), daemon=True)
            process.start()
            processes.append(process)
            there.close()
        yield (_receive(ours[index % workers], job, processes) for index, job in enumerate(jobs))
    finally:
        for end in ours:
            end.close()  # which ends a process that is sending
        for process in processes:
            process.terminate()
            process.join()


def _decode(there: Connection, jobs: Sequence[Job], options: PackOptions) -> None:
    """Encode jobs and send their values; the body of a decoding process.

    A value is its head and then its bytes. An error is its text, and the end of a job is None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    cv2.setNumThreads(1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), there:
        for job in jobs:
            try:
                for number, value in enumerate(encode(job.key, job.picture, options)):
                    if number >= job.skip:
                        there.send((value.key, value.shape))
                        there.send_bytes(value.data)
            except InputError as error:
                there.send(str(error))
                return
            there.send(None)


def _receive(here: Connection, job: Job, processes: Sequence[SpawnProcess]) -> Iterator[Value]:
    try:
        while (head := here.recv()) is not None:
            if isinstance(head, str):
                raise InputError(head)
            key, shape = head
            yield Value(key, shape, here.recv_bytes())
    except (EOFError, ConnectionResetError):
        codes = [process.exitcode for process in processes]
        raise InputError(
            f"a decoding process ended at {job.picture.path} (exit statuses {codes}; -9 is out of memory); "
            "type the command again with fewer --workers"
        ) from None
