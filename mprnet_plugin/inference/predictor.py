"""From picture files to restored picture files, called as PaddleGAN's users know it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.inference.inputs import find_pictures
from mprnet_plugin.inference.picture_files import PICTURE_FORMATS, Picture, read_picture, write_picture
from mprnet_plugin.inference.restorer import Precision, Restorer
from mprnet_plugin.metrics.protocols import find_protocol
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.weights.checkpoint import infer_config, load_into, load_state_dict
from mprnet_plugin.weights.choice import find_weights

__all__ = ["MPRPredictor", "Outcome", "ScoreChange", "summary"]

logger = logging.getLogger(__name__)

_NO_TASK_FOLDER = "Restored"
_PROTOCOL = "gopro"
"""Scores pictures whose task nobody knows."""


class ScoreChange(NamedTuple):
    """PSNR in dB and SSIM of the picture as it was and as it is now, both against its target."""

    psnr_before: float
    ssim_before: float
    psnr: float
    ssim: float


class Outcome(NamedTuple):
    """What became of one file: ``restored``, ``kept`` (an output was there already) or ``failed``, and why."""

    source: Path
    output: Path
    status: Literal["restored", "kept", "failed"]
    message: str = ""
    scores: ScoreChange | None = None


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
    ) -> None:
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
        weights = find_weights(task, weight_path, download)
        state_dict = load_state_dict(weights, param_key)
        try:
            config = infer_config(state_dict)
        except InputError as error:
            raise InputError(f"{weights}: {error}") from error
        of_weights = config.task
        if task is not None and of_weights not in (None, task):
            raise InputError(
                f"{weights}: is for {config.describe()}, not for {task}; give --task {of_weights} or other weights"
            )
        net = MPRNet.from_config(config)
        load_into(net, state_dict, weights)
        self.task = task or of_weights
        self.protocol = find_protocol(TASKS[self.task].protocol if self.task else _PROTOCOL)
        self.output_path = Path(output_path)
        self.folder = self.output_path / (self.task or _NO_TASK_FOLDER)
        self.overwrite, self.compare, self.output_format = overwrite, compare, output_format
        self.restorer = Restorer(net, device, precision, tile, tile_overlap, local_pooling, self_ensemble)

    def run(self, *paths: str | os.PathLike[str]) -> list[Outcome]:
        """Restore files, folders with their subfolders, or what glob patterns match.

        A file that cannot be restored is logged and left out; the rest is done.

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
        outcomes: list[Outcome] = []
        taken: dict[Path, Path] = {}
        with logging_redirect_tqdm(), tqdm(pictures, unit="image", disable=None) as bar:
            for source, relative in bar:
                suffix = self.output_format or relative.suffix
                output = self.folder / relative.with_name(f"{relative.stem}_restoration{suffix}")
                # A comparison is PNG whatever the suffix, so two names must then differ in more than that.
                first = taken.setdefault(output.with_suffix("") if self.compare else output, source)
                try:
                    if first != source:
                        raise InputError(f"{source}: its result would replace that of {first}; rename one")
                    outcomes.append(self._restore_file(source, relative, output))
                except InputError as error:
                    message = str(error) if str(source) in str(error) else f"{source}: {error}"
                    logger.error("skipped: %s", message)
                    outcomes.append(Outcome(source, output, "failed", message))
        return outcomes

    def _restore_file(self, source: Path, relative: Path, output: Path) -> Outcome:
        keep = output.exists() and not self.overwrite
        comparison = output.with_name(f"{relative.stem}_compare.png") if self.compare else None
        if keep:
            logger.info("%s: kept, as it is there already; --overwrite (overwrite=True) replaces it", output)
            if comparison is not None and comparison.exists():
                comparison = None
            if comparison is None and self.target is None:
                return Outcome(source, output, "kept")
        picture = read_picture(source)
        target = None if self.target is None else self._read_target(self.target, relative, picture)
        before = None if target is None else self._score(picture.pixels, target)
        if keep:
            restored = read_picture(output).pixels
            if restored.shape[:2] != picture.pixels.shape[:2]:
                raise InputError(
                    f"{output}: is {_size(restored)}, its input {_size(picture.pixels)} pixels; --overwrite replaces it"
                )
        else:
            restored = self.restorer(picture.pixels)
            write_picture(output, picture._replace(pixels=restored))
        if comparison is not None:
            pair = np.concatenate([_rgb8(picture.pixels), _rgb8(restored)], 1)
            write_picture(comparison, picture._replace(pixels=pair))
        scores = None
        if target is not None and before is not None:
            scores = ScoreChange(*before, *self._score(restored, target))
            logger.info("%s: PSNR %.2f -> %.2f dB, SSIM %.4f -> %.4f", source, *scores[::2], *scores[1::2])
        return Outcome(source, output, "kept" if keep else "restored", scores=scores)

    def _read_target(self, root: Path, relative: Path, picture: Picture) -> NDArray[np.uint8]:
        wanted = root / relative if root.is_dir() else root
        if not wanted.is_file():
            # The same name with another suffix: results of JPEG inputs are often compared with PNG targets.
            others = (wanted.with_suffix(suffix) for suffix in PICTURE_FORMATS)
            wanted = next((other for other in others if other.is_file()), wanted)
        target = _rgb8(read_picture(wanted).pixels)
        if target.shape[:2] != picture.pixels.shape[:2]:
            raise InputError(
                f"{wanted}: is {_size(target)}, its input {_size(picture.pixels)} pixels; give targets of one size"
            )
        return target

    def _score(self, pixels: NDArray[Any], target: NDArray[np.uint8]) -> tuple[float, float]:
        """Return PSNR and SSIM by the metrics of the task's protocol, of pictures as files hold them: 8 bits."""
        scores = self.protocol.score(_rgb8(pixels), target)
        return scores["psnr"], scores["ssim"]


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _rgb8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (H, W, 3) of 8 bits, alpha dropped."""
    peak = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(pixels.dtype, 1)
    colours = pixels[..., None] if pixels.ndim == 2 else pixels[..., : 3 if pixels.shape[2] >= 3 else 1]
    colours = (
        colours if peak == 255 else np.rint(colours.astype(np.float64).clip(0, peak) * (255 / peak)).astype(np.uint8)
    )
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return the outcomes in one or two lines: counts, and mean scores where there are targets."""
    done = list(outcomes)
    counts = {status: sum(outcome.status == status for outcome in done) for status in ("restored", "kept", "failed")}
    text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    scores = [outcome.scores for outcome in done if outcome.scores is not None]
    if scores:
        mean = ScoreChange(*(float(np.mean(column)) for column in zip(*scores, strict=True)))
        text += (
            f"\nmean of {len(scores)}: PSNR {mean.psnr_before:.2f} -> {mean.psnr:.2f} dB, "
            f"SSIM {mean.ssim_before:.4f} -> {mean.ssim:.4f}"
        )
    return text
