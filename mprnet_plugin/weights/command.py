"""Convert MPRNet weights between the authors', the host's, safetensors and Paddle's files.

Only the weights are taken over. A checkpoint that also holds an optimiser's state, or plain weights beside their moving
average, gets smaller by these. Every tensor of the result is read back and compared before the file gets its name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mprnet_plugin.errors import run_command

__all__ = ["cli", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Convert one file; return 0."""
    parser = argparse.ArgumentParser(prog="mprnet-convert", description=__doc__)
    parser.add_argument("input", type=Path, metavar="IN", help=".pth (authors', host's), .safetensors or .pdparams")
    parser.add_argument("output", type=Path, metavar="OUT", help="its suffix chooses the form; .pth is the host's")
    parser.add_argument("--format", help="host, authors, safetensors or pdparams, whatever the suffix")
    parser.add_argument(
        "--param_key", help="entry of a host checkpoint: params or params_ema (default: the latter if any)"
    )
    parser.add_argument("--half", action="store_true", help="numbers of 16 bits: half the size, rounded")
    args = parser.parse_args(argv)
    from mprnet_plugin.weights.convert import convert, format_of  # here, so that --help needs no torch

    form = format_of(args.output, args.format)
    before = args.input.stat().st_size if args.input.is_file() else 0
    name = convert(args.input, args.output, form, args.param_key, args.half)
    sizes = f"{before / 1e6:,.1f} MB before, {args.output.stat().st_size / 1e6:,.1f} MB now"
    kind = "rounded to 16 bits" if args.half else "the same numbers"
    sys.stdout.write(f"{args.output}: {name}, {kind}, every tensor read back and compared; {sizes}\n")
    return 0


def cli() -> None:
    """Run the command ``mprnet-convert``."""
    run_command(main)
