"""From picture files to restored picture files, called as PaddleGAN's users know it."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.data.folders import walk
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.inference.engines import Engine, Precision
from mprnet_plugin.inference.inputs import COMPARISON, find_pictures, result_name
from mprnet_plugin.inference.jobs import Job, attempt
from mprnet_plugin.inference.outcomes import Outcome, ScoreChange
from mprnet_plugin.inference.picture_files import PICTURE_FORMATS, Picture, read_picture
from mprnet_plugin.inference.picture_writing import check_format_holds, write_picture
from mprnet_plugin.inference.pipeline import in_three_steps
from mprnet_plugin.inference.plausible import mixed, moved_far
from mprnet_plugin.inference.processes import own_device, this_process
from mprnet_plugin.inference.progress import Progress, counting
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.inference.sheets import before_and_after
from mprnet_plugin.inference.targets import read_target, rgb8, size_text
from mprnet_plugin.metrics.protocols import find_protocol
from mprnet_plugin.streams import printable
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.choice import find_weights

__all__ = ["MPRPredictor"]

logger = logging.getLogger(__name__)

_NO_TASK_FOLDER = "Restored"
_PROTOCOL = "gopro"
"""Scores pictures whose task nobody knows."""

FileIdentity = tuple[int, int]
"""Device and number of a file."""


class MPRPredictor:
    """Restore picture files.

    Results are ``<output_path>/<task>/<folders of the input>/<name>_restoration<suffix>``. Pictures are never resized;
    one that does not fit into memory is restored in windows.

    Args:
        task: ``deblur``, ``denoise`` or ``derain``, or their full names, in any case. May be left out when
            ``weight_path`` is given.
        weight_path: ``.pth``, ``.safetensors`` or ``.pdparams``; by default the task's published weights where they
            have been downloaded, else the small demo weights.
        output_path: Folder for results.
        seed: Seeds torch and NumPy, for callers that pass it; restoring itself draws no random numbers.
        device: See :class:`~mprnet_plugin.inference.restorer.Restorer`, as for the next five.
        precision: See there.
        tile: See there.
        tile_overlap: See there.
        local_pooling: See there.
        self_ensemble: See there.
        overwrite: Restore again what has a result already.
        compare: Also write ``<name>_compare.png``, before on the left, after on the right.
        target: A file, or a folder of files of the same names: what the results should be. Gives PSNR and SSIM by the
            task's protocol, on 8 bits.
        output_format: Suffix such as ``.png`` for the results; by default that of the input.
        download: Download the published weights when they are not in the cache.
        param_key: Which entry of a host checkpoint to take.
        engine: See :class:`~mprnet_plugin.inference.restorer.Restorer`, as for the next.
        compile: See there.
        strength: Share of the network's result in what is written, above 0 and at most 1; the rest is the input.

    Raises:
        InputError: An unknown option, or weights that cannot be had, read, or are another task's.
    """

    def __init__(
        self,
        task: str | None = None,
        weight_path: str | os.PathLike[str] | None = None,
        output_path: str | os.PathLike[str] = "output_dir",
        seed: int | None = None,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        tile: int | Literal["auto"] = "auto",
        tile_overlap: int | None = None,
        local_pooling: bool = False,
        self_ensemble: bool = False,
        overwrite: bool = False,
        compare: bool = False,
        target: str | os.PathLike[str] | None = None,
        output_format: str | None = None,
        download: bool = False,
        param_key: str | None = None,
        engine: Engine = "auto",
        compile: bool = False,
        strength: float = 1.0,
    ) -> None:
        if not 0 < strength <= 1:
            raise InputError(f"strength {strength} must be above 0 and at most 1: try 0.5")
        self.strength = strength
        if output_format is not None and output_format not in PICTURE_FORMATS:
            raise InputError(f"output_format {output_format!r} is unknown; {nearest(output_format, PICTURE_FORMATS)}")
        if seed is not None and not 0 <= seed < 2**32:
            raise InputError(f"seed {seed} must be from 0 to {2**32 - 1}; leave it out, as nothing is drawn")
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - the caller's code may draw from it
        self.target = None if target is None else Path(target)
        if self.target is not None and not self.target.exists():
            raise InputError(
                f"target {self.target} does not exist; give a file, or a folder of files of the same names"
            )
        task = None if task is None else find_task(task).name
        self.weights = find_weights(task, weight_path, download)
        net = _network_for(task, self.weights, param_key)
        self.task = task or net.config.task
        self.protocol = find_protocol(TASKS[self.task].protocol if self.task else _PROTOCOL)
        self.output_path = Path(output_path)
        self.folder = self.output_path / (self.task or _NO_TASK_FOLDER)
        self.overwrite, self.compare, self.output_format = overwrite, compare, output_format
        self.processes = this_process()
        device = own_device(device, self.processes)
        self.restorer = Restorer(
            net, device, precision, tile, tile_overlap, local_pooling, self_ensemble, engine, compile
        )

    def run(self, *paths: str | os.PathLike[str], progress: Progress | None = None) -> list[Outcome]:
        """Restore files, folders with their subfolders, or what glob patterns match.

        A file that cannot be restored is logged and left out; the rest is done. The processes of ``torchrun`` share
        the files out.

        Args:
            paths: Files, folders, patterns.
            progress: Is told the share of the files that is done, parts of one included, in place of a bar on stderr.
                What it raises ends the run; results that are there by then are whole.

        Returns:
            What became of each file, in order.

        Raises:
            InputError: A path is or holds no picture, or there can be no folder of results.
        """
        pictures = [pair for path in paths for pair in find_pictures(path, (self.output_path, self.folder))]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: could not be made ({error.strerror}); give another --output_path (output_path)"
            ) from error
        inputs = self._inputs(source for source, _ in pictures)
        mine = list(self._jobs(pictures))[self.processes.rank :: self.processes.total]
        hidden = None if self.processes.rank == 0 else True
        with counting(len(mine), progress, hidden) as count:
            steps = in_three_steps(
                mine,
                functools.partial(attempt, functools.partial(self._read, inputs)),
                functools.partial(self._restore, count, itertools.count()),
                functools.partial(attempt, self._write),
            )
            outcomes = [job.outcome for job in steps if job.outcome is not None]
        return self.processes.gathered(outcomes)

    def _jobs(self, pictures: Iterable[tuple[Path, Path]]) -> Iterator[Job]:
        """Yield what is to be done, and which other picture has the same result."""
        taken: dict[Path, Path] = {}
        for source, relative in pictures:
            output = self.folder / relative.with_name(result_name(relative, self.output_format))
            # A comparison is PNG whatever the suffix, so two names must then differ in more than that.
            first = taken.setdefault(output.with_suffix("") if self.compare else output, source)
            yield Job(source, relative, output, first)

    def _inputs(self, pictures: Iterable[Path]) -> frozenset[FileIdentity]:
        """Return which files this run reads, whatever names they have: no result may replace one."""
        targets: Iterable[Path] = () if self.target is None else (self.target, *walk(self.target, PICTURE_FORMATS))
        read = (*pictures, self.weights, *targets)
        return frozenset(identity for identity in map(_identity, read) if identity is not None)

    def _read(self, inputs: frozenset[FileIdentity], job: Job) -> Job:
        """Read what a job needs, and refuse what cannot be done before the long part begins."""
        source, relative, output = job.source, job.relative, job.output
        if job.first != source:
            raise InputError(f"{source}: its result would replace that of {job.first}; rename one")
        keep = output.exists() and not self.overwrite
        comparison = output.with_name(f"{relative.stem}{COMPARISON}.png") if self.compare else None
        if keep:
            logger.info("%s: kept, as it is there already; --overwrite (overwrite=True) replaces it", output)
            if comparison is not None and comparison.exists():
                comparison = None
            if comparison is None and self.target is None:
                return job._replace(outcome=Outcome(source, output, "kept"))
        for replaced in (None if keep else output, comparison):
            if replaced is not None and _identity(replaced) in inputs:
                raise InputError(
                    f"{replaced}: is an input of this run, which no result replaces; choose another folder"
                )
        picture = read_picture(source)
        job = job._replace(picture=picture, comparison=comparison)
        if self.target is not None:
            target = read_target(self.target, relative, picture.pixels)
            job = job._replace(target=target, before=self._score(picture.pixels, target))
        if keep:
            return job._replace(restored=self._read_result(output, picture))
        check_format_holds(output, picture.pixels)  # now, as restoring takes long
        return job

    def _restore(self, count: Progress, numbers: Iterator[int], job: Job) -> Job:
        done = next(numbers)

        def restore(job: Job) -> Job:
            if job.picture is None or job.restored is not None:
                return job
            pixels = job.picture.pixels
            restored = self.restorer(pixels, lambda share: count(done + share))
            return job._replace(restored=mixed(pixels, restored, self.strength), fresh=True)

        job = attempt(restore, job)
        count(done + 1)
        return job

    def _write(self, job: Job) -> Job:
        """Write and score what there is of a job."""
        picture, restored = job.picture, job.restored
        if picture is None or restored is None:
            return job
        notes = picture.notes
        if job.fresh:
            notes += write_picture(job.output, picture._replace(pixels=restored))
            notes += tuple(filter(None, [moved_far(picture.pixels, restored)]))
        if job.comparison is not None:
            write_picture(job.comparison, picture._replace(pixels=before_and_after(picture.pixels, restored)))
        message = "; ".join(notes)
        if message:
            logger.warning("%s: %s", printable(str(job.source)), printable(message))
        scores = None
        if job.target is not None and job.before is not None:
            scores = ScoreChange(*job.before, *self._score(restored, job.target))
            logger.info("%s: PSNR %.2f -> %.2f dB, SSIM %.4f -> %.4f", job.source, *scores[::2], *scores[1::2])
        outcome = Outcome(job.source, job.output, "restored" if job.fresh else "kept", message, scores)
        return Job(*job[:4], outcome=outcome)  # without the pictures

    def _read_result(self, output: Path, picture: Picture) -> Pixels:
        restored = read_picture(output).pixels
        if restored.shape[:2] != picture.pixels.shape[:2]:
            raise InputError(
                f"{output}: is {size_text(restored)}, its input {size_text(picture.pixels)} pixels; "
                "--overwrite replaces it"
            )
        return restored

    def _score(self, pixels: Pixels, target: NDArray[np.uint8]) -> tuple[float, float]:
        """Return PSNR and SSIM by the metrics of the task's protocol, of pictures as files hold them: 8 bits."""
        scores = self.protocol.score(rgb8(pixels), target)
        return scores["psnr"], scores["ssim"]


def _network_for(task: str | None, weights: Path, param_key: str | None) -> MPRNet:
    net = load_network(weights, param_key)
    of_weights = net.config.task
    if task is not None and of_weights not in (None, task):
        raise InputError(
            f"{weights}: is for {net.config.describe()}, not for {task}; give --task {of_weights} or other weights"
        )
    return net


def _identity(path: Path) -> FileIdentity | None:
    """Return what tells files apart whose names do not: links, hard or symbolic, lead to one."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
