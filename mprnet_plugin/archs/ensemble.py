"""Self-ensemble: the mean of the results for a picture's eight flips and rotations (Timofte et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

VIEWS = 8


def view(x: Tensor, number: int) -> Tensor:
    """Return one of the eight flips and rotations of (..., H, W); 0 is ``x`` itself."""
    x = x.rot90(number % 4, (-2, -1))
    return x.flip(-1) if number >= 4 else x


def undo_view(x: Tensor, number: int) -> Tensor:
    """Turn :func:`view` back."""
    x = x.flip(-1) if number >= 4 else x
    return x.rot90(-(number % 4), (-2, -1))


def self_ensemble(restore: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the mean over the eight views of ``x``, each restored and turned back: eight times the work."""
    total = undo_view(restore(view(x, 0)), 0)
    for number in range(1, VIEWS):
        total = total + undo_view(restore(view(x, number).contiguous()), number)
    return total / VIEWS
