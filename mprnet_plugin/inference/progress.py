"""How far the restoring of a picture has come, inside a pass of the network too, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mprnet_plugin.archs.blocks import CAB
from mprnet_plugin.archs.mprnet_arch import MPRNet

__all__ = ["Cancelled", "PassProgress", "Progress", "counting", "duration"]

Progress = Callable[[float], None]
"""Called with the share that is done, in (0, 1]; what it raises ends the work."""

_TRIAL = 16
"""Side of the picture on which a pass is counted: the work a pixel is the same for any other."""


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """For a :data:`Progress` to raise where nobody wants the rest; what is written by then stays, and is whole."""


@contextmanager
def counting(total: int, progress: Progress | None, hidden: bool | None) -> Iterator[Progress]:
    """Give a function that takes how many items of ``total`` are done, parts of one included.

    Args:
        total: How many there are.
        progress: Is told the share; None shows a bar on stderr, above which the log goes on.
        hidden: Whether the bar is hidden; None hides it where stderr is no terminal.
    """
    if progress is not None:
        tell = progress
        yield lambda done: tell(done / total)
        return
    with logging_redirect_tqdm(), tqdm(total=total, unit="image", disable=hidden) as bar:

        def move(done: float) -> None:
            bar.update(round(done, 2) - bar.n)

        yield move


class PassProgress:
    """Counts the work of a network's channel attention blocks, which is nearly all that there is.

    Args:
        net: Takes ``net.in_c`` channels; one without such blocks reports nothing.
        counts: Whether blocks are looked at, which torch.compile would have to compile.
    """

    def __init__(self, net: MPRNet, counts: bool = True) -> None:
        self._net = net
        self._blocks = [module for module in net.modules() if isinstance(module, CAB)] if counts else []
        self._work_a_pixel = 0

    @contextmanager
    def reporting(self, pixels: int, progress: Progress) -> Iterator[None]:
        """Report the share that is done of the passes over so many pixels in all, after each block."""
        total = pixels * self._per_pixel()
        done = 0

        def count(work: int) -> None:
            nonlocal done
            done += work
            progress(min(done / total, 1.0))

        with self._counting(count):
            yield

    def _per_pixel(self) -> int:
        if not self._work_a_pixel and self._blocks:
            parts: list[int] = []
            first = next(self._net.parameters())
            with self._counting(parts.append), torch.inference_mode():
                self._net(first.new_zeros(1, self._net.in_c, _TRIAL, _TRIAL))
            self._work_a_pixel = sum(parts) // _TRIAL**2
        return self._work_a_pixel

    @contextmanager
    def _counting(self, count: Callable[[int], None]) -> Iterator[None]:
        def hook(block: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ANN401 - as torch calls it
            count(output.numel() * output.shape[1])  # a convolution's work, but for a factor

        handles = [block.register_forward_hook(hook) for block in self._blocks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def duration(seconds: float) -> str:
    """Say how long something takes.

    Example:
        >>> duration(8.4), duration(400), duration(8000)
        ('8 s', '6 min 40 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
