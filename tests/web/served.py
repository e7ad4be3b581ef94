"""The real page: ``mprnet-web`` as a process of its own, and Debian's browser in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["NO_BROWSER", "Server", "find_browser", "free_port", "served", "wait_until"]

NO_BROWSER = "no browser to drive: apt-get install chromium"
_PATIENCE = 180


class Server(NamedTuple):
    """A running ``mprnet-web``, its address, and the temporary folder that it has for itself."""

    process: subprocess.Popen[str]
    port: int
    temporary: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def root(self) -> Path:
        (root,) = self.temporary.glob("mprnet-web-*")
        return root

    def pages(self) -> list[Path]:
        """List the folders of the pages that are open."""
        return sorted(self.root.glob("page-*"))

    def end(self) -> tuple[int, str]:
        """End it as a service manager does; return its status and what it wrote to stderr."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=_PATIENCE)
        return self.process.returncode, errors


def find_browser() -> str | None:
    """Return the path of a Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@contextmanager
def served(folder: Path, **env: str) -> Iterator[Server]:
    """Run ``mprnet-web`` with a temporary folder of its own and no weights in the cache."""
    temporary, port = folder / "temporary", free_port()
    temporary.mkdir()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(temporary),
        "MPRNET_PLUGIN_CACHE": str(folder / "cache"),
        **env,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mprnet_plugin.web.cli", "--port", str(port)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line, (line, process.communicate(timeout=5))
        yield Server(process, port, temporary)
    finally:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], patience: float = 20) -> bool:
    """Tell whether something becomes true in time."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
