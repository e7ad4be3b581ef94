"""What a picture's header says, for those who want to know before its pixels are decoded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mprnet_plugin.data.decoding import KNOWN_FORMATS, own_size_limit
from mprnet_plugin.files import open_regular
from mprnet_plugin.inference.picture_files import PHONE_FORMATS, readable_formats

__all__ = ["picture_size"]


def picture_size(path: Path) -> tuple[int, int] | None:
    """Return width and height as they lie in the file, or None where the header does not tell.

    None does not mean that the file cannot be read: :func:`~mprnet_plugin.inference.picture_files.read_picture` knows
    more layouts, and says why of those that it does not.
    """
    suffix = path.suffix.lower()
    own = [readable_formats()[suffix]] if suffix in PHONE_FORMATS and suffix in readable_formats() else []
    try:
        with (
            open_regular(path) as stream,
            own_size_limit(),
            Image.open(stream, formats=[*KNOWN_FORMATS, *own]) as image,
        ):
            return image.size
    except Exception:  # decoders raise nearly anything for damaged headers
        return None
