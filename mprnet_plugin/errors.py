"""The one error that a person's input can cause, and how a command reports it."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from mprnet_plugin.streams import flush_stdout, prepare_streams, printable, say

# 128 + SIGINT: what a shell shows for a command that Ctrl-C ended.
INTERRUPTED = 128 + signal.SIGINT
# And for one that wrote to a pipe nobody reads any more: 128 + SIGPIPE, which Windows does not name.
READER_LEFT = 128 + 13


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
    """Run a command's ``main`` and exit with its status; bad input is one line on stderr and status 2.

    So is what the surroundings refuse: a path that cannot be looked at, memory. Output that could not be written makes
    a status of 0 a 1.
    """
    prepare_streams()
    try:
        status = main()
    except InputError as error:
        status = _failed(str(error))
    except KeyboardInterrupt:
        say("\ninterrupted; run the same command again to continue")
        status = INTERRUPTED
    except SystemExit as leaving:  # argparse's, after its own message
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BrokenPipeError:
        status = READER_LEFT
    except OSError as error:
        status = _failed(f"{error.filename or 'a file'}: {error.strerror or error}; check the path and its permissions")
    except MemoryError:
        status = _failed("out of memory; give less at once, or use a machine that has more")
    reason = flush_stdout()
    if reason is not None:
        say(f"error: standard output could not be written ({reason})")
        status = status or 1
    sys.exit(status)


def _failed(message: str) -> int:
    say(f"error: {printable(message)}")
    return 2
