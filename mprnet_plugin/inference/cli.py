"""The command ``mprnet-restore``, also ``python scripts/inference_mprnet.py``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from typing import NoReturn

from mprnet_plugin.errors import run_command
from mprnet_plugin.streams import printable
from mprnet_plugin.tasks import TASKS

__all__ = ["cli", "main"]


def main(argv: list[str] | None = None) -> int:
    """Restore what the command line names.

    Returns:
        0, 1 when some files could not be restored and the rest were, 2 when none could.

    Raises:
        InputError: Bad input that stops everything.
    """
    parser = _parser()
    args = vars(parser.parse_args(_with_dashed_names(parser, sys.argv[1:] if argv is None else argv)))
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("mprnet_plugin").setLevel(logging.DEBUG if args.pop("verbose") else logging.INFO)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it cannot decode is reported once, by us
    warnings.filterwarnings("ignore", module="PIL")  # of odd metadata
    # Here, so that --help needs no torch.
    from mprnet_plugin.inference.outcomes import summary
    from mprnet_plugin.inference.predictor import MPRPredictor

    sources = args.pop("input_image")
    if args.pop("cpu"):
        args["device"] = "cpu"
    if args["task"] is None and args["weight_path"] is None:
        args["task"] = next(iter(TASKS))
    predictor = MPRPredictor(**args)
    outcomes = predictor.run(*sources)
    if predictor.processes.rank > 0:
        return 0  # the first process reports for all
    sys.stdout.write(f"{summary(outcomes)}; results are in {printable(str(predictor.folder))}\n")
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    return 2 if failed == len(outcomes) else int(failed > 0)


def cli() -> NoReturn:
    """Run :func:`main` as a command."""
    run_command(main)


def _with_dashed_names(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Let names of files that start with a dash, as a shell's ``*`` gives them, be names; options stay options."""
    options = parser._option_string_actions  # argparse has no public list of them
    return [
        f"./{word}"
        if word.startswith("-") and word.partition("=")[0] not in options and os.path.lexists(word)
        else word
        for word in words
    ]


def _tile(text: str) -> int | str:
    # What is no number goes on as it is: the restorer's message about it is the better one.
    return int(text) if text.lstrip("-").isdigit() else text


def _parser() -> argparse.ArgumentParser:
    tasks = ", ".join(task.short for task in TASKS.values())
    parser = argparse.ArgumentParser(
        prog="mprnet-restore", description="Deblur, denoise or derain pictures with MPRNet.", allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--input_image",
        required=True,
        nargs="+",
        action="extend",
        metavar="PATH",
        help="pictures, folders (with subfolders) or quoted patterns",
    )
    add("--task", help=f"{tasks} (default: that of the weights, else deblur)")
    add(
        "--weight_path",
        metavar="FILE",
        help=".pth, .safetensors or .pdparams (default: published weights, else the demo's)",
    )
    add("--output_path", default="output_dir", metavar="DIR", help="results go to DIR/<task>/ (default: %(default)s)")
    add("--target", metavar="PATH", help="what the results should be, a file or a folder: prints PSNR and SSIM")
    add("--compare", action="store_true", help="also write a picture of before and after")
    add("--overwrite", action="store_true", help="restore again what has a result already")
    add("--output_format", metavar="SUFFIX", help="such as .png (default: that of each input)")
    _add_engine_options(parser)
    return parser


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add what decides how pictures are restored, not which."""
    add = parser.add_argument
    add("--download", action="store_true", help="download the published weights (their licence is their publisher's)")
    add("--param_key", help="entry of a host checkpoint: params or params_ema")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    add("--cpu", action="store_true", help="the same as --device cpu")
    add(
        "--precision",
        default="auto",
        help="fp32 (exact), bf16, fp16, auto: the fastest here within 0.02 dB (default: %(default)s)",
    )
    add("--engine", default="auto", help="on a CPU: torch, ncnn, auto: the faster (default: %(default)s)")
    add("--compile", action="store_true", help="let torch compile the network: for many pictures of one size")
    add("--verbose", action="store_true", help="say why engine and precision were chosen")
    add(
        "--tile",
        type=_tile,
        default="auto",
        help="side of windows in pixels, 0 for none unless memory runs out (default: as memory allows)",
    )
    add(
        "--tile_overlap",
        type=int,
        metavar="PIXELS",
        help="what windows share at least (default: 64, or half of --tile)",
    )
    add(
        "--local_pooling",
        action="store_true",
        help="pool locally (TLC): better on pictures much larger than 256 pixels",
    )
    add("--self_ensemble", action="store_true", help="average eight flips and rotations: eight times the work")
    add("--seed", type=int, help="accepted for scripts that pass it; restoring draws no random numbers")
