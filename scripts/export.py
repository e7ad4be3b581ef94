"""Export an MPRNet to other runtimes; the installed command is ``mprnet-export``."""

from mprnet_plugin.export.cli import cli

if __name__ == "__main__":
    cli()
