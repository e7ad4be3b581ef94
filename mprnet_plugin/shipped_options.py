"""The options files that come with the package: found by bare name, listed and copied by ``mprnet-options``."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mprnet_plugin.errors import InputError, nearest, run_command
from mprnet_plugin.files import whole_file

__all__ = ["cli", "find_options", "main", "shipped"]

_PACKAGE = Path(__file__).parent
# In a wheel they lie inside of the package, in a source folder beside it.
_FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent / "options")

SCHEMA = "mprnet.schema.json"
CONFIGS = "mmengine"
"""Folder of the configs for mmengine's runner."""
_BASE = '"./_base_/'
_LONGEST = 100

DESCRIPTION = """\
List the options files that come with mprnet-plugin, or copy one to the working folder to edit it.

A file that is used as it is needs no copy: from any folder,
python -m basicsr.train -opt train_MPRNet_Deblur.yml works, and so does
python -m mprnet_plugin.hosts.mmengine.train mprnet_deblur_gopro.py."""


def shipped() -> dict[str, Path]:
    """Return the options files that come with the package, by name."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    paths = [*sorted(folder.glob("*.yml")), *sorted(folder.glob(f"{CONFIGS}/*.py"))] if folder else []
    return {path.name: path for path in paths}


def find_options(name: str) -> Path:
    """Return the path of an options file: one that exists, else the shipped file of that bare name.

    Raises:
        InputError: A bare name that is neither; the message names the nearest.
    """
    path = Path(name)
    with suppress(RuntimeError):  # ~nosuchuser, which is then no file either
        path = path.expanduser()
    if path.exists() or path.name != name:
        return path
    known = shipped()
    chosen = known.get(name) or known.get(f"{name}.yml") or known.get(f"{name}.py")
    if chosen is None:
        raise InputError(
            f"options file {name}: No such file here, and none of that name comes with mprnet-plugin; "
            f"{nearest(name, known) if known else 'give a path'}"
        )
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="mprnet-options", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help="file to copy; left out: list all")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the copy goes (default: here, same name)")
    parser.add_argument("--explain", metavar="OPTION", help="say what an option or a section may hold: train:mixup")
    parser.add_argument(
        "--plot", nargs=2, metavar=("FILE", "OUT.png"), help="draw the learning rate that FILE gives its iterations"
    )
    parser.add_argument("--pairs", type=int, metavar="N", help="with --plot: size of a training set that is not here")
    args = parser.parse_args(argv)
    if args.plot is not None:
        from mprnet_plugin.hosts.basicsr.recipes import plot_rate  # as below

        if args.pairs is not None and args.pairs < 1:
            raise InputError(f"--pairs {args.pairs} must be a whole number from 1 up")
        sys.stdout.write(plot_rate(args.plot[0], Path(args.plot[1]), args.pairs) + "\n")
        return 0
    if args.explain is not None:
        from mprnet_plugin.hosts.basicsr.option_reference import explain  # here, since it loads torch

        sys.stdout.write(explain(args.explain))
        return 0
    if args.name is None:
        for name, path in shipped().items():
            sys.stdout.write(f"{name:32} {_summary(path)}\n")
        return 0
    source = find_options(args.name)
    target = args.output or Path(source.name)
    if target.exists():
        raise InputError(f"{target} exists and is left alone; give another --output")
    with whole_file(target) as part:
        # Editors look for the schema, and mmengine for the base, beside the file.
        text = source.read_text(encoding="utf-8").replace(f"={SCHEMA}\n", f"={source.parent / SCHEMA}\n", 1)
        part.write_text(text.replace(_BASE, f'"{source.parent.as_posix()}/_base_/', 1), encoding="utf-8")
    sys.stdout.write(f"{target}: edit it, then {_command(source, target)}\n")
    return 0


def _summary(path: Path) -> str:
    """Return the first sentence of a file's comment, cut to a line."""
    lines = path.read_text(encoding="utf-8").splitlines()[:4]
    words = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# ") and SCHEMA not in line)
    return textwrap.shorten(re.split(r"[.:;] ", words)[0], _LONGEST, placeholder="...")


def _command(source: Path, target: Path) -> str:
    if source.parent.name == CONFIGS:
        return f"python -m mprnet_plugin.hosts.mmengine.train {target}"
    testing = source.stem.startswith("test") or source.stem.endswith("_test")
    return f"python -m basicsr.{'test' if testing else 'train'} -opt {target}"


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
