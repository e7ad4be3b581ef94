"""What a run does otherwise than the shipped recipe that it comes from, or that is nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["deviations", "flat"]

_MOST = 40
"""With more differences than these a recipe is no longer what the run comes from."""
_ABSENT = "none"


def flat(section: Mapping[str, Any], joint: str = ":", path: str = "") -> dict[str, Any]:
    """Return nested options in one level, names joined; lists count as values.

    Example:
        >>> flat({"train": {"total_iter": 5, "optim_g": {"lr": 1.0}}})
        {'train:total_iter': 5, 'train:optim_g:lr': 1.0}
    """
    found: dict[str, Any] = {}
    for name, value in section.items():
        inner = f"{path}{joint}{name}" if path else str(name)
        found |= flat(value, joint, inner) if isinstance(value, Mapping) else {inner: value}
    return found


def deviations(
    name: str, mine: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]], counts: Callable[[str], bool]
) -> str:
    """Return the settings that differ from a recipe as lines for the log.

    The recipe is that of the same file name, as copies have it, else the one with the fewest differences.

    Args:
        name: The name of the run's options file.
        mine: Its settings, :func:`flat`.
        recipes: Name of each shipped recipe to its settings.
        counts: Whether a setting is worth telling; names and paths are everybody's own.

    Example:
        >>> shipped = {"a.yml": {"lr": 1e-4, "iter": 5}, "b.yml": {"lr": 1.0, "iter": 7}}
        >>> print(deviations("mine.yml", {"lr": 2e-4, "iter": 5}, shipped, lambda name: True))
        1 setting differs from the shipped recipe a.yml:
            lr: 0.0002 (recipe: 0.0001)
    """
    found = {recipe: _differing(mine, theirs, counts) for recipe, theirs in recipes.items()}
    if not found:
        return "No shipped recipes are here to compare with"
    nearest = name if name in found else min(found, key=lambda recipe: len(found[recipe]))
    lines = found[nearest]
    if not lines:
        return f"All settings are those of the shipped recipe {nearest}"
    if len(lines) > _MOST and nearest != name:
        return f"No shipped recipe is near these options: from {nearest} {len(lines)} settings differ"
    count = "1 setting differs" if len(lines) == 1 else f"{len(lines)} settings differ"
    return "\n    ".join([f"{count} from the shipped recipe {nearest}:", *lines])


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any], counts: Callable[[str], bool]) -> list[str]:
    names = [name for name in dict.fromkeys([*mine, *theirs]) if counts(name)]
    return [
        f"{name}: {_text(mine.get(name))} (recipe: {_text(theirs.get(name))})"
        for name in names
        if mine.get(name) != theirs.get(name)
    ]


def _text(value: object) -> str:
    return _ABSENT if value is None else str(value)
