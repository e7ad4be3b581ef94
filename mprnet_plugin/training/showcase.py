"""Which pictures of a validation are shown, and keeping them while it runs, so that none is restored twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mprnet_plugin.training.grids import middles
from mprnet_plugin.training.validation import Restored, Scored, gather

__all__ = ["Showcase"]

_MOST = 256
"""Pictures that a process keeps at once; their middles take at most 0.9 MB each."""


class Showcase:
    """The pictures of one validation of one set that may be shown.

    Args:
        first: How many to show where nothing else is said: the first of the set.
        names: Those to show instead, by name.
        any_of_them: Whether it is known only afterwards which are shown, so that all are kept, up to a bound.
    """

    def __init__(self, first: int, names: Sequence[str] = (), any_of_them: bool = False) -> None:
        self._first, self._names, self._all = first, frozenset(names), any_of_them
        self._kept: dict[int, Restored] = {}

    def offer(self, index: int, image: Restored) -> None:
        """Keep the middle of a picture that was restored in this process, where it may be shown."""
        if (self._all and len(self._kept) < _MOST) or index < self._first or image.name in self._names:
            self._kept[index] = middles(image)

    def chosen(self, scored: Mapping[int, Scored], instead: Sequence[int] = ()) -> list[int]:
        """Return the indices to show: those named, else ``instead``, else the first.

        Args:
            scored: Every process's images.
            instead: What to show where the set has none of the names.
        """
        named = [index for index, one in scored.items() if one.name in self._names]
        return named or list(instead) or list(scored)[: self._first]

    def missing(self, scored: Mapping[int, Scored]) -> list[str]:
        """Return the names that the set does not have, in order."""
        return sorted(self._names - {one.name for one in scored.values()})

    def pictures(
        self, indices: Sequence[int], again: Callable[[int], Restored], rank: int = 0, world_size: int = 1
    ) -> list[Restored]:
        """Return pictures that any process restored, in order, in all processes; all call it together.

        Args:
            indices: As :meth:`chosen` returns them.
            again: Restores one that was not kept, as there were too many.
            rank: This process, which has restored every ``world_size``-th picture.
            world_size: Number of processes.
        """
        own = [index for index in indices if index % world_size == rank]
        mine = {index: self._kept[index] if index in self._kept else middles(again(index)) for index in own}
        found = gather(mine)
        return [found[index] for index in indices]
