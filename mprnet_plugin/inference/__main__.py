"""``python -m mprnet_plugin.inference``: the command ``mprnet-restore``, as ``torchrun -m`` starts it."""

from __future__ import annotations

from mprnet_plugin.inference.cli import cli

if __name__ == "__main__":
    cli()
