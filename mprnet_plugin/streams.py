"""Standard streams that are closed, full or of another encoding: a command's work goes on, and its status is true."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

__all__ = ["flush_stdout", "prepare_streams", "printable", "say"]


def printable(text: str) -> str:
    r"""Return text in one line that sends nothing to a terminal but letters: names of files may hold anything.

    Example:
        >>> printable("a\nb.png")
        'a\\nb.png'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def prepare_streams() -> None:
    """Make the three standard streams usable, whatever they are.

    The next file that is opened would get a closed stream's number, and a library's warnings would go into that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    # Python has None for a stream that was closed when it started.
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    if getattr(sys.stdout, "errors", "") == "strict" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the encoding lacks must not end the command


def say(text: str) -> None:
    """Write a line to stderr, or nothing where that is full or gone: there is no other place to say so."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def flush_stdout() -> str | None:
    """Write out what is left to write; return why not all of it could be, or None.

    A reader that has left (``| head``) is no failure: it has what it wanted.
    """
    reason = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout and error.errno != errno.EPIPE:
                reason = error.strerror or str(error)
            _discard(stream)
    return reason


def _discard(stream: TextIO) -> None:
    """Drop what a stream could not write, as Python would try again at its end and change the exit status."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
