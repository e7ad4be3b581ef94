"""How many pictures, and how large ones, the page takes: by what the machine has."""

from __future__ import annotations

from typing import NamedTuple

from mprnet_plugin.memory import most_pixels

__all__ = ["BYTES_PER_PIXEL", "Limits", "limits_of"]

_MIB = 1 << 20
_SMALLEST_FILE, _LARGEST_FILE = 16 * _MIB, 512 * _MIB
_PICTURE = 128 * _MIB
"""Memory for each picture that may be there at once."""
_MOST_PICTURES = 100
_MOST_PIXELS = 250_000_000
"""Of one picture, whatever memory there is: hours of work on most machines."""
BYTES_PER_PIXEL = 4
"""Red, green, blue and alpha of 8 bits: what a picture's header must declare to be held against memory."""


class Limits(NamedTuple):
    """What is taken.

    Attributes:
        pictures: At once, on one page.
        file_bytes: Size of one file.
        total_bytes: Of all files of all pages together.
        pixels: Of one picture, of 8 bits a channel.
    """

    pictures: int
    file_bytes: int
    total_bytes: int
    pixels: int

    def describe(self) -> str:
        """Say it in one sentence.

        Example:
            >>> Limits(60, 512 << 20, 1 << 30, 250_000_000).describe()
            'Up to 60 pictures, each of at most 537 MB and 250 megapixels, together at most 1074 MB.'
        """
        return (
            f"Up to {self.pictures} pictures, each of at most {self.file_bytes / 1e6:.0f} MB "
            f"and {self.pixels / 1e6:.0f} megapixels, together at most {self.total_bytes / 1e6:.0f} MB."
        )


def limits_of(memory: int, disk: int) -> Limits:
    """Return the limits of a machine.

    Args:
        memory: Bytes that are free.
        disk: Bytes that are free where pictures are kept. Results and an archive of them come beside the pictures, and
            where the temporary folder is in memory, it is the same memory.

    Example:
        >>> limits_of(8 << 30, 100 << 30)[:3]
        (64, 536870912, 1073741824)
        >>> limits_of(64 << 20, 1 << 30)[:3]
        (1, 16777216, 16777216)
    """
    total = max(min(memory, disk) // 8, _SMALLEST_FILE)
    return Limits(
        pictures=min(max(memory // _PICTURE, 1), _MOST_PICTURES),
        file_bytes=min(max(memory // 16, _SMALLEST_FILE), _LARGEST_FILE, total),
        total_bytes=total,
        pixels=min(max(most_pixels(BYTES_PER_PIXEL, memory), 1_000_000), _MOST_PIXELS),
    )
