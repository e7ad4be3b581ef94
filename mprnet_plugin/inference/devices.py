"""Where a network runs, how much memory there is, and how its lack is told from other errors."""

from __future__ import annotations

import torch

from mprnet_plugin.errors import InputError
from mprnet_plugin.memory import free_memory

__all__ = ["available_memory", "choose_device", "is_out_of_memory"]


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return a device; ``auto`` is the GPU where there is one (CUDA, then Apple's), else the CPU.

    Raises:
        InputError: torch does not know it, or cannot use it on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # which the meta device has not
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"device {str(name)!r} cannot be used ({reason}); use auto, cpu or cuda") from error
    return device


def available_memory(device: torch.device) -> int:
    """Return how many bytes may be used on a device; see :func:`~mprnet_plugin.memory.free_memory` for the CPU's."""
    if device.type == "cuda":
        # torch keeps what earlier pictures used, so that it is neither free nor taken.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return free_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that a smaller picture would have fitted."""
    # The CPU's allocator raises a plain RuntimeError.
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
