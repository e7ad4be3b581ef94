"""Restore pictures with MPRNet; the installed command is ``mprnet-restore``."""

from mprnet_plugin.inference.cli import cli

if __name__ == "__main__":
    cli()
