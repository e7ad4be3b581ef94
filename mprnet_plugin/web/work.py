"""What a page asks for, done one after another for all pages: a network takes the whole machine."""

from __future__ import annotations

import logging
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file
from mprnet_plugin.inference.engines import Engine, Precision
from mprnet_plugin.inference.outcomes import Outcome
from mprnet_plugin.inference.picture_files import Picture, read_picture
from mprnet_plugin.inference.picture_writing import write_picture
from mprnet_plugin.inference.predictor import MPRPredictor
from mprnet_plugin.inference.preview import all_restorers, try_all
from mprnet_plugin.inference.progress import Cancelled, Progress
from mprnet_plugin.inference.sheets import Pair, whole_and_part
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.web.sessions import Session, plain
from mprnet_plugin.weights.download import cached, demo_weights

__all__ = ["Asked", "Result", "Work", "Workshop", "restore_all", "show_all"]

logger = logging.getLogger(__name__)

PUBLISHED, DEMO, OWN = "published", "demo", "own"
"""Where weights come from: those in the cache and for other tasks the small ones, the small ones, a file."""


class Asked(NamedTuple):
    """What is to be done with pictures, in the words of :class:`~mprnet_plugin.inference.predictor.MPRPredictor`.

    ``weights`` is ``published``, ``demo`` or ``own``; the last is the file ``weight_path``.
    """

    task: str
    strength: float = 1.0
    weights: str = DEMO
    weight_path: Path | None = None
    precision: Precision = "auto"
    engine: Engine = "auto"
    tile: int = 0
    local_pooling: bool = False

    def weights_file(self) -> Path:
        """Return the file of weights.

        Raises:
            InputError: There is none.
        """
        if self.weights == OWN:
            found = self.weight_path
        else:
            found = (cached(self.task) if self.weights == PUBLISHED else None) or demo_weights(self.task)
        if found is None:
            raise InputError(f"there are no {self.weights} weights for {self.task}: drop a file under Advanced")
        return found


class Result(NamedTuple):
    """What became of one picture.

    Attributes:
        name: Of the picture.
        output: The restored file, if there is one.
        message: Why not, or what to know about it.
        whole: Before and after as PNG files to look at, reduced where they are large.
        part: Then also a part of both at full size.
    """

    name: str
    output: Path | None
    message: str = ""
    whole: tuple[Path, Path] | None = None
    part: tuple[Path, Path] | None = None


class Work:
    """One thing that is being done for a page; the page looks at it now and then.

    Attributes:
        share: How much is done, from 0 to 1.
        step: What is being done, in words.
        waits: Whether it waits for another page's work.
        results: Those that are there, in order.
        panels: What each task makes of a part, by its label: PNG files.
        archive: All results in one file.
        problem: Why nothing, or no more, was done.
    """

    def __init__(self) -> None:
        self.share, self.step, self.problem = 0.0, "", ""
        self.results: list[Result] = []
        self.panels: dict[str, Path] = {}
        self.archive: Path | None = None
        self.waits = True
        self.future: Future[None] | None = None
        self._cancel = threading.Event()
        self._began = 0.0

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.future is not None and self.future.done()

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants no more of it."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Want no more of it: a network that runs stops within moments, and what is there stays."""
        self._cancel.set()

    def begin(self, step: str) -> None:
        """Wait no more, and say what is done first."""
        self.step, self.waits = step, False

    def seconds_left(self) -> float | None:
        """Return how many seconds are left, by what was needed so far; None where that says nothing yet."""
        gone = time.monotonic() - self._began
        if not self._began or self.share < 0.02 or gone < 1:
            return None
        return gone * (1 - self.share) / self.share

    def told(self, before: float, size: float) -> Progress:
        """Return a progress of a part of it, which begins at the share ``before`` and is so large.

        Time counts from the first one on.
        """
        self._began = self._began or time.monotonic()

        def tell(share: float) -> None:
            if self.cancelled:
                raise Cancelled
            self.share = before + share * size

        return tell


class Workshop:
    """Does what pages ask for in one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "restoring")
        self._works: list[Work] = []

    def submit(self, session: Session, function: Callable[[Work], None]) -> Work:
        """Let a function do its work when its turn has come, in a folder that stays for so long."""
        work = Work()
        work.future = self._thread.submit(_guarded, session, function, work)
        self._works = [*(one for one in self._works if not one.done), work]
        return work

    def close(self) -> None:
        """Take nothing more on, cancel what there is, and wait for that."""
        for work in self._works:
            work.cancel()
        self._thread.shutdown(cancel_futures=True)


def _guarded(session: Session, function: Callable[[Work], None], work: Work) -> None:
    try:
        if work.cancelled:
            return
        with session.used():
            function(work)
    except Cancelled:
        pass
    except (InputError, OSError, MemoryError) as error:
        reason = error.strerror or "the disk refuses" if isinstance(error, OSError) else str(error)
        work.problem = plain(reason or "out of memory: close other pages, or take smaller windows", session.folder)
    except Exception:
        logger.error("%s", traceback.format_exc())
        work.problem = "something went wrong that nobody thought of; the terminal of mprnet-web shows what"


def restore_all(session: Session, pictures: Sequence[Path], asked: Asked, work: Work) -> None:
    """Restore pictures into the page's folder, each for itself, as ``mprnet-restore`` does.

    Raises:
        Cancelled: As it was asked to.
        InputError: Weights or options that do not go; nothing was done.
    """
    work.begin("reading the weights")
    folder, seen = session.fresh_folder("out"), session.fresh_folder("seen")
    weights = asked.weights_file()
    try:
        predictor = MPRPredictor(
            asked.task,
            weights,
            folder,
            precision=asked.precision,
            engine=asked.engine,
            tile=asked.tile or "auto",
            local_pooling=asked.local_pooling,
            strength=asked.strength,
            overwrite=True,
        )
    except InputError as error:
        raise InputError(plain(error, weights)) from error
    total = sum(map(session.pixels, pictures))
    before = 0
    try:
        for number, picture in enumerate(pictures):
            size = session.pixels(picture)
            count = f"{number + 1} of {len(pictures)}: " if len(pictures) > 1 else ""
            work.step = f"{count}{plain(picture.name, picture)}"
            told = work.told(before / total, size / total)
            told(0)
            work.results.append(_restored(predictor, picture, seen / str(number), told))
            before += size
        work.share = 1.0
    finally:
        work.archive = _archive(work.results, folder, f"restored-{find_task(asked.task).short}.zip")


def _restored(predictor: MPRPredictor, picture: Path, seen: Path, progress: Progress) -> Result:
    try:
        (outcome,) = predictor.run(picture, progress=progress)
    except InputError as error:
        return Result(picture.name, None, plain(error, picture))
    message = _in_words_of_the_page(plain(outcome.message, picture))
    if outcome.status == "failed":
        return Result(picture.name, None, message)
    try:
        pairs = _to_look_at(picture, outcome, seen)
    except (InputError, OSError, MemoryError) as error:
        return Result(picture.name, outcome.output, f"cannot be shown here ({plain(error, picture)}): download it")
    return Result(picture.name, outcome.output, message, *pairs)


def _in_words_of_the_page(message: str) -> str:
    return message.replace("--strength 0.5 mixes", "a strength of 50 % mixes")


def _to_look_at(source: Path, outcome: Outcome, folder: Path) -> tuple[tuple[Path, Path], tuple[Path, Path] | None]:
    """Write before and after as PNG files that a browser shows at once, in the colours of their profile."""
    before, after = read_picture(source), read_picture(outcome.output)
    pairs = whole_and_part(before.pixels, after.pixels)
    in_colour = before.pixels.ndim == 3 and before.pixels.shape[2] >= 3
    icc = before.icc if in_colour else None  # that of a grey picture would not fit what is shown

    def written(pair: Pair, kind: str) -> tuple[Path, Path]:
        paths = folder / f"{kind}-before.png", folder / f"{kind}-after.png"
        for path, pixels in zip(paths, pair, strict=True):
            write_picture(path, Picture(pixels, icc, Image.Exif(), None))
        return paths

    whole, part = pairs
    return written(whole, "whole"), None if part is None else written(part, "part")


def _archive(results: Sequence[Result], folder: Path, name: str) -> Path | None:
    """Put all results into one file, not compressed, as pictures are; None where there are fewer than two."""
    outputs = [result.output for result in results if result.output is not None]
    if len(outputs) < 2:
        return None
    path = folder / name
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for output in outputs:
            archive.write(output, output.name)
    return path


def show_all(session: Session, picture: Path, asked: Asked, work: Work) -> None:
    """Make what each task makes of the most detailed part of a picture.

    Raises:
        Cancelled: As it was asked to.
        InputError: The picture cannot be read, or an option does not go.
    """
    work.begin("all three, on a part of the picture")
    folder = session.fresh_folder("trial")
    source = PUBLISHED if asked.weights == OWN else asked.weights  # as a file is for one task
    restorers = all_restorers(
        weights={name: asked._replace(task=name, weights=source).weights_file() for name in TASKS},
        precision=asked.precision,
        engine=asked.engine,
        tile=asked.tile or "auto",
        local_pooling=asked.local_pooling,
    )
    try:
        panels = try_all(read_picture(picture), restorers, work.told(0, 1))
    except InputError as error:
        raise InputError(plain(error, picture)) from error
    for number, (label, pixels) in enumerate(panels.items()):
        path = folder / f"{number}.png"
        write_picture(path, Picture(pixels, None, Image.Exif(), None))
        work.panels[label] = path
