"""Log files and TensorBoard may fail, on a full disk above all: the training goes on, and says so once."""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["TensorBoardWriter", "guard_log_files", "guarded_tensorboard"]


def _say(message: str) -> None:
    sys.stderr.write(f"mprnet-plugin: {message}; the training goes on without\n")


def guard_log_files(logger: logging.Logger) -> None:
    """Let a log file that cannot be written be said once, where logging prints a traceback for every line."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler) and "handleError" not in vars(handler):
            handler.handleError = functools.partial(_log_file_failed, handler, [])  # type: ignore[method-assign]


def _log_file_failed(handler: logging.FileHandler, said: list[bool], _: logging.LogRecord) -> None:
    if not said:
        said.append(True)
        _say(f"the log file {handler.baseFilename} cannot be written ({sys.exc_info()[1]})")


def guarded_tensorboard(make: Callable[[], Any]) -> TensorBoardWriter | None:
    """Return the writer that ``make`` returns, guarded; None for a run or a process that has none."""
    _quiet_writing_threads()
    try:
        writer = make()
    except OSError as error:
        _say(f"TensorBoard's files cannot be written ({error})")
        return TensorBoardWriter(None)
    return TensorBoardWriter(writer) if writer is not None else None


class TensorBoardWriter:
    """TensorBoard's writer up to its first failure, and silence after that.

    Args:
        writer: A ``SummaryWriter``; None: it has failed already.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*args: object, **kwargs: object) -> None:
            if self._writer is None:
                return
            try:
                getattr(self._writer, name)(*args, **kwargs)
            except OSError as error:
                _say(f"TensorBoard's files cannot be written ({error})")
                self._writer = None

        return call


def _quiet_writing_threads() -> None:
    """TensorBoard writes in a thread, whose error comes to its next caller too: no traceback of the thread's own."""
    original = threading.excepthook

    def excepthook(arguments: threading.ExceptHookArgs, /) -> None:
        writes = type(arguments.thread).__module__.startswith("tensorboard.")
        if not (writes and isinstance(arguments.exc_value, OSError)):
            original(arguments)

    threading.excepthook = excepthook
