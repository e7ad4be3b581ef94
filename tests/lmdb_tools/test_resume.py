from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest

from lmdb_tools import pack
from lmdb_tools.manifest import read_manifest
from lmdb_tools.writer import Database, locked
from mprnet_plugin.data.stores import LmdbStore
from mprnet_plugin.errors import InputError
from tests.lmdb_tools.packing import both, picture, problems, run, visible


def test_complete_output_is_left_alone(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output = tmp_path / "out"
    run(source, output)
    before = {path: path.stat().st_ino for path in output.rglob("*")}
    caplog.set_level(logging.INFO)
    assert run(source, output) == 0
    assert "train is complete already, left alone" in caplog.text
    assert {path: path.stat().st_ino for path in output.rglob("*")} == before
    with pytest.raises(InputError, match=r"other files or with other options; give --overwrite"):
        run(source, output, "--storage", "png")
    assert {path: path.stat().st_ino for path in output.rglob("*")} == before


def test_overwrite_replaces_both(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(source, output)
    assert run(source, output, "--storage", "png", "--overwrite") == 0
    assert all(value.startswith(b"\x89PNG") for side in both(output) for value in side.values())
    assert sorted(path.name for path in output.iterdir()) == ["train_input.lmdb", "train_target.lmdb"]


def test_foreign_database_is_left_alone(source: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "out" / "train_target.lmdb"
    foreign.mkdir(parents=True)
    (foreign / "data.mdb").write_text("mine")
    with pytest.raises(InputError, match="was not made by lmdb_tools"):
        run(source, tmp_path / "out")
    assert (foreign / "data.mdb").read_text() == "mine"


def test_goes_on_after_a_corrupt_source(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is visible and what was written is kept; the mended source is then the only plan that differs."""
    monkeypatch.setattr(pack, "_BATCH_BYTES", 1)
    output, bad = tmp_path / "out", source / "train" / "target" / "s1" / "1.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-30])
    with pytest.raises(InputError, match=r"target/s1/1\.png cannot be decoded"):
        run(source, output)
    assert visible(output) == []
    bad.write_bytes(whole)
    assert run(source, output) == 0
    assert problems(output) == []


def test_resumes_in_the_middle_of_a_picture(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails after some batches, as on a full disk; the second run writes only the rest."""
    monkeypatch.setattr(pack, "_BATCH_BYTES", 1)
    patches = ("--patch-size", "32", "--stride", "16")
    run(source, tmp_path / "reference", *patches)
    output = tmp_path / "out"
    real = Database.write
    written: list[int] = []

    def failing(self: Database, batch: Any) -> None:
        if len(written) == 8:
            self._journal(batch)  # as where the journal is on the disk and the commit fails
            raise OSError(28, "No space left on device")
        written.append(len(batch))
        real(self, batch)

    monkeypatch.setattr(Database, "write", failing)
    with pytest.raises(InputError, match="No space left on device"):
        run(source, output, *patches)
    assert visible(output) == []
    counted: list[int] = []

    def counting(self: Database, batch: Any) -> None:
        counted.append(len(batch))
        real(self, batch)

    monkeypatch.setattr(Database, "write", counting)
    assert run(source, output, *patches) == 0
    assert sum(written) == 8
    assert sum(counted) == 60 - 8
    assert both(output) == both(tmp_path / "reference")
    assert problems(output) == []


def test_identity_is_the_files_not_how_their_path_was_typed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that stopped half way, typed with a relative path, goes on by the absolute one and from another folder."""
    monkeypatch.setattr(pack, "_BATCH_BYTES", 1)
    real, written = Database.write, 0

    def failing(self: Database, batch: Any) -> None:
        nonlocal written
        if written == 7:
            raise OSError(28, "No space left on device")
        written += len(batch)
        real(self, batch)

    monkeypatch.setattr(Database, "write", failing)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="No space left"):
        run(Path("source"), Path("out"))
    moved = source.rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(moved)
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    counted = 0

    def counting(self: Database, batch: Any) -> None:
        nonlocal counted
        counted += len(batch)
        real(self, batch)

    monkeypatch.setattr(Database, "write", counting)
    assert run(tmp_path / "link", tmp_path / "out") == 0
    assert counted == 10 - 7
    assert run(Path("../elsewhere"), Path("../out")) == 0
    assert counted == 10 - 7
    assert problems(tmp_path / "out") == []


def test_full_disk_says_what_is_free(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Database, batch: Any) -> None:
        raise lmdb.Error("mdb_txn_commit: Input/output error")

    monkeypatch.setattr(Database, "write", full)
    with pytest.raises(InputError, match=r"Input/output error, \d+ MB free; make room and type the same command"):
        run(source, tmp_path / "out")
    assert visible(tmp_path / "out") == []


def test_a_changed_source_starts_anew(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "_BATCH_BYTES", 1)
    output, bad = tmp_path / "out", source / "train" / "target" / "s1" / "3.png"
    whole = bad.read_bytes()
    bad.write_bytes(b"x" + whole[1:])
    with pytest.raises(InputError):
        run(source, output)
    bad.write_bytes(whole)
    changed = source / "train" / "input" / "s0" / "0.png"
    cv2.imwrite(str(changed), picture(99)[..., ::-1])
    run(source, output)
    np.testing.assert_array_equal(LmdbStore(output / "train_input.lmdb").read("s0/0"), picture(99))


@pytest.mark.parametrize("damage", ["journal", "pages"])
def test_damaged_partial_starts_anew(source: Path, tmp_path: Path, damage: str) -> None:
    output = tmp_path / "out"
    run(source, output)
    reference = both(output)
    for side in ("input", "target"):
        root = output / f"train_{side}.lmdb"
        plan = read_manifest(root).plan
        manifest = (root / "manifest.json").read_text()
        (root / "manifest.json").unlink()
        partial = root.rename(output / f".train_{side}.partial")
        (partial / "plan").write_text(plan)
        rows = json.loads(manifest)["entries"] if damage == "pages" else []
        (partial / "journal.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '["s0/0", 1')
        if damage == "pages":
            os.truncate(partial / "data.mdb", 9000)
    assert run(source, output) == 0
    assert both(output) == reference


def test_second_run_at_the_same_time(source: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "out"), pytest.raises(InputError, match="another run is packing into"):
        run(source, tmp_path / "out")
    assert run(source, tmp_path / "out") == 0
