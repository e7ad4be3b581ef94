"""Which windows cover a picture, and how much each counts: pure functions of sizes.

A window's result differs from the whole picture's, as channel attention sees other means, so windows overlap and are
blended linearly where they do: no step between neighbours is left to see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE
from mprnet_plugin.errors import InputError

__all__ = ["Span", "blend_weights", "check_overlap", "check_tile", "restore_windows", "spans"]


class Span(NamedTuple):
    """Positions ``start`` to ``stop``, the latter not included, along one axis."""

    start: int
    stop: int


def check_overlap(overlap: int) -> None:
    """Check what neighbouring windows share at least, in pixels.

    Raises:
        InputError: Negative, or not a multiple of 8, which would leave the network's pixel grid.
    """
    if overlap < 0 or overlap % SIZE_MULTIPLE:
        raise InputError(f"tile_overlap={overlap} must be a multiple of {SIZE_MULTIPLE}, 0 or more: try 64")


def check_tile(tile: int, overlap: int) -> None:
    """Check a window's side and what it shares with its neighbour, both in pixels.

    Raises:
        InputError: Not multiples of 8, or an overlap over half of the window.
    """
    if tile < 2 * SIZE_MULTIPLE or tile % SIZE_MULTIPLE:
        raise InputError(f"tile={tile} must be a multiple of {SIZE_MULTIPLE} and at least {2 * SIZE_MULTIPLE}: try 512")
    check_overlap(overlap)
    if 2 * overlap > tile:
        raise InputError(f"tile_overlap={overlap} must be at most half of tile={tile}")


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Cover ``length`` positions with windows of ``tile``, at least ``overlap`` of which neighbours share.

    Args:
        length: At least 1. Where it is a multiple of 8, so is every start, which keeps the network's pixel grid.
        tile: Side of a window, as :func:`check_tile` asks.
        overlap: What neighbours share at least.

    Returns:
        Windows in order, the first from 0, the last to ``length``; a single one where ``tile`` is enough.
    """
    if length <= tile:
        return [Span(0, length)]
    starts = [*range(0, length - tile, tile - overlap), length - tile]
    return [Span(start, start + tile) for start in starts]


def restore_windows(restore: Callable[[Tensor], Tensor], x: Tensor, tile: int, overlap: int) -> Tensor:
    """Restore images window by window, blended where windows overlap.

    Args:
        restore: Takes a part of ``x`` and returns as many images of its height and width.
        x: (N, C, H, W), any H and W.
        tile: Side of a window, as :func:`check_tile` asks.
        overlap: What neighbours share at least; no more than half of a window.

    Returns:
        (N, C, H, W), what ``restore`` gives for the whole where one window is enough.
    """
    height, width = x.shape[-2:]
    overlap = min(overlap, tile // 2 // SIZE_MULTIPLE * SIZE_MULTIPLE)
    bands, columns = (spans(length + -length % SIZE_MULTIPLE, tile, overlap) for length in (height, width))
    if len(bands) == len(columns) == 1:
        return restore(x)
    result = torch.zeros_like(x)
    for rows, down in zip(bands, blend_weights(bands), strict=True):
        for across, weights in zip(columns, blend_weights(columns), strict=True):
            part = restore(x[..., rows.start : rows.stop, across.start : across.stop])
            counts = torch.from_numpy(down[: part.shape[-2], None] * weights[None, : part.shape[-1]]).to(part)
            result[..., rows.start : rows.stop, across.start : across.stop] += part * counts
    return result


def blend_weights(windows: list[Span]) -> list[NDArray[np.float32]]:
    """Return what each position of each window counts: linear where windows overlap, and one in sum everywhere.

    Two axes are independent, so the weight of a two-dimensional window is the product of its two spans' weights.

    Args:
        windows: As :func:`spans` returns them.

    Returns:
        For each window an array as long as it is, values in (0, 1].
    """
    ramps = []
    for index, window in enumerate(windows):
        position = np.arange(window.start, window.stop) + 0.5
        ramp = np.ones(len(position))
        if index > 0:
            ramp = np.minimum(ramp, (position - window.start) / max(windows[index - 1].stop - window.start, 1))
        if index + 1 < len(windows):
            ramp = np.minimum(ramp, (window.stop - position) / max(window.stop - windows[index + 1].start, 1))
        ramps.append(ramp)
    total = np.zeros(windows[-1].stop)
    for window, ramp in zip(windows, ramps, strict=True):
        total[window.start : window.stop] += ramp
    return [
        (ramp / total[window.start : window.stop]).astype(np.float32)
        for window, ramp in zip(windows, ramps, strict=True)
    ]
