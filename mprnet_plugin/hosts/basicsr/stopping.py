"""How a training ends before its time: signals, a launcher that died, a second run of the same name.

SIGTERM, SIGINT and SIGUSR1, which SLURM, Kubernetes, spot machines and people send, finish the step; the model then
writes a checkpoint and the process exits with 128 + the signal, as shells report it. A second signal ends at once.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

from mprnet_plugin.errors import InputError

__all__ = ["StopRequest", "end_with_launcher", "hold_experiment"]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_POLL = 1.0
"""Seconds between looks at the parent process."""


class StopRequest:
    """Remembers the first signal; :meth:`install` makes it listen."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._owner = os.getpid()

    def install(self) -> None:
        """Handle :data:`SIGNALS` from now on; only the main thread may."""
        self._owner = os.getpid()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    @property
    def status(self) -> int:
        """Exit status that tells the signal; 0 without one."""
        return 128 + self.signal if self.signal is not None else 0

    def _handle(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return  # a loading process: terminals and batch systems signal it too, but it ends with the run
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.signal = signal.Signals(number)
        # Loading processes that the same signal has ended (torch lets SIGTERM end them) shall not break the step.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if os.environ.get("RANK", "0") == "0":
            # Not through a logger or a stream, whose locks the interrupted code may hold.
            os.write(2, f"\n{self.signal.name}: finishing this step, then saving; once more ends at once\n".encode())


def end_with_launcher() -> None:
    """End this process within seconds of torchrun's death, which cannot pass a SIGKILL on."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os.write(2, b"error: torchrun has died: this process ends too; start it again with --auto_resume\n")
        os._exit(1)

    threading.Thread(target=watch, name="watch torchrun", daemon=True).start()


def hold_experiment(folder: Path) -> IO[str]:
    """Hold an experiment's name against a second training, as long as the file that is returned stays open.

    The lock is the operating system's and ends with the process, however that ends.

    Args:
        folder: ``experiments/NAME``; the lock lies beside it, since a new run moves the folder away.

    Raises:
        InputError: Another training holds it, or the folder cannot be written to.
    """
    path = folder.with_name(f".{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be written ({error.strerror}); choose another working folder, or make room"
        ) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.seek(0)
        owner = stream.read().strip() or "another process"
        stream.close()
        raise InputError(
            f"{folder} belongs to a training that is running ({owner}): wait for its end, or give this one another name"
        ) from None
    stream.truncate(0)
    stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    stream.flush()
    return stream
