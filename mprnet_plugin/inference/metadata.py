"""What a picture file says about its picture: read as far as it can be, and kept where it still holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

__all__ = ["descriptive", "entries", "of_entries", "orientation", "resolution", "tag_name"]

_DESCRIPTIVE = tuple(
    int(getattr(ExifTags.Base, name))
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright")
)
_RESOLUTION = tuple(int(getattr(ExifTags.Base, name)) for name in ("XResolution", "YResolution", "ResolutionUnit"))
_FOLDERS = (int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo))

Entry = tuple[int | None, int, Any]
"""An EXIF entry: the folder that it lies in, or None, its tag and its value."""


def descriptive(image: Image.Image) -> tuple[Image.Exif, list[str]]:
    """Return the EXIF entries that still hold for the upright, restored picture: no orientation, layout or thumbnail.

    Entries that cannot be read are left out; the second value says so.
    """
    kept = Image.Exif()
    damaged = ["its EXIF entries are damaged and were left out in part"]
    try:
        exif = image.getexif()
    except Exception:  # the block comes from the file as it is, and its reader raises nearly anything
        return kept, damaged
    whole = True
    for tag in (*_DESCRIPTIVE, *_RESOLUTION, *_FOLDERS):
        try:
            if tag in _FOLDERS:
                folder = dict(exif.get_ifd(tag))
                if folder:
                    kept[tag] = folder
            elif tag in exif:
                kept[tag] = exif[tag]
        except Exception:
            whole = False
    return kept, [] if whole else damaged


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where none or nothing sensible is given."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def resolution(value: object) -> tuple[float, float] | None:
    """Return pixels an inch across and down where they are two positive numbers."""
    try:
        across, down = (float(number) for number in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if all(math.isfinite(number) and number > 0 for number in (across, down)) else None


def entries(exif: Image.Exif) -> Iterator[Entry]:
    """Yield what is in an EXIF block, those of its folders one by one."""
    for tag, value in exif.items():
        if isinstance(value, dict):
            for inner, inner_value in value.items():
                yield tag, inner, inner_value
        else:
            yield None, tag, value


def of_entries(parts: list[Entry]) -> Image.Exif:
    """Return the EXIF block of these entries."""
    exif = Image.Exif()
    folders: dict[int, dict[int, Any]] = {}
    for folder, tag, value in parts:
        if folder is None:
            exif[tag] = value
        else:
            folders.setdefault(folder, {})[tag] = value
    for folder, content in folders.items():
        exif[folder] = content
    return exif


def tag_name(entry: Entry) -> str:
    """Return what an entry is called."""
    folder, tag, _ = entry
    names = ExifTags.GPSTAGS if folder == ExifTags.IFD.GPSInfo else ExifTags.TAGS
    return str(names.get(tag, tag))
