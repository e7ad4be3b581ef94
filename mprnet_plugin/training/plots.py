"""A curve with axes that can be read, drawn without a plotting library."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_curve", "round_steps"]

_WIDTH, _HEIGHT = 960, 540
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 40, 50, 110
_FONT_SIZE, _LETTERS = 15, 115
_INK, _GRID, _LINE = (40, 40, 40), (220, 220, 220), (0, 90, 200)


def draw_curve(x: Sequence[float], y: Sequence[float], title: str, note: str = "") -> NDArray[np.uint8]:
    """Draw one value over another.

    Args:
        x: At least one, ascending.
        y: As many, 0 or more; the axis begins at 0.
        title: Above the curve.
        note: Below it, in as many lines as it takes.

    Returns:
        (540, 960, 3) uint8, BGR.
    """
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT_SIZE)
    across, up = round_steps(max(x)), round_steps(max(y))
    right, top = max(across[-1], max(x)) or 1, max(up[-1], max(y)) or 1

    def place(a: float, b: float) -> tuple[float, float]:
        wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + a / right * wide, _TOP + (1 - b / top) * high

    for value in across:
        draw.line([place(value, 0), place(value, top)], fill=_GRID)
        draw.text((place(value, 0)[0], _HEIGHT - _BOTTOM + 8), f"{value:,.10g}", _INK, font, "ma")
    for value in up:
        draw.line([place(0, value), place(right, value)], fill=_GRID)
        draw.text((_LEFT - 10, place(0, value)[1]), f"{value:.10g}", _INK, font, "rm")
    draw.line([place(0, top), place(0, 0), place(right, 0)], fill=_INK, width=2)
    draw.line([place(a, b) for a, b in zip(x, y, strict=True)], fill=_LINE, width=3)
    draw.text((_LEFT, 16), title, _INK, font)
    draw.multiline_text((_LEFT - 90, _HEIGHT - _BOTTOM + 40), "\n".join(textwrap.wrap(note, _LETTERS)), _INK, font)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def round_steps(most: float, count: int = 5) -> list[float]:
    """Return round numbers from 0 up to ``most`` or a little below: 1, 2 or 5 times a power of ten apart.

    Example:
        >>> round_steps(396000)
        [0.0, 100000.0, 200000.0, 300000.0]
    """
    if most <= 0:
        return [0.0]
    power = 10.0 ** np.floor(np.log10(most / count))
    step = next(factor * power for factor in (1, 2, 5, 10) if most / (factor * power) <= count)
    return [float(number * step) for number in range(int(most / step + 1e-9) + 1)]
