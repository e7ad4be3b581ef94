"""Run real code on many files in one process with a memory cap and a time limit a file; prints what became of each.

``python -m tests.hostile.worker pictures FOLDER WEIGHTS`` or ``... weights FOLDER``: one line of JSON a file, a list of
its name, outcome, message and seconds, and a last one with the most memory taken.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from mprnet_plugin.memory import most_memory

ROOM = 3 << 29
"""Bytes that the process may take beside what it has when the first file comes: 1.5 GB."""
SECONDS = 60.0
LARGE = 1 << 19
"""Numbers of a picture from which restoring it is honest work that takes its time."""


class Hang(BaseException):
    """A file took too long; no handler of Exception may take it for its own."""


def _hang(number: int, frame: FrameType | None) -> NoReturn:
    raise Hang


def outcome(work: Callable[[Path], tuple[str, str]], path: Path) -> tuple[str, str]:
    """Return in a word what became of a file, and its message."""
    from mprnet_plugin.errors import InputError

    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return work(path)
    except InputError as error:
        return "refused", str(error)
    except Hang:
        return "hang", ""
    except BaseException:
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def restorer(weights: Path, output: Path) -> Callable[[Path], tuple[str, str]]:
    """Return what restores a picture file, all of its way; of large ones only the network's part is left out."""
    from mprnet_plugin.inference.predictor import MPRPredictor
    from mprnet_plugin.inference.restorer import Restorer

    class Brief(Restorer):
        def __call__(self, image: Any, progress: Any = None) -> Any:
            return super().__call__(image, progress) if image.size < LARGE else image.copy()

    predictor = MPRPredictor(weight_path=weights, output_path=output, compare=True)
    predictor.restorer.__class__ = Brief

    def work(path: Path) -> tuple[str, str]:
        (done,) = predictor.run(path)
        return ("refused" if done.status == "failed" else "noted" if done.message else "done"), done.message

    return work


def loader() -> Callable[[Path], tuple[str, str]]:
    """Return what builds the network of a file of weights."""
    from mprnet_plugin.weights.checkpoint import load_network

    def work(path: Path) -> tuple[str, str]:
        load_network(path)
        return "done", ""

    return work


def main() -> None:
    """Go through a folder."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    work = restorer(Path(sys.argv[3]), folder.parent / "out") if kind == "pictures" else loader()
    signal.signal(signal.SIGALRM, _hang)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names that are no text stay as they are
        start = time.monotonic()
        word, message = outcome(work, folder / name)
        sys.stdout.write(json.dumps([name, word, message, round(time.monotonic() - start, 2)]) + "\n")
        sys.stdout.flush()
    sys.stdout.write(json.dumps(["", "memory", str(most_memory()), 0]) + "\n")


if __name__ == "__main__":
    main()
