"""The command ``mprnet-restore``, also ``python scripts/inference_mprnet.py``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from typing import Any, NoReturn

import mprnet_plugin
from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.streams import printable
from mprnet_plugin.tasks import TASKS, find_task

__all__ = ["cli", "main"]

ALL = "all"
EXAMPLES = """examples:
  mprnet-restore photo.jpg --preview                  which of the three helps?
  mprnet-restore photo.jpg --task denoise             result in output_dir/Denoising
  mprnet-restore holiday --task deblur --compare      a folder, with pictures of before and after
  mprnet-restore photo.jpg --task derain --download   the published weights instead of the small ones
"""


def main(argv: list[str] | None = None) -> int:
    """Restore what the command line names.

    Returns:
        0, 1 when some files could not be restored and the rest were, 2 when none could.

    Raises:
        InputError: Bad input that stops everything.
    """
    parser = _parser()
    words = _with_dashed_names(parser, sys.argv[1:] if argv is None else argv)
    args = vars(parser.parse_intermixed_args(words))
    tasks, sources = _what_is_meant(args)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("mprnet_plugin").setLevel(logging.DEBUG if args.pop("verbose") else logging.INFO)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it cannot decode is reported once, by us
    warnings.filterwarnings("ignore", module="PIL")  # of odd metadata
    if args.pop("cpu"):
        args["device"] = "cpu"
    if args.pop("preview"):
        return _preview(sources, args)
    return max(_restore(task, sources, args) for task in tasks)


def _what_is_meant(args: dict[str, Any]) -> tuple[list[str | None], list[str]]:
    """Take the tasks and the pictures out of the arguments.

    Raises:
        InputError: No picture, or nothing says what is to be done with it.
    """
    sources: list[str] = args.pop("pictures") + args.pop("input_image")
    task: str | None = args.pop("task")
    if task is None and sources and not os.path.lexists(sources[0]) and _is_task(sources[0]):
        task = sources.pop(0)  # mprnet-restore denoise photo.jpg
    if not sources:
        raise InputError("no picture is named: mprnet-restore photo.jpg --task denoise")
    if task == ALL:
        return list(TASKS), sources
    if task is None and args["weight_path"] is None and not args["preview"]:
        tasks = "; ".join(f"--task {task.short} removes {task.removes}" for task in TASKS.values())
        raise InputError(f"nothing says what to do: {tasks}; --preview shows all three on a part of the picture")
    return [task], sources


def _is_task(word: str) -> bool:
    try:
        find_task(word)
    except InputError:
        return word == ALL
    return True


def _preview(sources: list[str], args: dict[str, Any]) -> int:
    from mprnet_plugin.inference.preview import preview

    engine = {name: args[name] for name in ("device", "precision", "engine", "tile", "local_pooling")}
    written = preview(sources, args["output_path"], args["overwrite"], args["download"], **engine)
    for path in written:
        sys.stdout.write(f"{printable(str(path))}: look which is best, then restore with --task\n")
    return 0 if written else 2


def _restore(task: str | None, sources: list[str], args: dict[str, Any]) -> int:
    # Here, so that --help needs no torch.
    from mprnet_plugin.inference.outcomes import summary
    from mprnet_plugin.inference.predictor import MPRPredictor

    predictor = MPRPredictor(task, **args)
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
    parser = argparse.ArgumentParser(
        prog="mprnet-restore",
        description="Restore photographs with MPRNet: take noise, blur or rain out of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("pictures", nargs="*", metavar="PICTURE", help="pictures, folders (with subfolders) or quoted patterns")
    add("--input_image", nargs="+", action="extend", default=[], metavar="PATH", help="the same, as PaddleGAN has it")
    tasks = "; ".join(f"{task.short}: {task.removes}" for task in TASKS.values())
    add("--task", help=f"what to remove. {tasks}; {ALL}: each by itself (default: that of the weights)")
    add("--preview", action="store_true", help="show what each task makes of a part of the picture, in one picture")
    add(
        "--strength",
        type=float,
        default=1.0,
        help="share of the result, from 0 to 1; the rest is the input (default: %(default)s)",
    )
    add("--version", action="version", version=f"mprnet-restore {mprnet_plugin.__version__}")
    add(
        "--weight_path",
        metavar="FILE",
        help=".pth, .safetensors or .pdparams (default: published weights, else the demo's)",
    )
    add("--output_path", default="output_dir", metavar="DIR", help="results go to DIR/<task>/ (default: %(default)s)")
    add("--target", metavar="PATH", help="what the results should be, a file or a folder: prints PSNR and SSIM")
    add("--compare", action="store_true", help="also write a picture of before and after; of a large one, of a part")
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
