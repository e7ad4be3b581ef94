"""Mutated databases: each gets a verdict, and nothing else happens. More of them: MPRNET_HOSTILE_DATABASES=2000."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lmdb_tools import gopro
from tests.lmdb_tools.hostile import make, write

COUNT = int(os.environ.get("MPRNET_HOSTILE_DATABASES", "165"))
SCRIPT = Path(__file__).with_name("hostile.py")
ROOT = Path(__file__).parents[2]
MEMORY = 1_500_000_000
TYPED = (3, 6, 7, 8, 10)  # which of them real commands are given too


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good databases: pairs of raw pictures, of PNGs in a tree of pages, and without manifest."""
    root = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    for number in range(3):
        for side in ("input", "target"):
            path = root / "source" / "train" / side / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), rng.integers(0, 256, (40, 56, 3), np.uint8))
    for name, options in (("raw", []), ("png", ["--storage", "png", "--patch-size", "8", "--stride", "4"])):
        line = ["--source", str(root / "source"), "--output", str(root / "bases" / name), "--workers", "1"]
        assert gopro.main([*line, *options]) == 0
    values = {f"s/{number}": cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes() for number in range(150)}
    (root / "bases" / "host").mkdir()
    write(root / "bases" / "host" / "train.lmdb", values, (8, 8))
    return root


def tree(folder: Path) -> dict[str, int]:
    """Return every file below a folder but those of the database at hand, with its time."""
    files = (path for path in folder.rglob("*") if not {"place", "sheets"} & set(path.relative_to(folder).parts))
    return {str(path): path.lstat().st_mtime_ns for path in files}


def judged(folder: Path) -> list[dict[str, Any]]:
    """Run the script, which gives every database to both commands in its one process."""
    line = [sys.executable, str(SCRIPT), str(folder), "0", str(COUNT)]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])
    return [row for line in done.stdout.splitlines() if "verify" in (row := json.loads(line))]


def test_every_database_gets_a_verdict(folder: Path) -> None:
    before = tree(folder)
    rows = judged(folder)
    assert len(rows) == COUNT
    bad = [row for row in rows if row["verify"] not in ("0", "1") or row["info"] not in ("0", "1")]
    assert bad == []
    silent = [
        row
        for row in rows
        if "1" in (row["verify"], row["info"]) and "BAD  " not in row["verify_says"] + row["info_says"]
    ]
    assert silent == []
    assert tree(folder) == before  # nothing written outside
    assert all(path.suffix == ".png" for path in (folder / "sheets").iterdir())
    assert max(row["peak"] for row in rows) < MEMORY
    assert max(row["seconds"] for row in rows) < 100  # no hang, however busy the machine is
    sys.stdout.write(f"{Counter((row['mutation'], row['verify'], row['info']) for row in rows)}\n")


@pytest.mark.parametrize("number", TYPED)
def test_the_commands_as_typed(folder: Path, number: int) -> None:
    place = folder / "typed"
    make(folder / "bases", number, place)
    for command in (["verify"], ["info", "--sheet", str(folder / "sheets2")]):
        done = subprocess.run(
            [sys.executable, "-m", f"lmdb_tools.{command[0]}", *command[1:], str(place)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode in (0, 1)
        assert done.stderr == ""
        assert (done.returncode == 1) == ("BAD  " in done.stdout)
