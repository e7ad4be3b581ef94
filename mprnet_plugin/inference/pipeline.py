"""Three steps for each of many items, of which the first and the last overlap with the middle one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_three_steps"]

Item = TypeVar("Item")
Read = TypeVar("Read")
Worked = TypeVar("Worked")
Result = TypeVar("Result")


def in_three_steps(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Worked],
    write: Callable[[Worked], Result],
) -> Iterator[Result]:
    """Yield ``write(work(read(item)))`` of each item, in order.

    While one item is worked on in the calling thread, which Ctrl-C reaches, the next is read and the last is written:
    three items are in memory at most. Where the caller stops, what is being written becomes whole.

    Example:
        >>> list(in_three_steps("abc", str.upper, ord, chr))
        ['A', 'B', 'C']
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        waiting = iter(items)
        ahead: deque[Future[Read]] = deque(reader.submit(read, item) for item in _one(waiting))
        behind: deque[Future[Result]] = deque()
        while ahead:
            now = ahead.popleft().result()
            ahead.extend(reader.submit(read, item) for item in _one(waiting))
            worked = work(now)
            del now
            while behind:
                yield behind.popleft().result()
            behind.append(writer.submit(write, worked))
            del worked
        while behind:
            yield behind.popleft().result()


def _one(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the next item, if there is one."""
    for item in items:
        yield item
        return
