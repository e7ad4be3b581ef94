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
import numpy as np
import pytest
import scipy.io

from lmdb_tools import decoders, gopro, pack, sidd
from lmdb_tools.codec import PackOptions
from lmdb_tools.manifest import read_manifest
from mprnet_plugin.data.decoding import decode_rgb
from mprnet_plugin.data.stores import LmdbStore
from mprnet_plugin.errors import InputError
from tests.lmdb_tools.packing import both, content, picture, problems, run

REMOVED = "torchvision.transforms.functional_tensor"


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
