"""Restore pictures in memory: any size, on any device, within its memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprnet_plugin.archs.any_size import restore_any_size
from mprnet_plugin.archs.local_pooling import use_local_pooling
from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE, MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.devices import available_memory, choose_device, is_out_of_memory
from mprnet_plugin.inference.engines import (
    Choice,
    Engine,
    Precision,
    arithmetic,
    choose,
    describe,
    needed_memory,
    running,
    this_machine,
)
from mprnet_plugin.inference.progress import PassProgress, Progress, duration
from mprnet_plugin.inference.tiling import Span, blend_weights, check_overlap, check_tile, spans

__all__ = ["Precision", "Restorer"]

logger = logging.getLogger(__name__)

_SMALLEST_TILE = 64
_OVERLAP = 64
_LARGE = 1 << 20
"""Pixels from which a first picture is worth a trial of how long it takes, on a window of so many:"""
_TRIAL = 128
_LONG = 20
"""Seconds that are worth a line beforehand."""
_SLACK = 0.5
"""By how much floats may leave [0, 1]: a resized picture's may a little, while 0 to 255 is another unit."""
_PEAKS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}

AnyImage = TypeVar("AnyImage", NDArray[Any], Tensor)
Read = Callable[[Span, Span], Tensor]
Write = Callable[[Span, Tensor], None]


class Restorer:
    """Apply a network to pictures of any height and width.

    Args:
        net: An MPRNet, whose first output is the result; it is moved to the device and set to evaluation.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``fp32`` is exact with any engine; ``bf16`` and ``fp16`` compute convolutions with fewer digits in
            half of the memory; ``auto`` takes what is fastest here and differs from fp32 by less than 0.02 dB.
        tile: Side in pixels of the windows that large pictures are cut into, a multiple of 8; 0 cuts only where
            memory runs out, ``auto`` where it would. A cut picture differs a little from a whole one.
        tile_overlap: Pixels that neighbouring windows share at least, a multiple of 8, up to half of ``tile``; None is
            64, or half of a smaller window.
        local_pooling: Pool locally in channel attention (TLC) instead of over the whole picture; changes ``net``.
        self_ensemble: Average the results of the picture's eight flips and rotations: eight times the work.
        engine: What runs the convolutions on a CPU: ``torch``, ``ncnn``, or, with ``auto``, the faster; see
            :mod:`~mprnet_plugin.inference.engines`.
        compile: Have torch compile the network, a minute's work for each size: for many pictures of one size.

    Raises:
        InputError: An option that is unknown or out of range, or an engine that cannot be had.
    """

    def __init__(
        self,
        net: MPRNet,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        tile: int | Literal["auto"] = "auto",
        tile_overlap: int | None = None,
        local_pooling: bool = False,
        self_ensemble: bool = False,
        engine: Engine = "auto",
        compile: bool = False,
    ) -> None:
        if tile != "auto" and not isinstance(tile, int):
            raise InputError(f"tile {tile!r} must be auto or a number of pixels: try auto")
        check_overlap(tile_overlap or 0)
        if tile != "auto" and tile != 0:
            check_tile(tile, tile_overlap or 0)
        self.device = choose_device(device)
        self.choice: Choice = choose(engine, precision, this_machine(self.device), compile)
        self.tile = tile
        self.tile_overlap = _OVERLAP if tile_overlap is None else tile_overlap
        self.self_ensemble = self_ensemble
        self.net = (use_local_pooling(net) if local_pooling else net).to(self.device).eval()
        logger.debug("%s", describe(self.net, self.choice))
        if self.choice.warning:
            logger.warning("%s", self.choice.warning)
        if self.choice.half is not None:
            self.net.to(memory_format=torch.channels_last)
        self._forward: Callable[[Tensor], object] = torch.compile(self.net) if compile else self.net
        self.compiled = compile
        self._said: set[str] = set()
        self._passes = PassProgress(self.net, counts=not compile)
        self._seconds_a_pixel = 0.0  # of the last picture
        self.channels = net.in_c
        if net.out_c != self.channels:
            raise InputError(
                f"network maps {self.channels} channels to {net.out_c}: only as many as it takes can be shown"
            )

    def __call__(self, image: AnyImage, progress: Progress | None = None) -> AnyImage:
        """Restore one picture.

        Args:
            image: NumPy (H, W), (H, W, 1), (H, W, 3) or, with alpha last, (H, W, 2) or (H, W, 4); or torch (H, W),
                (C, H, W) or (N, C, H, W) with the same C. uint8, uint16, or floating point in [0, 1]; RGB.
            progress: Called with the share that is done, again and again, for a NumPy picture.

        Returns:
            The same kind, shape, dtype and device; values rounded and clamped to the range. Alpha is unchanged. Grey
            is the mean of the restored channels.

        Raises:
            InputError: Another shape or dtype, no pixels, floats that are not finite or far from [0, 1], or too little
                memory for the smallest window.
        """
        if isinstance(image, Tensor):
            return self._restore_tensor(image)
        if not isinstance(image, np.ndarray):
            raise InputError(f"image is a {type(image).__name__}, expected a NumPy array or a torch tensor: convert it")
        planes = image[..., None] if image.ndim == 2 else image
        if planes.ndim != 3 or planes.shape[2] not in (1, 2, 3, 4) or planes.size == 0:
            raise InputError(f"image has shape {image.shape}, expected (H, W) or (H, W, 1 to 4): reshape it")
        peak = _PEAKS.get(planes.dtype, 1 if planes.dtype.kind == "f" else None)
        if peak is None:
            raise InputError(f"image is {image.dtype}, expected uint8, uint16 or floating point in [0, 1]: convert it")
        colours = planes.shape[2] - (planes.shape[2] % 2 == 0)
        if planes.dtype.kind == "f":
            _check_range(planes[..., :colours])
        result = planes.copy()

        def read(rows: Span, columns: Span) -> Tensor:
            part = planes[rows.start : rows.stop, columns.start : columns.stop, :colours]
            # Through float32 in NumPy, as torch has few operations on 16-bit integers.
            return torch.from_numpy(part.astype(np.float32) / np.float32(peak)).permute(2, 0, 1)[None]

        def write(rows: Span, values: Tensor) -> None:
            part = values[0].permute(1, 2, 0).clamp_(0, 1).mul_(peak).numpy()
            result[rows.start : rows.stop, :, :colours] = np.rint(part) if peak > 1 else part

        self._restore(planes.shape[0], planes.shape[1], colours, read, write, progress or (lambda share: None))
        restored: AnyImage = result.reshape(image.shape)
        return restored

    def _restore_tensor(self, image: Tensor) -> Tensor:
        if image.dim() == 4:
            return torch.stack([self._restore_tensor(one) for one in image]) if len(image) else image.clone()
        planes = image[None] if image.dim() == 2 else image
        array = planes.detach().cpu().permute(1, 2, 0) if planes.dim() == 3 else planes
        array = array.float() if array.dtype == torch.bfloat16 else array  # which NumPy does not have
        restored = torch.from_numpy(self(array.numpy()))
        return restored.permute(2, 0, 1).reshape(image.shape).to(image)

    def _restore(self, height: int, width: int, colours: int, read: Read, write: Write, progress: Progress) -> None:
        """Restore with windows that fit, smaller ones where memory runs out nevertheless."""
        if colours not in (1, self.channels):
            raise InputError(f"image has {colours} colour channels, the network takes {self.channels}: convert it")
        padded = (height + -height % SIZE_MULTIPLE, width + -width % SIZE_MULTIPLE)
        tile = self._first_tile(*padded)
        self._say(tile, padded)
        while True:
            try:
                with running(self.net, self.choice):
                    bands, columns = self._windows(padded, tile)
                    pixels = sum(rows.stop - rows.start for rows in bands) * sum(c.stop - c.start for c in columns)
                    self._foretell(width, height, pixels)
                    start = time.monotonic()
                    with self._passes.reporting(pixels * (8 if self.self_ensemble else 1), progress):
                        self._restore_windows((height, width), bands, columns, read, write, progress)
                    self._seconds_a_pixel = (time.monotonic() - start) / pixels
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).partition("\n")[0]
            else:
                return
            # Outside of the handler, so that the failed pass's tensors, which its traceback holds, are free.
            tile = min(tile, max(padded)) // 2 // SIZE_MULTIPLE * SIZE_MULTIPLE
            if tile < _SMALLEST_TILE:
                raise InputError(f"out of memory even for windows of {2 * tile} pixels ({reason}): use another device")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            logger.warning("out of memory: trying again with windows of %d x %d pixels", tile, tile)

    def _first_tile(self, height: int, width: int) -> int:
        whole = max(height, width, 2 * SIZE_MULTIPLE)
        if self.tile != "auto":
            return self.tile or whole
        fixed, more = (needed_memory(self.net, self.choice, pixels) for pixels in (0, 1))
        pixels = max(int((available_memory(self.device) * 0.8 - fixed) / (more - fixed)), 0)
        if height * width <= pixels:
            return whole
        return max(int(pixels**0.5) // SIZE_MULTIPLE * SIZE_MULTIPLE, _SMALLEST_TILE)

    def _say(self, tile: int, size: tuple[int, int]) -> None:
        """Say how pictures are restored, and in how much memory."""
        windows = "whole pictures" if tile >= max(size) else f"windows of {tile} pixels"
        memory = needed_memory(self.net, self.choice, min(tile, size[0]) * min(tile, size[1]))
        engine, precision = self.choice.engine, self.choice.precision
        self._say_once(f"engine {engine}, precision {precision}, {windows}, {memory / 1e9:.1f} GB")

    def _foretell(self, width: int, height: int, pixels: int) -> None:
        """Say how long a picture takes that takes long, from the last one or from a trial."""
        if not self._seconds_a_pixel and pixels >= _LARGE and not self.compiled:
            for _ in range(2):  # the first one prepares
                start = time.monotonic()
                self._apply(torch.zeros(1, self.channels, _TRIAL, _TRIAL))
            self._seconds_a_pixel = (time.monotonic() - start) / _TRIAL**2
        seconds = self._seconds_a_pixel * pixels
        if seconds >= _LONG:
            self._say_once(f"{width} x {height} pixels: about {duration(seconds)}")

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            logger.info("%s", text)
            self._said.add(text)

    def _windows(self, padded: tuple[int, int], tile: int) -> tuple[list[Span], list[Span]]:
        overlap = min(self.tile_overlap, tile // 2 // SIZE_MULTIPLE * SIZE_MULTIPLE)
        return spans(padded[0], tile, overlap), spans(padded[1], tile, overlap)

    def _restore_windows(
        self,
        size: tuple[int, int],
        bands: list[Span],
        columns: list[Span],
        read: Read,
        write: Write,
        progress: Progress,
    ) -> None:
        """Restore window by window; no more than a band of windows is held beside the picture."""
        height, width = size
        down, across = blend_weights(bands), blend_weights(columns)
        band: Tensor | None = None
        for index, rows in enumerate(bands):
            inner = Span(rows.start, min(rows.stop, height))
            fresh: Tensor | None = None
            for number, (column, weights) in enumerate(zip(columns, across, strict=True), 1):
                x = read(inner, Span(column.start, min(column.stop, width)))
                y = self._apply(x)
                if fresh is None:
                    fresh = y.new_zeros(1, y.shape[1], y.shape[2], width)
                scale = down[index][: y.shape[2], None] * weights[None, : y.shape[3]]
                fresh[..., column.start : column.start + y.shape[3]] += y * torch.from_numpy(scale)
                progress((index * len(columns) + number) / (len(bands) * len(columns)))
            if fresh is None:
                continue
            if band is not None:
                fresh[:, :, : band.shape[2]] += band
            done = bands[index + 1].start if index + 1 < len(bands) else height
            write(Span(rows.start, done), fresh[:, :, : done - rows.start])
            band = fresh[:, :, done - rows.start :].clone()

    def _apply(self, x: Tensor) -> Tensor:
        """Restore one window (1, C, h, w) of any size on the device; the result is float32 on the CPU, C as given."""
        colours = x.shape[1]
        x = x.to(self.device).expand(-1, self.channels, -1, -1)
        with torch.inference_mode(), arithmetic(self.choice, self.device):
            result = restore_any_size(self._forward, x, self.self_ensemble)
        if colours < result.shape[1]:
            result = result.mean(1, keepdim=True)
        if not bool(torch.isfinite(result).all()):
            raise InputError(
                f"result is not finite (precision {self.choice.precision}): use fp32 and a picture of finite values"
            )
        return result.cpu()


def _check_range(values: NDArray[Any]) -> None:
    low, high = float(values.min()), float(values.max())  # not finite if any value is not
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("image has values that are not finite, expected [0, 1]: replace them")
    if low < -_SLACK or high > 1 + _SLACK:
        raise InputError(f"image has values from {low:g} to {high:g}, expected [0, 1]: scale them, as by 1/255")
