"""A contact sheet: random images of databases, one row a key, with titles; it replaces nothing but older sheets."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from mprnet_plugin.data.stores import LmdbStore
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import open_regular, whole_file
from mprnet_plugin.streams import printable

__all__ = ["contact_sheet", "write_sheet"]

_GAP, _LINE, _FONT_SIZE = 8, 18, 13
_MAKER = "lmdb_tools.info"


def contact_sheet(roots: Sequence[Path], count: int, side: int, seed: int) -> Image.Image:
    """Draw random images, one row each, the same key of all databases side by side.

    Above all stands the folder, above each column its database, above each row its key and size.

    Args:
        roots: Databases, left to right.
        count: Number of rows.
        side: Longest side of an image in pixels; larger images are made smaller.
        seed: Which images.

    Returns:
        An RGB image on white.

    Raises:
        InputError: A database is damaged, or they have no key in common.
    """
    stores = [LmdbStore(root) for root in roots]
    keys = sorted(set.intersection(*(set(store.keys()) for store in stores)))
    if not keys:
        raise InputError(f"{' and '.join(map(str, roots))} have no key in common; pack them again")
    chosen = sorted(random.Random(seed).sample(keys, min(count, len(keys))))  # noqa: S311 (no secret)
    rows = [[_thumbnail(store, key, side) for store in stores] for key in chosen]
    heights = [max(image.height for image in row) for row in rows]
    width = len(stores) * (side + _GAP) + _GAP
    sheet = Image.new("RGB", (width, 2 * _LINE + _GAP + sum(height + _LINE + _GAP for height in heights)), "white")
    _write(sheet, 0, 0, f"{len(chosen)} of {len(keys)} keys in {os.path.realpath(roots[0].parent)}", width)
    for column, root in enumerate(roots):
        _write(sheet, column * (side + _GAP), _LINE, root.name, side + _GAP)
    top = 2 * _LINE
    for key, row, height in zip(chosen, rows, heights, strict=True):
        tall, wide = stores[0].size(key)
        _write(sheet, 0, top, f"{wide}x{tall}  {key}", width)
        for column, image in enumerate(row):
            sheet.paste(image, (_GAP + column * (side + _GAP), top + _LINE))
        top += _LINE + height + _GAP
    return sheet


def write_sheet(path: Path, sheet: Image.Image, root: Path) -> None:
    """Write a sheet as PNG, whole or not at all; its text says that it is one, and of what.

    Args:
        path: Where it goes.
        sheet: The picture.
        root: The database it shows. An older sheet of that database is replaced, nothing else.

    Raises:
        InputError: Something else is there, or the file cannot be written.
    """
    source = os.path.realpath(root).encode("ascii", "backslashreplace").decode()
    if os.path.lexists(path) and _made_for(path) != source:
        raise InputError(f"{path} is there and is no sheet of {root}; remove it or give another folder with --sheet")
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", _MAKER)
    text.add_text("Source", source)
    with whole_file(path) as part:
        sheet.save(part, "PNG", pnginfo=text)


def _made_for(path: Path) -> str | None:
    """Return of what database a picture is the sheet, or None where it is none."""
    try:
        with open_regular(path) as file, Image.open(file, formats=("PNG",)) as picture:
            return str(picture.info.get("Source")) if picture.info.get("Software") == _MAKER else None
    except Exception:  # whatever Pillow says of other files
        return None


def _thumbnail(store: LmdbStore, key: str, side: int) -> Image.Image:
    pixels = store.read(key)
    image = Image.fromarray(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.BOX)
    return image


def _write(sheet: Image.Image, left: int, top: int, text: str, width: int) -> None:
    """Write a line of text; what does not fit is cut off at its start, as names differ at their ends."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    text = printable(text).encode("ascii", "backslashreplace").decode()
    shown = text
    while len(shown) > 4 and draw.textlength(shown, font) > width - 2 * _GAP:
        shown = f"...{shown.removeprefix('...')[1:]}"
    draw.text((left + _GAP, top + 1), shown, "black", font)
