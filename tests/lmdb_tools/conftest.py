"""Good databases, to be damaged by tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmdb_tools import gopro
from tests.lmdb_tools.packing import picture


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    for number in range(3):
        for side in ("input", "target"):
            path = root / "source" / "train" / side / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng(number).integers(0, 256, (40, 56, 3), np.uint8)
            assert cv2.imwrite(str(path), image)
    assert gopro.main(["--source", str(root / "source"), "--output", str(root / "out"), "--workers", "1"]) == 0
    return root / "out"


@pytest.fixture
def output(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "out"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(5):
        for offset, side in enumerate(("input", "target")):
            path = tmp_path / "source" / "train" / side / f"s{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), picture(number + 10 * offset)[..., ::-1])
    return tmp_path / "source"
