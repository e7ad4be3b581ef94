"""The command ``mprnet-export``, also ``python scripts/export.py``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.streams import printable

__all__ = ["cli", "main"]


def main(argv: list[str] | None = None) -> int:
    """Export what the command line names; return 0.

    Raises:
        InputError: Bad input, or an export that is not right.
    """
    args = _parser().parse_args(argv)
    folder = args.output.endswith(tuple(filter(None, (os.sep, os.altsep)))) or Path(args.output).is_dir()
    if not folder and (args.task or args.license):
        raise InputError("--task and --license are for a folder's model card: end OUT with a slash, or leave them out")
    # Here, so that --help needs no torch.
    from mprnet_plugin.weights.checkpoint import load_network
    from mprnet_plugin.weights.choice import find_file, named_task, published_licence

    weights = find_file(args.weights)
    net = load_network(weights, args.param_key)
    output = Path(args.output)
    if folder:
        from mprnet_plugin.export.hub_folder import export_folder
        from mprnet_plugin.hub.card import Card

        card = Card.read(
            args.task or named_task(args.weights), args.license or published_licence(args.weights, weights)
        )
        export_folder(net, output, card, args.overwrite)
        line = f"{output}: {net.config.describe()}, read back, the same; hf upload USER/NAME {output} publishes it"
    else:
        from mprnet_plugin.export.exporting import export

        difference = export(net, output, args.overwrite)
        line = f"{output}: {net.config.describe()}, reloaded; differs from torch by {difference:.1e} of the range"
    sys.stdout.write(f"{printable(line)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mprnet-export",
        description="Write an MPRNet for onnxruntime, ncnn, OpenVINO, torch.export, or a folder for the Hugging Face"
        " Hub. What was written is loaded again and compared with torch before it gets its name.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("weights", metavar="WEIGHTS", help="a file, mprnet://TASK (published weights) or mprnet://demo/TASK")
    add(
        "output",
        metavar="OUT",
        help=".onnx, .param (and .bin; ncnn), .xml (and .bin; OpenVINO), .pt2, or FOLDER/ with a slash for the Hub",
    )
    add("--overwrite", action="store_true", help="replace what is there")
    add("--param_key", help="entry of a host checkpoint: params or params_ema (default: the latter if any)")
    add("--task", help="for a folder's model card: what the weights restore, where neither name nor widths say it")
    add("--license", help="for a folder's model card: of the weights, such as apache-2.0, or words")
    return parser


def cli() -> NoReturn:
    """Run :func:`main` as a command."""
    run_command(main)
