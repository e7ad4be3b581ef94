"""Which dataset a folder is, and which folder beside a wrong one is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lmdb_tools import gopro, rain13k, realblur, sidd
from lmdb_tools.sources import PACKERS
from mprnet_plugin.errors import InputError
from tests.helpers import ROOT

LAYOUTS = {
    "gopro_prepared": ("{split}/{side}/a.png", ("train", "test"), ("input", "target")),
    "gopro_original": ("{split}/GOPR1/{side}/a.png", ("train", "test"), ("blur", "sharp")),
    "sidd_prepared": ("{split}/{side}/a.png", ("train", "val"), ("input", "target")),
    "sidd_original": ("{split}/s/1_{side}_SRGB_010.PNG", ("Data",), ("NOISY", "GT")),
    "realblur": ("{split}/{side}/a.png", ("RealBlur_J/train", "RSBlur/test"), ("input", "target")),
    "rain": ("{split}/{side}/a.png", ("train", "test/Test100", "test/Rain100L"), ("input", "target")),
}


def make(root: Path, layout: str) -> Path:
    pattern, splits, sides = LAYOUTS[layout]
    for split in splits:
        for side in sides:
            path = root / pattern.format(split=split, side=side)
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), np.zeros((8, 12, 3), np.uint8))
    return root


def dry_run(module: Any, source: Path | str) -> int:
    return int(module.main(["--source", str(source), "--output", "/nonexistent/out", "--dry-run"]))


@pytest.mark.parametrize(
    ("module", "layout"),
    [
        (gopro, "gopro_prepared"),
        (gopro, "gopro_original"),
        (sidd, "sidd_prepared"),
        (sidd, "sidd_original"),
        (realblur, "realblur"),
        (rain13k, "rain"),
    ],
)
def test_own_folders_are_accepted_and_right_ones_beside_found(tmp_path: Path, module: Any, layout: str) -> None:
    root = make(tmp_path / "sets" / "mine", layout)
    assert dry_run(module, root) == 0
    make(tmp_path / "sets" / "another", "rain" if module is not rain13k else "sidd_original")
    for wrong in (root.parent, root / "train", *root.glob("train/*"), *root.glob("Data/s")):
        if wrong.is_dir():
            with pytest.raises(InputError, match=rf"holds no \w+, but {root}\S* does; give --source {root}"):
                dry_run(module, wrong)


@pytest.mark.parametrize(
    ("module", "layout", "says"),
    [
        (gopro, "sidd_prepared", r"looks like SIDD, not GoPro: it holds val/input; .* lmdb_tools\.sidd"),
        (gopro, "sidd_original", r"looks like SIDD, not GoPro: it holds Data/s/1_NOISY"),
        (gopro, "rain", r"looks like Rain13k, not GoPro: it holds test/Test100"),
        (sidd, "gopro_original", r"looks like GoPro, not SIDD"),
        (sidd, "rain", r"looks like Rain13k, not SIDD"),
        (rain13k, "sidd_prepared", r"looks like SIDD, not Rain13k"),
        (rain13k, "gopro_prepared", r"looks like GoPro, not Rain13k"),
    ],
)
def test_folders_of_other_datasets_are_refused(tmp_path: Path, module: Any, layout: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        dry_run(module, make(tmp_path, layout))


def test_a_relative_source_one_level_too_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "GoPro", "gopro_original")
    monkeypatch.chdir(root / "train")
    with pytest.raises(InputError, match=rf"give --source {root}"):
        dry_run(gopro, ".")


@pytest.mark.parametrize("module", [gopro, sidd, rain13k])
def test_no_folder(tmp_path: Path, module: Any) -> None:
    with pytest.raises(InputError, match=r"--source .*/nothing is no folder"):
        dry_run(module, tmp_path / "nothing")


def test_an_unknown_home_folder_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        dry_run(gopro, "~nosuchuser/GoPro")
    assert "'~nosuchuser/GoPro' names a home folder that is not known" in capsys.readouterr().err


def test_the_list_of_packers_is_that_of_the_modules() -> None:
    modules = (ROOT / "lmdb_tools").glob("*.py")
    assert {path.stem for path in modules if "\nDATASET = " in path.read_text(encoding="utf-8")} == set(PACKERS)
