"""The one error that a person's input can cause, and how a command reports it."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

# 128 + SIGINT: what a shell shows for a command that Ctrl-C ended.
INTERRUPTED = 128 + signal.SIGINT


class InputError(ValueError):
    """Something given from outside is wrong: a path, an option, a file's content.

    The message is one line that names the value, what was expected and the fix. Commands print it without a
    traceback and exit with status 2; a library caller catches it as a :class:`ValueError`.
    """


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return a hint naming the known names closest to ``name``, or all of them when none is close.

    Example:
        >>> nearest("gt_siez", ["gt_size", "phase"])
        "did you mean 'gt_size'?"
    """
    choices = sorted(set(known))
    close = difflib.get_close_matches(name, choices, n=count, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known are {', '.join(choices)}"


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command's ``main`` and exit with its status; bad input is one line on stderr and status 2."""
    try:
        status = main()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        status = 2
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run the same command again to continue\n")
        status = INTERRUPTED
    sys.exit(status)
