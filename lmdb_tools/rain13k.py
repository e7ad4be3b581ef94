"""Pack Rain13k (deraining) into LMDBs: ``python -m lmdb_tools.rain13k --source DIR --output DIR``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmdb_tools.command import run
from lmdb_tools.layout import Split, child, prepared_pairs, unique_pairs
from lmdb_tools.sources import Dataset
from mprnet_plugin.errors import InputError, run_command

PUBLISHED = {
    "train": (13_711, 13_712),
    "Test100": (98, 99, 100),
    "Rain100H": (100,),
    "Rain100L": (100,),
    "Test2800": (2800,),
    "Test1200": (1200,),
}

DESCRIPTION = """\
Pack Rain13k and its five test sets into LMDBs that BasicSR reads: 13,712 training pairs, most of them JPEG.

Accepted below --source (any part of it):
  train/{input,target}  or  train/Rain13K/{input,target}
  test/NAME/{input,target}  or  NAME/{input,target}   NAME: Test100, Rain100H, Rain100L, Test2800, Test1200

The one training pair of unequal size is left out with a warning. --storage copy keeps the JPEGs as they are:
a tenth of the size of ppm, slower to train from.

example: python -m lmdb_tools.rain13k --source datasets/Synthetic_Rain_Datasets --output datasets/Rain13k_lmdb"""


def discover(source: Path) -> list[Split]:
    """Find the splits below ``source``.

    Raises:
        InputError: No part is there, or as :func:`lmdb_tools.layout.folder_pairs`.
    """
    splits = []
    for name, published in PUBLISHED.items():
        training = name == "train"
        places = ("train", "train/Rain13K", "train/Rain13k") if training else (f"test/{name}", name)
        for place in places:
            pairs = prepared_pairs(child(source, place), drop_unequal=training)
            if pairs:
                layout = f"{place}/{{input,target}}"
                splits.append(Split(name, layout, unique_pairs(pairs), published, training))
                break
    if not splits:
        raise InputError(
            f"{source} holds no Rain13k; expected train/{{input,target}} or test/NAME/{{input,target}} with NAME out "
            f"of {', '.join(name for name in PUBLISHED if name != 'train')}"
        )
    return splits


DATASET = Dataset(
    name="rain13k",
    title="Rain13k",
    description=DESCRIPTION,
    discover=discover,
    splits=("train",),
    marks=(
        "train/Rain13[Kk]/input",
        *(f"{above}{name}/input" for name in PUBLISHED if name != "train" for above in ("test/", "")),
    ),
    options_file="options/train_MPRNet_Derain.yml",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(DATASET, argv)


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
