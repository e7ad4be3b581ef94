"""Convolutions of large maps in bands of rows: exact, in little memory beside the maps themselves.

A convolution's workspace (blocked copies, Winograd's tiles) is several times its map. In bands it is that of a band.
Each band is computed with a halo of rows from its neighbours, so no value differs but by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Band", "bands", "in_bands"]

FEWEST_ROWS = 64
"""Of a band: with fewer, the halos cost time."""
FEWEST_PIXELS = 1 << 15
"""Of a band: with fewer, the calls do. Larger ones than need be leave the processor's caches, and are no faster."""


class Band(NamedTuple):
    """Rows ``start`` to ``stop`` of a map, computed from rows ``first`` to ``last``."""

    start: int
    stop: int
    first: int
    last: int


def bands(height: int, width: int, halo: int) -> list[Band]:
    """Cut a map into bands of rows.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        halo: Rows that a band needs of each neighbour.

    Example:
        >>> bands(128, 128, 2)
        [Band(start=0, stop=128, first=0, last=128)]
        >>> [tuple(band) for band in bands(512, 512, 2)][:2]
        [(0, 64, 0, 66), (64, 128, 62, 130)]
    """
    rows = max(FEWEST_ROWS, FEWEST_PIXELS // width)
    starts = range(0, height, rows)
    ends = [min(start + rows, height) for start in starts]
    return [
        Band(start, end, max(start - halo, 0), min(end + halo, height)) for start, end in zip(starts, ends, strict=True)
    ]


def in_bands(
    function: Callable[[Tensor], Tensor], x: Tensor, halo: int, empty: Callable[..., Tensor] = torch.empty
) -> Tensor:
    """Apply a convolution, or a chain of them, sample by sample and band by band.

    Args:
        function: Maps (1, C, h, w) to (1, C', h, w); a row depends on ``halo`` rows above and below it, zeros outside.
        x: (N, C, H, W).
        halo: What a row depends on.
        empty: Makes the result of its shape and dtype.

    Returns:
        (N, C', H, W).
    """
    result: Tensor | None = None
    for sample, band in _parts(x, halo):
        part = function(x[sample : sample + 1, :, band.first : band.last].contiguous())
        if result is None:
            if part.shape[0] == x.shape[0] and part.shape[2] == x.shape[2]:
                return part
            result = empty(x.shape[0], part.shape[1], *x.shape[2:], dtype=part.dtype)
        result[sample, :, band.start : band.stop] = part[0, :, band.start - band.first : band.stop - band.first]
        del part  # which is the workspace of the next one
    return x if result is None else result


def _parts(x: Tensor, halo: int) -> Iterator[tuple[int, Band]]:
    for sample in range(x.shape[0]):
        for band in bands(x.shape[2], x.shape[3], halo):
            yield sample, band
