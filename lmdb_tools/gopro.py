"""Pack GoPro (deblurring) into LMDBs: ``python -m lmdb_tools.gopro --source DIR --output DIR``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmdb_tools.command import run
from lmdb_tools.layout import Pair, Split, child, folder_pairs, prepared_pairs, unique_pairs
from lmdb_tools.sources import Dataset
from mprnet_plugin.errors import InputError, run_command

PUBLISHED = {"train": 2103, "test": 1111}

DESCRIPTION = """\
Pack the GoPro dataset into LMDBs that BasicSR reads: 2103 training and 1111 test pairs of 1280x720.

Accepted below --source (train, test, or both):
  prepared:  {train,test}/{input,target}/*.png
  original:  {train,test}/GOPR*/{blur,sharp}/*.png   (blur_gamma is never used)

example: python -m lmdb_tools.gopro --source datasets/GoPro --output datasets/GoPro_lmdb"""


def discover(source: Path) -> list[Split]:
    """Find the splits below ``source``.

    Raises:
        InputError: Neither layout is there, or as :func:`lmdb_tools.layout.folder_pairs`.
    """
    splits = []
    for name, published in PUBLISHED.items():
        folder = child(source, name)
        if folder is None:
            continue
        pairs, layout = prepared_pairs(folder), "prepared layout (input, target)"
        if not pairs:
            pairs, layout = _original(folder), "original layout (GOPR*/blur, sharp)"
        if pairs:
            splits.append(Split(name, layout, unique_pairs(pairs), (published,), training=name == "train"))
    if not splits:
        raise InputError(
            f"{source} holds no GoPro; expected {{train,test}}/{{input,target}} or {{train,test}}/GOPR*/{{blur,sharp}}"
        )
    return splits


def _original(folder: Path) -> list[Pair]:
    scenes = sorted(path.parent for path in folder.glob("*/blur") if path.is_dir())
    return [pair for scene in scenes for pair in folder_pairs(scene / "blur", scene / "sharp", f"{scene.name}/")]


DATASET = Dataset(
    name="gopro",
    title="GoPro",
    description=DESCRIPTION,
    discover=discover,
    splits=tuple(PUBLISHED),
    marks=("train/*/blur", "test/*/blur", "test/input"),
    options_file="options/train_MPRNet_Deblur.yml",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(DATASET, argv)


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
