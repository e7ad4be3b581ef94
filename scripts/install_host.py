"""Install the host, basicsr 1.4.2, into the environment of the Python that runs this file.

    python scripts/install_host.py [options for every "pip install", such as --index-url URL]

The host comes as source only, and its set-up asks for torch: built in isolation, pip fetches torch a second time. On
Python 3.13 and later it does not build at all, for it looks in locals() for what exec() has put there (PEP 667). So
torch and the build's tools come first (what is there already stays), then the host is built among them, with an exec
that behaves as before 3.13. Nothing of this outlasts the build. Needs the standard library only.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HOST, VERSION = "basicsr", "1.4.2"
# What the build needs. torch and torchvision would come with the host, but its set-up wants torch before.
BEFORE = ("torch>=2.4", "torchvision>=0.19", "numpy>=1.26", "setuptools>=77", "cython")
SITECUSTOMIZE = '''\
"""exec() without namespaces writes to its caller's variables again, as it did before Python 3.13."""
import builtins
import sys

plain_exec = builtins.exec


def exec_in_caller(source, globals=None, locals=None, /, **options):
    frame = sys._getframe(1)
    if globals is None:
        globals, locals = frame.f_globals, frame.f_locals if locals is None else locals
    return plain_exec(source, globals, globals if locals is None else locals, **options)


builtins.exec = exec_in_caller
'''


def main(pip_options: list[str]) -> int:
    """Install what is missing; returns pip's exit status."""
    if installed_version() == VERSION:
        sys.stdout.write(f"{HOST} {VERSION} is there already\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="install_host_") as folder:
        (Path(folder) / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
        search = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        build_env = {**os.environ, "PYTHONPATH": search} if sys.version_info >= (3, 13) else None
        return pip_install([*BEFORE, *pip_options]) or pip_install(
            ["--no-build-isolation", "--use-pep517", f"{HOST}=={VERSION}", *pip_options], build_env
        )


def installed_version() -> str | None:
    """Return the version of the host in this environment, None where it is absent."""
    try:
        return importlib.metadata.version(HOST)
    except importlib.metadata.PackageNotFoundError:
        return None


def pip_install(arguments: list[str], env: dict[str, str] | None = None) -> int:
    """Run ``pip install`` with this interpreter and return its exit status."""
    command = [sys.executable, "-m", "pip", "install", *arguments]
    return subprocess.run(command, env=env, check=False).returncode  # noqa: S603 - the caller's own options


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
