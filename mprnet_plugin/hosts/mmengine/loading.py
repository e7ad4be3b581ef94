"""``mprnet://``: weights of any origin through the safe reader, wherever the host takes a checkpoint."""

from __future__ import annotations

from typing import Any

from mprnet_plugin.weights.checkpoint import load_state_dict
from mprnet_plugin.weights.choice import PREFIX, find_file

__all__ = ["load_checkpoint", "with_scheme"]


def load_checkpoint(filename: str, map_location: Any = None, logger: Any = None) -> dict[str, Any]:
    """Read the weights of ``mprnet://Deblurring`` or ``mprnet://FILE``, as the host's loader calls it.

    Args:
        filename: With the prefix.
        map_location: Unused: weights are read onto the CPU and copied into the model.
        logger: Unused.

    Raises:
        InputError: Neither a task nor a file of weights.
    """
    return {"state_dict": load_state_dict(find_file(filename))}


def with_scheme(name: str) -> str:
    """Return how to call a file so that the safe reader reads it; addresses stay as they are."""
    return name if "://" in name else PREFIX + name
