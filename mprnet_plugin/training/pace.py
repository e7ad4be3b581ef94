"""How fast a run goes and how much memory it takes, for the log: what the clock says between two lines."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from mprnet_plugin.memory import most_memory

__all__ = ["Pace", "peak_memory"]


class Pace:
    """Images a second and the wait for data, since the last report; saving and validation do not count.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since: float | None = None  # no time is counted before the first batch is there
        self._waits = False
        self._begin()

    def _begin(self) -> None:
        self._images = self._steps = 0
        self._waited = self._worked = 0.0

    def waiting(self) -> None:
        """From now on the run waits for its next batch."""
        self._since, self._waits = self._clock(), True

    def working(self) -> None:
        """The batch is there, and a step begins."""
        now = self._clock()
        if self._waits and self._since is not None:
            self._waited += now - self._since
        self._since, self._waits = now, False

    def stepped(self, images: int) -> None:
        """A step is done.

        Args:
            images: Of its batch, over all processes.
        """
        now = self._clock()
        if self._since is not None:
            self._worked += now - self._since
        self._images += images
        self._steps += 1
        self._since, self._waits = now, True

    def report(self) -> dict[str, float]:
        """Return ``images_per_s`` and ``wait_s``, seconds a step that the data let wait; nothing before a step.

        What passes until the next :meth:`working` counts as waiting again.
        """
        seconds = self._waited + self._worked
        found = {"images_per_s": self._images / seconds, "wait_s": self._waited / self._steps} if seconds > 0 else {}
        self._begin()
        self.waiting()
        return found


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held so far: of the GPU's memory, or of the machine's on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return most_memory()
