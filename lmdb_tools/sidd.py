"""Pack SIDD (denoising) into LMDBs: ``python -m lmdb_tools.sidd --source DIR --output DIR``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmdb_tools.command import run
from lmdb_tools.layout import Pair, Picture, Split, child, equal_pairs, lmdb_key, prepared_pairs, unique_pairs
from lmdb_tools.sources import Dataset
from mprnet_plugin.data.pairs import pair_keys
from mprnet_plugin.data.sidd_blocks import load_blocks
from mprnet_plugin.data.stores import FolderStore
from mprnet_plugin.errors import InputError, run_command

PUBLISHED_TRAIN = (320, 96_000)  # whole pictures, or the 300 patches of each that the authors prepare
PUBLISHED_VAL = 1280
VARIABLES = ("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")

DESCRIPTION = """\
Pack SIDD sRGB Medium into LMDBs that BasicSR reads: 320 training pairs, 1280 validation blocks of 256x256.

Accepted below --source (training, validation, or both):
  prepared:  {train,val}/{input,target}/*.png
  original:  Data/*/*_{NOISY,GT}_SRGB_*.PNG  (or the scenes right below --source, or in SIDD_Medium_Srgb/Data)
             ValidationNoisyBlocksSrgb.mat, ValidationGtBlocksSrgb.mat  (version 5, or 7.3 with h5py installed)

The authors train on 300 random 256x256 patches of each picture:
example: python -m lmdb_tools.sidd --source datasets/SIDD --output datasets/SIDD_lmdb --random-patches 300"""


def discover(source: Path) -> list[Split]:
    """Find the splits below ``source``.

    Raises:
        InputError: No layout is there, one of the two ``.mat`` files is missing or wrong, orphans, or as
            :func:`lmdb_tools.layout.folder_pairs`.
    """
    splits = []
    pairs, layout = prepared_pairs(child(source, "train")), "prepared layout (input, target)"
    if not pairs:
        pairs, layout = _scenes(source), "original layout (*_NOISY_SRGB_*, *_GT_SRGB_*)"
    if pairs:
        splits.append(Split("train", layout, unique_pairs(pairs), PUBLISHED_TRAIN, training=True))
    pairs, layout = prepared_pairs(child(source, "val", "test")), "prepared layout (input, target)"
    if not pairs:
        pairs, layout = _blocks(source), "original layout (.mat files)"
    if pairs:
        splits.append(Split("val", layout, unique_pairs(pairs), (PUBLISHED_VAL,), training=False))
    if not splits:
        raise InputError(
            f"{source} holds no SIDD; expected {{train,val}}/{{input,target}}, Data/*/*_{{NOISY,GT}}_SRGB_*.PNG or "
            f"{VARIABLES[0]}.mat with {VARIABLES[1]}.mat"
        )
    return splits


def _scenes(source: Path) -> list[Pair]:
    folder = child(source, "Data", "SIDD_Medium_Srgb/Data") or source
    if not any(folder.glob("*/*_SRGB_*")):
        return []
    store = FolderStore(folder)
    names = store.keys()
    noisy, clean = (
        {name.replace(mark, "_"): name for name in names if mark in name} for mark in ("_NOISY_SRGB_", "_GT_SRGB_")
    )
    keys = pair_keys(noisy, clean, f"{folder} (NOISY)", f"{folder} (GT)")

    def picture(name: str) -> Picture:
        return Picture(Path(store.where(name)), store.size(name))

    return equal_pairs([Pair(lmdb_key(key), picture(noisy[key]), picture(clean[key])) for key in keys])


def _blocks(source: Path) -> list[Pair]:
    paths = [source / f"{variable}.mat" for variable in VARIABLES]
    present = [path.is_file() for path in paths]
    if not any(present):
        return []
    if not all(present):
        raise InputError(f"{paths[present.index(False)]} is missing; SIDD's validation needs both .mat files")
    shapes = [load_blocks(path, variable).shape for path, variable in zip(paths, VARIABLES, strict=True)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{paths[0]} is {shapes[0]} and {paths[1]} is {shapes[1]}; expected equal shapes, copy them again"
        )
    scenes, blocks, height, width, _ = shapes[0]
    noisy, clean = (
        [Picture(path, (height, width), variable, (s, b)) for s in range(scenes) for b in range(blocks)]
        for path, variable in zip(paths, VARIABLES, strict=True)
    )
    keys = [f"{scene:02d}_{block:02d}" for scene in range(scenes) for block in range(blocks)]
    return [Pair(*row) for row in zip(keys, noisy, clean, strict=True)]


DATASET = Dataset(
    name="sidd",
    title="SIDD",
    description=DESCRIPTION,
    discover=discover,
    splits=("train", "val", "test"),
    marks=(
        "val/input",
        "test/input",
        *(f"{above}*/*_{side}_SRGB_*" for above in ("", "Data/", "SIDD_Medium_Srgb/Data/") for side in ("NOISY", "GT")),
        *(f"{variable}.mat" for variable in VARIABLES),
    ),
    options_file="options/train_MPRNet_Denoise.yml",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(DATASET, argv, random_patches=True)


def cli() -> None:
    """Console entry point."""
    run_command(main)


if __name__ == "__main__":
    cli()
