"""The command ``mprnet-web``."""

from __future__ import annotations

import argparse
import re
from importlib import metadata
from typing import NoReturn

import mprnet_plugin
from mprnet_plugin.errors import InputError, run_command

__all__ = ["cli", "main"]

PORT = 7860
OLDEST = (6, 31)
"""The oldest gradio that has what the page asks of it, as in setup.py."""


def main(argv: list[str] | None = None) -> int:
    """Serve the page until it is interrupted.

    Raises:
        InputError: Gradio is not installed, or the port cannot be had.
    """
    parser = argparse.ArgumentParser(
        prog="mprnet-web",
        description="Restore photographs on a page in your browser, served to this machine alone.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=int, default=PORT, help="of the address 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--version", action="version", version=f"mprnet-web {mprnet_plugin.__version__}")
    port: int = parser.parse_args(argv).port
    if not 1 <= port <= 65535:
        raise InputError(f"port {port} must be from 1 to 65535: try {PORT}")
    _check_gradio()
    # Here, so that --help needs neither torch nor gradio.
    from mprnet_plugin.web.server import serve

    return serve(port)


def _check_gradio() -> None:
    try:
        found = metadata.version("gradio")
    except metadata.PackageNotFoundError:
        raise InputError("mprnet-web needs gradio, which is not installed: pip install 'mprnet-plugin[web]'") from None
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if numbers < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise InputError(
            f"mprnet-web needs gradio {wanted} or later, {found} is installed: pip install -U 'mprnet-plugin[web]'"
        )


def cli() -> NoReturn:
    """Run :func:`main` as a command."""
    run_command(main)


if __name__ == "__main__":
    cli()
