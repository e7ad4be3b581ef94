"""Several processes that share out the files of one command, as ``torchrun`` or ``srun`` starts them."""

from __future__ import annotations

import datetime
import os
from typing import NamedTuple

import torch
from torch import distributed

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.outcomes import Outcome

__all__ = ["Processes", "own_device", "this_process"]

_NAMES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))
"""torchrun's and SLURM's names of the same."""
_PATIENCE = datetime.timedelta(days=7)
"""How long the first process waits for the others' last pictures; one that dies is noticed at once."""


class Processes(NamedTuple):
    """This process's number, how many there are, and its number on its machine."""

    rank: int = 0
    total: int = 1
    local: int = 0

    def gathered(self, mine: list[Outcome]) -> list[Outcome]:
        """Return every process's outcomes in the files' order.

        Raises:
            InputError: A process was lost, so that nobody knows what became of its files.
        """
        if self.total == 1:
            return mine
        parts: list[list[Outcome]] = [[] for _ in range(self.total)]
        try:
            distributed.init_process_group("gloo", rank=self.rank, world_size=self.total, timeout=_PATIENCE)
            distributed.all_gather_object(parts, mine)
            distributed.destroy_process_group()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0][:200]
            raise InputError(
                f"a process was lost ({reason}): results that are there are whole; run the same again for the rest"
            ) from error
        longest = max(map(len, parts))
        return [part[index] for index in range(longest) for part in parts if index < len(part)]


def this_process() -> Processes:
    """Return which process this is.

    Only where MASTER_ADDR is set, which torchrun does: SLURM's own variables are also those of a script that starts no
    other process.

    Raises:
        InputError: The variables are no numbers that go together.
    """
    for names in _NAMES:
        words = [os.environ.get(name) for name in names]
        if None in words[:2] or "MASTER_ADDR" not in os.environ:
            continue
        try:
            rank, count, local = (int(word or 0) for word in words)
        except ValueError:
            rank, count, local = -1, 0, 0
        if not 0 <= rank < count:
            shown = ", ".join(f"{name}={word}" for name, word in zip(names, words, strict=True))
            raise InputError(f"environment has {shown}, expected 0 <= rank < count: start it by torchrun or srun")
        return Processes(rank, count, local)
    return Processes()


def own_device(device: str | torch.device, processes: Processes) -> str | torch.device:
    """Return a GPU for each process of a machine where any GPU will do."""
    if processes.total > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{processes.local % torch.cuda.device_count()}"
    return device
