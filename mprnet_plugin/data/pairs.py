"""Which input belongs to which target: by name, never by position."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mprnet_plugin.errors import InputError

_SHOWN = 3


def pair_keys(
    input_keys: Iterable[str], target_keys: Iterable[str], input_root: str | Path, target_root: str | Path
) -> list[str]:
    """Return the sorted keys that both sides have.

    Args:
        input_keys: Keys of the degraded images.
        target_keys: Keys of the clean images.
        input_root: Where the inputs are, for the message.
        target_root: Where the targets are, for the message.

    Raises:
        InputError: A key is on one side only; the message counts and names the first few.
    """
    inputs, targets = set(input_keys), set(target_keys)
    orphans = [
        f"{len(alone)} only in {root} ({', '.join(sorted(alone)[:_SHOWN])}{', ...' if len(alone) > _SHOWN else ''})"
        for alone, root in ((inputs - targets, input_root), (targets - inputs, target_root))
        if alone
    ]
    if orphans:
        raise InputError(f"images without a partner: {'; '.join(orphans)}; every input needs a target of its name")
    return sorted(inputs)
