"""Build small GoPro, SIDD and Rain13k folders from photographs that installed packages ship; nothing is downloaded.

Each picture is a window of a real photograph, degraded the way a camera does it: in linear light, before the sRGB
curve. Photographs for training and for testing are different ones. Equal settings give equal bytes.

    python scripts/make_demo_data.py --output datasets --tasks denoise deblur derain
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from demo_data.folders import Settings, make_demo_data
from mprnet_plugin.errors import run_command
from mprnet_plugin.tasks import TASKS, find_task


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    default = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("datasets"), help="folder for the data (%(default)s)")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="full or short names of tasks (all)")
    parser.add_argument("--seed", type=int, default=default.seed, help="decides every random choice (%(default)s)")
    parser.add_argument("--size", type=int, default=default.size, help="side of a picture, 64-256 (%(default)s)")
    parser.add_argument("--train", type=int, default=default.train, help="pictures to train on (%(default)s)")
    parser.add_argument("--test", type=int, default=default.test, help="pictures in each test set (%(default)s)")
    parser.add_argument(
        "--photographs",
        type=Path,
        help="folder of your own: its train joins the packages' photographs, its test replaces them",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace demo data of other settings")
    parser.add_argument("--previews", action="store_true", help="also write before/after pictures")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    tasks = [find_task(name) for name in args.tasks]
    folder = "" if args.photographs is None else str(args.photographs)
    settings = Settings(args.seed, args.size, args.train, args.test, folder)
    make_demo_data(args.output, tasks, settings, overwrite=args.overwrite, previews=args.previews)
    for task in tasks:
        sys.stdout.write(f"{task.short}: {args.output / task.data}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
