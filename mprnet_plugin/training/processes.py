"""What the processes of one run must agree on: the first decides, the others are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from mprnet_plugin.errors import InputError

__all__ = ["any_process", "from_first_process", "joined_batch"]

Result = TypeVar("Result")


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def from_first_process(produce: Callable[[], Result]) -> Result:
    """Call a function in the first process and return its result in all of them.

    Raises:
        InputError: The first process's, in all of them, so that none waits for the others.
    """
    if not _several():
        return produce()
    message: list[Any] = [None, None]
    if distributed.get_rank() == 0:
        try:
            message[0] = produce()
        except InputError as error:
            message[1] = str(error)
    distributed.broadcast_object_list(message, src=0)
    if message[1] is not None:
        raise InputError(message[1])
    result: Result = message[0]
    return result


def any_process(flag: bool, device: torch.device) -> bool:
    """Tell in all processes whether the flag is set in one of them."""
    if not _several():
        return flag
    flags = torch.tensor(float(flag), device=device)
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags.item())


def joined_batch(mine: Tensor, world_size: int) -> Tensor:
    """Return the batch of all processes in the order in which a single process would have it.

    Process r of W has every W-th sample of the joined batch, from the r-th on, as the sampler deals them out.

    Args:
        mine: This process's samples, (N, ...), as many in each process.
        world_size: W.

    Returns:
        (N * W, ...).
    """
    if world_size == 1 or not _several():
        return mine
    parts = [torch.empty_like(mine) for _ in range(world_size)]
    distributed.all_gather(parts, mine.contiguous())
    return torch.stack(parts, 1).flatten(0, 1)
