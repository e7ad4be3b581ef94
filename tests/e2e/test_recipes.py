"""The options that we ship, scaled down by overrides alone, on small data in the prepared layouts."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from tests.helpers import ROOT, run, torchrun, write_pairs

pytestmark = pytest.mark.slow

OPTIONS = ROOT / "options"
SMALL = [f"network_g:{key}={value}" for key, value in (("n_feat", 8), ("scale_unetfeats", 4), ("scale_orsnetfeats", 4))]
TRAIN = [
    *SMALL,
    "datasets:train:gt_size=32",
    "datasets:train:batch_size=4",
    "datasets:train:num_worker_per_gpu=0",
    "datasets:train:persistent_workers=false",
    "train:total_iter=6",
    "val:val_freq=3",
    "logger:print_freq=1",
    "logger:save_checkpoint_freq=3",
]


def write_blocks(folder: Path) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (2, 2, 32, 32, 3), np.uint8)
    for name in ("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb"):
        scipy.io.savemat(folder / f"{name}.mat", {name: blocks})


def write_dnd(folder: Path) -> None:
    (folder / "images_srgb").mkdir(parents=True)
    with h5py.File(folder / "info.mat", "w") as file:
        boxes = file.create_dataset("#refs#/a", data=np.array([[1.0, 1, 16, 24], [2, 3, 18, 26]]).T)
        file.create_dataset("info/boundingboxes", (1, 1), h5py.ref_dtype)[0, 0] = boxes.ref
    with h5py.File(folder / "images_srgb/0001.mat", "w") as file:
        file["InoisySRGB"] = np.random.default_rng(0).random((3, 40, 32), np.float32)


def check(folder: Path, *command: str) -> str:
    done = run(folder, *command)
    assert done.returncode == 0, done.stderr
    return done.stderr


def train(folder: Path, name: str, *overrides: str) -> None:
    log = check(folder, "basicsr.train", "-opt", str(OPTIONS / name), "--force_yml", *TRAIN, *overrides)
    assert "nan" not in log
    assert "Validation" in log


def rows(folder: Path, name: str, table: str = "table.csv") -> list[dict[str, str]]:
    with (folder / "results" / name / table).open() as file:
        return list(csv.DictReader(file))


def test_deblur(tmp_path: Path) -> None:
    write_pairs(tmp_path / "datasets/GoPro/train", 4)
    write_pairs(tmp_path / "datasets/GoPro/test", 2)
    check(tmp_path, "lmdb_tools.gopro", "--source", "datasets/GoPro", "--output", "datasets/GoPro_lmdb")
    train(tmp_path, "train_MPRNet_Deblur.yml")
    check(tmp_path, "basicsr.test", "-opt", str(OPTIONS / "test_MPRNet_Deblur.yml"), "--force_yml", *SMALL)
    (line,) = rows(tmp_path, "test_MPRNet_Deblur")
    assert (line["dataset"], line["protocol"], line["published_psnr"]) == ("GoPro", "gopro", "32.66")


def test_denoise_up_to_the_mat_files(tmp_path: Path) -> None:
    write_pairs(tmp_path / "datasets/SIDD/train", 4)
    write_pairs(tmp_path / "datasets/SIDD/val", 2)
    check(tmp_path, "lmdb_tools.sidd", "--source", "datasets/SIDD", "--output", "datasets/SIDD_lmdb")
    train(tmp_path, "train_MPRNet_Denoise.yml", "train:mixup:start_iter=3")
    write_blocks(tmp_path / "datasets/SIDD")
    check(tmp_path, "basicsr.test", "-opt", str(OPTIONS / "test_MPRNet_Denoise.yml"), "--force_yml", *SMALL)
    (line,) = rows(tmp_path, "test_MPRNet_Denoise")
    assert (line["dataset"], line["images"], line["published_psnr"]) == ("SIDD", "4", "39.71")
    write_dnd(tmp_path / "datasets/DND")
    dnd = ("basicsr.test", "-opt", str(OPTIONS / "test_MPRNet_Denoise_DND.yml"))
    check(tmp_path, *dnd, "--force_yml", *SMALL)
    two = torchrun(tmp_path, *dnd, "--launcher", "pytorch", "--force_yml", *SMALL, "name=two")
    assert two.returncode == 0, two.stderr
    for name in ("test_MPRNet_Denoise_DND", "two"):
        (file,) = (tmp_path / "results" / name / "DND_submission").iterdir()
        cells = scipy.io.loadmat(file)["Idenoised"]
        assert [cell.shape for cell in cells[0]] == [(16, 24, 3), (17, 24, 3)]
        assert not np.allclose(cells[0, 0] * 255, np.rint(cells[0, 0] * 255), atol=1e-3)


def test_derain_gives_one_table_for_any_number_of_processes(tmp_path: Path) -> None:
    data = tmp_path / "datasets/Synthetic_Rain_Datasets"
    write_pairs(data / "train", 4)
    write_pairs(data / "test/Rain100L", 3)
    write_pairs(data / "test/Test100", 1)  # fewer images than processes
    source = ("--source", "datasets/Synthetic_Rain_Datasets", "--output", "datasets/Rain13k_lmdb")
    check(tmp_path, "lmdb_tools.rain13k", *source)
    train(tmp_path, "train_MPRNet_Derain.yml")
    test = ("basicsr.test", "-opt", str(OPTIONS / "test_MPRNet_Derain.yml"))
    check(tmp_path, *test, "--force_yml", *SMALL)
    two = torchrun(tmp_path, *test, "--launcher", "pytorch", "--force_yml", *SMALL, "name=two")
    assert two.returncode == 0, two.stderr
    lines = rows(tmp_path, "test_MPRNet_Derain")
    assert [line["dataset"] for line in lines] == ["Test100", "Rain100L", "average"]
    assert lines == rows(tmp_path, "two")
    assert rows(tmp_path, "test_MPRNet_Derain", "images.csv") == rows(tmp_path, "two", "images.csv")
    assert float(lines[2]["psnr"]) == pytest.approx((float(lines[0]["psnr"]) + float(lines[1]["psnr"])) / 2)


def test_realblur_beside_gopro(tmp_path: Path) -> None:
    write_pairs(tmp_path / "datasets/GoPro/train", 2)
    write_pairs(tmp_path / "datasets/RealBlur/RealBlur_J/train", 4)
    write_pairs(tmp_path / "datasets/RealBlur/RealBlur_J/test", 1)
    check(tmp_path, "lmdb_tools.gopro", "--source", "datasets/GoPro", "--output", "datasets/GoPro_lmdb")
    check(tmp_path, "lmdb_tools.realblur", "--source", "datasets/RealBlur", "--output", "datasets/RealBlur_lmdb")
    train(tmp_path, "train_MPRNet_RealBlur.yml")
    check(tmp_path, "basicsr.test", "-opt", str(OPTIONS / "test_MPRNet_RealBlur.yml"), "--force_yml", *SMALL)
    (line,) = rows(tmp_path, "test_MPRNet_RealBlur")
    assert (line["dataset"], line["protocol"], line["published_psnr"]) == ("RealBlur-J", "realblur", "28.7")
