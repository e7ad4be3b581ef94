"""Pack RealBlur and RSBlur (real blur) into LMDBs: ``python -m lmdb_tools.realblur --source DIR --output DIR``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lmdb_tools.command import run
from lmdb_tools.layout import Split, child, listed_pairs, prepared_pairs, unique_pairs
from lmdb_tools.sources import Dataset
from mprnet_plugin.errors import InputError, run_command


class Part(NamedTuple):
    """A split: its name, the list of its pairs, where else it may lie prepared, and how many pairs are published."""

    name: str
    listing: str
    prepared: str
    published: int


PARTS = (
    Part("RealBlur_J_train", "RealBlur_J_train_list.txt", "RealBlur_J/train", 3758),
    Part("RealBlur_J_test", "RealBlur_J_test_list.txt", "RealBlur_J/test", 980),
    Part("RealBlur_R_train", "RealBlur_R_train_list.txt", "RealBlur_R/train", 3758),
    Part("RealBlur_R_test", "RealBlur_R_test_list.txt", "RealBlur_R/test", 980),
    Part("RSBlur_train", "RSBlur_real_train.txt", "RSBlur/train", 8878),
    Part("RSBlur_val", "RSBlur_real_val.txt", "RSBlur/val", 1120),
    Part("RSBlur_test", "RSBlur_real_test.txt", "RSBlur/test", 3360),
)
LIST_FOLDERS = ("", "datalist", "datalist/RSBlur")
"""Where the lists lie below --source: beside the pictures, or as in the repository of RSBlur's authors."""

DESCRIPTION = """\
Pack RealBlur-J, RealBlur-R and RSBlur into LMDBs that BasicSR reads.

Accepted below --source (any part of it):
  original:  RealBlur_{J,R}_{train,test}_list.txt beside RealBlur-*_ECC_IMCORR_centroid_itensity_ref/scene*/{gt,blur}
             RSBlur_real_{train,val,test}.txt (or in datalist/RSBlur) beside RSBlur/*/*/{gt,real_blur}
  prepared:  RealBlur_{J,R}/{train,test}/{input,target}, RSBlur/{train,val,test}/{input,target}

A line of a list is "SHARP BLURRED", paths below --source. The lists come with the datasets; RSBlur's are in its
authors' repository, folder datalist/RSBlur.

example: python -m lmdb_tools.realblur --source datasets/RealBlur --output datasets/RealBlur_lmdb"""


def discover(source: Path) -> list[Split]:
    """Find the splits below ``source``.

    Raises:
        InputError: No part is there, or as :func:`lmdb_tools.layout.listed_pairs`.
    """
    splits = []
    for part in PARTS:
        listing = next((path for name in LIST_FOLDERS if (path := source / name / part.listing).is_file()), None)
        if listing is not None:
            pairs, layout = listed_pairs(source, listing), f"original layout ({part.listing})"
        else:
            pairs, layout = prepared_pairs(child(source, part.prepared)), f"{part.prepared}/{{input,target}}"
        if pairs:
            training = part.name.endswith("_train")
            splits.append(Split(part.name, layout, unique_pairs(pairs), (part.published,), training))
    if not splits:
        raise InputError(
            f"{source} holds no RealBlur or RSBlur; expected lists such as {PARTS[0].listing} beside the pictures, or "
            f"{PARTS[0].prepared}/{{input,target}}"
        )
    return splits


DATASET = Dataset(
    name="realblur",
    title="RealBlur",
    description=DESCRIPTION,
    discover=discover,
    splits=(),
    marks=(
        *(f"{folder}/{part.listing}".lstrip("/") for part in PARTS for folder in LIST_FOLDERS),
        *(f"{part.prepared}/input" for part in PARTS),
    ),
    options_file="options/train_MPRNet_RealBlur.yml",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(DATASET, argv)


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
