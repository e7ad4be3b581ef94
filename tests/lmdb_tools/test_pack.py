from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import types
from collections import deque
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import h5py
import lmdb
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from lmdb_tools import decoders, gopro, pack, sidd
from lmdb_tools.codec import PackOptions
from lmdb_tools.manifest import read_manifest
from lmdb_tools.verify import check_database, check_pair
from lmdb_tools.writer import Database, locked
from mprnet_plugin.data.decoding import decode_rgb
from mprnet_plugin.data.stores import LmdbStore
from mprnet_plugin.errors import InputError

REMOVED = "torchvision.transforms.functional_tensor"


def picture(seed: int, height: int = 40, width: int = 56) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(5):
        for offset, side in enumerate(("input", "target")):
            path = tmp_path / "source" / "train" / side / f"s{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), picture(number + 10 * offset)[..., ::-1])
    return tmp_path / "source"


def run(source: Path, output: Path, *more: str) -> int:
    return gopro.main(["--source", str(source), "--output", str(output), "--workers", "2", *more])


def content(root: Path) -> dict[str, bytes]:
    store = LmdbStore(root)
    return {key: bytes(store.raw(key)) for key in sorted(store.keys())}


def both(output: Path) -> list[dict[str, bytes]]:
    return [content(output / f"train_{side}.lmdb") for side in ("input", "target")]


def visible(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir() if not path.name.startswith("."))


def problems(output: Path) -> list[str]:
    roots = sorted(output.glob("*.lmdb"))
    return [line for root in roots for line in [*check_database(root), *check_pair(root)]]


def stock_dataset(input_root: Path, target_root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The released host's dataset; the host asks for a module that torchvision removed."""
    shim: Any = types.ModuleType(REMOVED)
    shim.rgb_to_grayscale = None
    monkeypatch.setitem(sys.modules, REMOVED, shim)
    from basicsr.data.paired_image_dataset import PairedImageDataset

    return PairedImageDataset(
        {
            "phase": "val",
            "scale": 1,
            "io_backend": {"type": "lmdb"},
            "dataroot_lq": str(input_root),
            "dataroot_gt": str(target_root),
        }
    )


@pytest.mark.parametrize("storage", ["ppm", "png", "copy"])
def test_the_stock_host_reads_every_form(
    source: Path, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    assert run(source, output, "--storage", storage) == 0
    assert problems(output) == []
    dataset = stock_dataset(output / "train_input.lmdb", output / "train_target.lmdb", monkeypatch)
    assert len(dataset) == 5
    names = ["s0/0", "s0/2", "s0/4", "s1/1", "s1/3"]
    for index, name in enumerate(names):
        sample = dataset[index]
        assert sample["lq_path"] == name
        number = int(name[-1])
        for side, seed in (("lq", number), ("gt", number + 10)):
            expected = picture(seed).transpose(2, 0, 1).astype(np.float32) / 255
            np.testing.assert_array_equal(sample[side].numpy(), expected)


def test_manifest_and_meta_info(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    root = tmp_path / "out" / "train_input.lmdb"
    manifest = read_manifest(root)
    assert manifest.count == 5
    assert manifest.bytes == sum(len(value) for value in content(root).values())
    assert manifest.entries["s1/3"].shape == (40, 56, 3)
    assert (root / "meta_info.txt").read_text().splitlines()[0] == "s0/0.png (40,56,3) 1"
    assert sorted(path.name for path in root.iterdir()) == ["data.mdb", "manifest.json", "meta_info.txt"]


def test_patches(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run(source, tmp_path / "out", "--patch-size", "32", "--stride", "16")
    inputs, targets = both(tmp_path / "out")
    assert list(inputs) == list(targets)
    assert len(inputs) == 5 * 2 * 3
    np.testing.assert_array_equal(decode_rgb(inputs["s1/3_s005"], "x"), picture(3)[8:40, 16:48])
    np.testing.assert_array_equal(decode_rgb(targets["s1/3_s005"], "x"), picture(13)[8:40, 16:48])
    assert "train: 30 pairs of patches cut from 5 pairs of images" in caplog.text


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


def test_special_files_as_sources_are_refused_at_once(source: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        for side in ("input", "target"):
            path = source / "train" / side / name
            if name == "a.png":
                os.mkfifo(path)
            else:
                path.symlink_to("/dev/zero")
        line = [sys.executable, "-m", "lmdb_tools.gopro", "--source", str(source), "--output", str(tmp_path / "out")]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"error: {source / 'train' / 'input' / name}: cannot be read")
        for side in ("input", "target"):
            (source / "train" / side / name).unlink()


def test_a_place_that_cannot_be_written(source: Path) -> None:
    line = [sys.executable, "-m", "lmdb_tools.gopro", "--source", str(source), "--output", "/proc/out"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: /proc/out cannot be written")


def test_memory_does_not_grow_with_a_reader_that_waits(source: Path, tmp_path: Path) -> None:
    """A decoding process that nobody reads from stops: what it may send ahead is the pipe's buffer."""
    (split,) = gopro.discover(source)
    jobs = [decoders.Job(pair.key, pair.input, 0) for pair in split.pairs] * 200
    for job in jobs:
        assert job.picture.path.is_file()
    with decoders.decoders(jobs, PackOptions(), 1) as results:
        first = next(next(results))
        assert len(first.data) > 40 * 56 * 3
        time.sleep(1)
        for pair in split.pairs:
            pair.input.path.unlink()  # what was not decoded yet cannot be any more
        with pytest.raises(InputError, match="cannot be read"):
            deque(chain.from_iterable(results), maxlen=0)


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


def test_damaged_partial_starts_anew(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(source, output)
    reference = both(output)
    for side in ("input", "target"):
        root = output / f"train_{side}.lmdb"
        plan = read_manifest(root).plan
        (root / "manifest.json").unlink()
        partial = root.rename(output / f".train_{side}.partial")
        (partial / "plan").write_text(plan)
        (partial / "journal.jsonl").write_text('["s0/0", 1')  # fewer lines than values
    assert run(source, output) == 0
    assert both(output) == reference


def test_second_run_at_the_same_time(source: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "out"), pytest.raises(InputError, match="another run is packing into"):
        run(source, tmp_path / "out")
    assert run(source, tmp_path / "out") == 0


def test_killed_decoder_is_an_error(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_decode", os._exit)
    with pytest.raises(InputError, match="a decoding process ended"):
        pack_in_process(source, tmp_path / "out")


def pack_in_process(source: Path, output: Path) -> None:
    (split,) = gopro.discover(source)
    output.mkdir()
    pack.pack_split(split, output, PackOptions(), 1, overwrite=False)


def test_target_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run(source, tmp_path / "file" / "out")


def test_too_little_room_is_said_before(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"0\.00 GB free, train needs 0\.00 GB more"):
        run(source, tmp_path / "out")


def test_dry_run_writes_nothing(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert run(source, tmp_path / "out", "--dry-run") == 0
    assert "5 pairs of images" in caplog.text
    assert not (tmp_path / "out").exists()


def test_published_count(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(source, tmp_path / "out", "--dry-run")
    assert "train: 5 pairs, published are 2103" in caplog.text
    with pytest.raises(InputError, match="leave out --strict"):
        run(source, tmp_path / "out", "--strict")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--level", "10"], "--level 10 is out of range; expected 0 to 9"),
        (["--workers", "0"], "--workers 0"),
        (["--patch-size", "32", "--stride", "33"], "--stride 33 is out of range; expected 1 to 32"),
        (["--patch-size", "32", "--storage", "copy"], "copy keeps whole files"),
    ],
)
def test_bad_options(source: Path, tmp_path: Path, options: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(source, tmp_path / "out", *options)


def test_summary_names_the_next_command(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run(source, tmp_path / "out")
    assert "train: 5 pairs of images" in caplog.text
    assert "python -m basicsr.train -opt options/train_MPRNet_Deblur.yml" in caplog.text


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_sidd_blocks_of_both_versions(tmp_path: Path, version: str) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6, 3), np.uint8)
    for variable, values in zip(sidd.VARIABLES, (blocks, 255 - blocks), strict=True):
        if version == "5":
            scipy.io.savemat(tmp_path / f"{variable}.mat", {variable: values})
        else:
            with h5py.File(tmp_path / f"{variable}.mat", "w", userblock_size=512) as file:
                file[variable] = values.T
    assert sidd.main(["--source", str(tmp_path), "--output", str(tmp_path / "out"), "--storage", "copy"]) == 0
    noisy, clean = (LmdbStore(tmp_path / "out" / f"val_{side}.lmdb") for side in ("input", "target"))
    np.testing.assert_array_equal(noisy.read("01_02"), blocks[1, 2])
    np.testing.assert_array_equal(clean.read("01_02"), 255 - blocks[1, 2])


def test_random_patches_are_cut_alike(tmp_path: Path) -> None:
    image = picture(1, 300, 320)
    for side in ("NOISY", "GT"):
        (tmp_path / "Data" / "s").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "Data" / "s" / f"1_{side}_SRGB_010.PNG"), image[..., ::-1])
    sidd.main(["--source", str(tmp_path), "--output", str(tmp_path / "out"), "--random-patches", "7", "--seed", "3"])
    inputs, targets = both(tmp_path / "out")
    assert list(inputs) == [f"s/1_010_s00{number}" for number in range(1, 8)]
    assert inputs == targets
    assert len(set(inputs.values())) > 1
    assert decode_rgb(inputs["s/1_010_s001"], "x").shape == (256, 256, 3)


def test_the_command_as_typed(source: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lmdb_tools.gopro", "--source", str(source), "--output", str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*line, "--storage", "png"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_no_torch() -> None:
    code = (
        "import sys, lmdb_tools.sidd, lmdb_tools.info, lmdb_tools.verify, json; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" not in json.loads(done.stdout)
