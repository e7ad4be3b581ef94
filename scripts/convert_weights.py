"""Convert MPRNet weights between the authors', the host's, safetensors and Paddle's files.

Every tensor of the result is read back and compared before the file gets its name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mprnet_plugin.errors import run_command


def main() -> int:
    """Convert one file; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path, metavar="IN", help=".pth (authors', host's), .safetensors or .pdparams")
    parser.add_argument("output", type=Path, metavar="OUT", help="its suffix chooses the form; .pth is the host's")
    parser.add_argument("--format", help="host, authors, safetensors or pdparams, whatever the suffix")
    parser.add_argument(
        "--param_key", help="entry of a host checkpoint: params or params_ema (default: the latter if any)"
    )
    args = parser.parse_args()
    from mprnet_plugin.weights.convert import convert, format_of  # here, so that --help needs no torch

    name = convert(args.input, args.output, format_of(args.output, args.format), args.param_key)
    sys.stdout.write(f"{args.output}: {name}, every tensor read back and compared\n")
    return 0


if __name__ == "__main__":
    run_command(main)
