"""Figures and pictures of the README are those that scripts/readme_pictures.py made."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import pytest

from mprnet_plugin.metrics import psnr_rgb
from mprnet_plugin.tasks import TASKS
from tests.docs.pages import read
from tests.helpers import ROOT

RECORDS: dict[str, dict[str, Any]] = json.loads(read("docs/before_after.json"))
LARGEST = 120_000


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("readme_pictures")


def test_every_task_has_a_picture_that_a_phone_can_load() -> None:
    assert set(RECORDS) == {task.short for task in TASKS.values()}
    for task in RECORDS:
        path = ROOT / "docs" / f"before_after_{task}.jpg"
        assert path.stat().st_size <= LARGEST
        image = cv2.imread(str(path))
        assert image is not None
        assert image.shape[1] == 900


def test_the_readme_says_what_was_measured(script: ModuleType) -> None:
    assert script.BLOCK.search(read("README.md")).group().strip() == script.block(RECORDS).strip()
    for record in RECORDS.values():
        assert f"{record['psnr_before']:.1f} to {record['psnr_after']:.1f} dB" in read("README.md")


def test_pictures_show_what_was_scored(script: ModuleType) -> None:
    """The left half is as bad as is said, below its label; JPEG takes a little of the noise."""
    for task, record in RECORDS.items():
        degraded, sharp = script.make_pair(script.SCENES[task])
        assert psnr_rgb(degraded, sharp) == pytest.approx(record["psnr_before"], abs=0.05)
        shown = cv2.imread(str(ROOT / "docs" / f"before_after_{task}.jpg"))
        assert shown is not None
        below = slice(40, None)
        left = shown[below, : degraded.shape[1], ::-1]
        assert psnr_rgb(left, sharp[below]) == pytest.approx(psnr_rgb(degraded[below], sharp[below]), abs=1.5)


@pytest.mark.slow
def test_the_script_gives_them_again(script: ModuleType, tmp_path: Path) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    (tmp_path / "docs").mkdir()
    assert script.main(["--root", str(tmp_path)]) == 0
    again = json.loads((tmp_path / "docs" / "before_after.json").read_text())
    for task, record in RECORDS.items():
        assert again[task]["psnr_after"] == pytest.approx(record["psnr_after"], abs=0.05)  # kernels differ in rounding
        assert (tmp_path / "docs" / f"before_after_{task}.jpg").is_file()
