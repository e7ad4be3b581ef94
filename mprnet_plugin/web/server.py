"""Serve the page on this machine alone, and leave nothing behind."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from mprnet_plugin.errors import InputError
from mprnet_plugin.memory import free_memory
from mprnet_plugin.web.limits import limits_of
from mprnet_plugin.web.sessions import Sessions

if sys.platform != "win32":
    import fcntl

__all__ = ["ADDRESS", "serve"]

ADDRESS = "127.0.0.1"
_PREFIX, _LOCK = "mprnet-web-", ".lock"
_SWEEP_EVERY = 30


def serve(port: int) -> int:
    """Serve the page until SIGINT, SIGTERM or SIGHUP; return 0.

    Raises:
        InputError: The port cannot be had.
    """
    _check_port(port)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("mprnet_plugin").setLevel(logging.WARNING)
    with _own_folder() as root:
        _prepare_surroundings(root)
        from starlette.middleware import Middleware

        from mprnet_plugin.web.guard import Guard
        from mprnet_plugin.web.page import LAUNCH, Page

        limits = limits_of(free_memory(), shutil.disk_usage(root).free)
        sessions = Sessions(root, limits)
        page = Page(sessions)
        guard = Middleware(Guard, root=root, upload=limits.total_bytes + (1 << 20))  # a little for its headings
        ended = _until_a_signal()
        page.blocks.launch(
            server_name=ADDRESS,
            server_port=port,
            app_kwargs={"middleware": [guard]},
            **LAUNCH,
        )
        sessions.keep_what_is_there()
        sys.stdout.write(f"open http://{ADDRESS}:{port} in a browser; Ctrl-C ends it and removes all pictures\n")
        sys.stdout.flush()
        try:
            while not ended.wait(_SWEEP_EVERY):
                sessions.sweep()
        finally:
            page.end()
    return 0


def _check_port(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((ADDRESS, port))
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
            raise InputError(f"port {port} {reason}: give another, such as --port {min(port + 1, 65535)}") from error


def _until_a_signal() -> threading.Event:
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)
    return ended


def _prepare_surroundings(root: Path) -> None:
    """Let gradio use this folder, send nothing anywhere, and take no setting from somebody's environment."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # such as GRADIO_SHARE, GRADIO_ALLOWED_PATHS
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(root),
        "GRADIO_EXAMPLES_CACHE": str(root / "examples"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    for name in ("NO_PROXY", "no_proxy"):  # gradio asks its own server, which no proxy can reach
        os.environ[name] = ",".join(filter(None, [os.environ.get(name, ""), ADDRESS, "localhost"]))


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """Give a folder that nobody else can look into, and remove it; also those of servers that were killed."""
    _remove_leftovers(Path(tempfile.gettempdir()))
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX)))
    with (root / _LOCK).open("w") as lock:
        _try_to_lock(lock)
        try:
            yield root
        finally:
            shutil.rmtree(root, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    if sys.platform == "win32":  # which has neither owners nor such locks
        return
    for old in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if old.is_symlink() or not old.is_dir() or old.stat().st_uid != os.getuid():
                continue
            with (old / _LOCK).open("r+") as lock:
                if _try_to_lock(lock):
                    shutil.rmtree(old, ignore_errors=True)


def _try_to_lock(file: Any) -> bool:  # noqa: ANN401 - any open file
    """Lock a file for as long as this process lives; return whether nobody else has."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
