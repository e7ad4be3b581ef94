"""The command ``mprnet-export``, also ``python scripts/export.py``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from mprnet_plugin.errors import run_command
from mprnet_plugin.streams import printable

__all__ = ["cli", "main"]


def main(argv: list[str] | None = None) -> int:
    """Export what the command line names; return 0.

    Raises:
        InputError: Bad input, or an export that is not right.
    """
    parser = argparse.ArgumentParser(
        prog="mprnet-export",
        description="Write an MPRNet for onnxruntime, ncnn, OpenVINO or torch.export. The runtime loads the file and is"
        " compared with torch before the file gets its name.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("weights", metavar="WEIGHTS", help="a file, mprnet://TASK (published weights) or mprnet://demo/TASK")
    add("output", type=Path, metavar="OUT", help=".onnx, .param (and .bin; ncnn), .xml (and .bin; OpenVINO) or .pt2")
    add("--overwrite", action="store_true", help="replace what is there")
    add("--param_key", help="entry of a host checkpoint: params or params_ema (default: the latter if any)")
    args = parser.parse_args(argv)
    # Here, so that --help needs no torch.
    from mprnet_plugin.export.exporting import export
    from mprnet_plugin.weights.checkpoint import load_network
    from mprnet_plugin.weights.choice import find_file

    net = load_network(find_file(args.weights), args.param_key)
    difference = export(net, args.output, args.overwrite)
    line = f"{args.output}: {net.config.describe()}, reloaded; differs from torch by {difference:.1e} of the range"
    sys.stdout.write(f"{printable(line)}\n")
    return 0


def cli() -> NoReturn:
    """Run :func:`main` as a command."""
    run_command(main)
