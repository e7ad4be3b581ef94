"""Pictures for people to compare: before and after, and what each task makes of a part of a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.inference.targets import rgb8
from mprnet_plugin.inference.tiling import Span

__all__ = ["before_and_after", "detailed_part", "labelled", "whole_and_part"]

RGB8 = NDArray[np.uint8]
Pair = tuple[RGB8, RGB8]
"""Before and after."""

_LARGE = 1200
"""Longest side of a picture that is shown as it is; of a larger one, a reduced whole and a part at full size."""
_STEPS = 8
_BAR, _FONT_SIZE, _GAP = 28, 18, 8


def detailed_part(image: Pixels, height: int, width: int) -> tuple[Span, Span]:
    """Return rows and columns of the part, at most so many pixels, in which brightness varies most."""
    grey = rgb8(image).mean(2)
    rows, columns = (_starts(*sides) for sides in zip(grey.shape, (height, width), strict=True))
    parts = [(Span(top, top + height), Span(left, left + width)) for top in rows for left in columns]
    best = max(parts, key=lambda part: grey[part[0].start : part[0].stop, part[1].start : part[1].stop].std())
    return Span(best[0].start, min(best[0].stop, grey.shape[0])), Span(best[1].start, min(best[1].stop, grey.shape[1]))


def _starts(length: int, side: int) -> list[int]:
    return sorted({round(number * max(length - side, 0) / _STEPS) for number in range(_STEPS + 1)})


def whole_and_part(before: Pixels, after: Pixels) -> tuple[Pair, Pair | None]:
    """Return both as they are; of large pictures both reduced, and a part of each at full size."""
    pair = rgb8(before), rgb8(after)
    height, width = pair[0].shape[:2]
    if max(height, width) <= _LARGE:
        return pair, None
    scale = _LARGE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.LANCZOS)) for one in pair]
    rows, columns = detailed_part(before, size[1], size[0])
    parts = [one[rows.start : rows.stop, columns.start : columns.stop] for one in pair]
    return (small[0], small[1]), (parts[0], parts[1])


def before_and_after(before: Pixels, after: Pixels) -> RGB8:
    """Return both side by side, before on the left; of large pictures reduced ones, and below a part at full size."""
    return np.concatenate([np.concatenate(row, 1) for row in whole_and_part(before, after) if row is not None])


def labelled(images: Mapping[str, RGB8]) -> RGB8:
    """Return pictures of one size in a row, each under its label.

    Args:
        images: Label to (H, W, 3).
    """
    height, width = next(iter(images.values())).shape[:2]
    step = width + _GAP
    sheet = Image.new("RGB", (step * len(images) - _GAP, height + _BAR), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for number, (label, image) in enumerate(images.items()):
        draw.text((number * step + 2, 2), label, "black", font)
        sheet.paste(Image.fromarray(image), (number * step, _BAR))
    return np.asarray(sheet)
