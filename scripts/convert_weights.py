"""Convert files of weights; the installed command is ``mprnet-convert``."""

from mprnet_plugin.weights.command import cli

if __name__ == "__main__":
    cli()
