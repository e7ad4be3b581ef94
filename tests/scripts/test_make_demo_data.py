"""Demo data: layouts, physics of the degradations, reproducibility, and what it does to data that is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo_data import folders, photographs
from demo_data.folders import RECORD, Settings, make_demo_data
from mprnet_plugin.data.paired_dataset import PairedRestorationDataset
from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS
from tests.helpers import ROOT

SCRIPT = ROOT / "scripts" / "make_demo_data.py"
DENOISING = [TASKS["Denoising"]]
SMALL = Settings(seed=3, size=64, train=10, test=3)
SETS = [
    *("GoPro/train", "GoPro/test", "SIDD/train", "SIDD/val"),
    *(
        f"Synthetic_Rain_Datasets/{name}"
        for name in ("train", *(f"test/{part}" for part in ("Test100", "Rain100H", "Rain100L", "Test1200", "Test2800")))
    ),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo_data(folder, list(TASKS.values()), SMALL, previews=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("folder", SETS)
def test_layout_is_what_the_dataset_reads(made: Path, folder: str) -> None:
    roots = {"dataroot_lq": str(made / folder / "input"), "dataroot_gt": str(made / folder / "target")}
    dataset = PairedRestorationDataset({**roots, "phase": "val"})
    assert len(dataset) == (SMALL.train if folder.endswith("train") else SMALL.test)
    assert dataset[0]["lq"].shape == dataset[0]["gt"].shape == (3, 64, 64)
    assert not np.array_equal(dataset[0]["lq"], dataset[0]["gt"])


def test_train_and_test_never_share_a_photograph(made: Path) -> None:
    for task in TASKS.values():
        record = json.loads((made / task.data / RECORD).read_text())["photographs"]
        train = set(record.pop("train").values())
        assert len(train) == SMALL.train
        for pictures in record.values():
            assert pictures
            assert not train & set(pictures.values())


def test_equal_settings_give_equal_bytes_whatever_the_tasks(made: Path, tmp_path: Path) -> None:
    make_demo_data(tmp_path, DENOISING, SMALL)
    assert contents(tmp_path / "SIDD") == contents(made / "SIDD")


def test_another_seed_gives_other_pictures(made: Path, tmp_path: Path) -> None:
    make_demo_data(tmp_path, DENOISING, Settings(seed=4, size=64, train=1, test=1))
    name = "SIDD/val/input/chelsea_01.png"
    assert (tmp_path / name).read_bytes() != (made / name).read_bytes()


def test_previews(made: Path) -> None:
    assert sorted(path.name for path in (made / "previews").iterdir()) == ["deblur.png", "denoise.png", "derain.png"]
    preview = cv2.imread(str(made / "previews" / "denoise.png"))
    assert preview is not None
    assert preview.shape == (3 * (64 + 24), 2 * 64, 3)


def test_what_is_there_with_equal_settings_is_kept(made: Path) -> None:
    before = (made / "SIDD" / RECORD).stat().st_mtime_ns
    make_demo_data(made, DENOISING, SMALL)
    assert (made / "SIDD" / RECORD).stat().st_mtime_ns == before


def test_other_settings_need_overwrite(tmp_path: Path) -> None:
    one, two = Settings(size=64, train=1, test=1), Settings(size=64, train=2, test=1)
    make_demo_data(tmp_path, DENOISING, one)
    with pytest.raises(InputError, match="--overwrite"):
        make_demo_data(tmp_path, DENOISING, two)
    make_demo_data(tmp_path, DENOISING, two, overwrite=True)
    assert len(list((tmp_path / "SIDD/train/input").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["SIDD"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["precious.png", RECORD])
def test_other_data_is_never_touched(tmp_path: Path, overwrite: bool, name: str) -> None:
    (tmp_path / "SIDD").mkdir()
    (tmp_path / "SIDD" / name).write_bytes(b"{}")
    with pytest.raises(InputError, match="no demo data"):
        make_demo_data(tmp_path, DENOISING, SMALL, overwrite=overwrite)
    assert contents(tmp_path) == {f"SIDD/{name}": b"{}"}


def test_nothing_is_left_behind_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, image: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "write_png", full)
    with pytest.raises(InputError, match="No space left"):
        make_demo_data(tmp_path, DENOISING, SMALL)
    assert list(tmp_path.iterdir()) == []


def write_photograph(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8))


def test_photographs_of_ones_own_join_for_training_and_replace_for_testing(tmp_path: Path) -> None:
    write_photograph(tmp_path / "own" / "train" / "sea.png", 100, 150)
    write_photograph(tmp_path / "own" / "test" / "hill.jpg", 120, 90)
    settings = Settings(size=64, train=11, test=2, photographs=str(tmp_path / "own"))
    make_demo_data(tmp_path / "out", DENOISING, settings)
    record = json.loads((tmp_path / "out" / "SIDD" / RECORD).read_text())["photographs"]
    assert {"sea", "astronaut"} < set(record["train"].values())
    assert record["val"] == {"hill_01": "hill", "hill_02": "hill"}


def test_photographs_are_shrunk_to_what_they_show(tmp_path: Path) -> None:
    write_photograph(tmp_path / "a.png", photographs.SHORTER_SIDE * 2, photographs.SHORTER_SIDE * 2 + 40)
    assert photographs.read_photograph(tmp_path / "a.png").shape == (
        photographs.SHORTER_SIDE,
        photographs.SHORTER_SIDE + 20,
        3,
    )


def test_folder_without_photographs(tmp_path: Path) -> None:
    write_photograph(tmp_path / "own" / "train" / "sea.png", 100, 150)
    settings = Settings(photographs=str(tmp_path / "own"))
    with pytest.raises(InputError, match="test' holds no photographs"):
        make_demo_data(tmp_path / "out", DENOISING, settings)
    (tmp_path / "own" / "test").mkdir()
    (tmp_path / "own" / "test" / "note.txt").write_text("no picture")
    with pytest.raises(InputError, match=r"note\.txt' cannot be read as a picture"):
        make_demo_data(tmp_path / "out", DENOISING, settings)
    assert not (tmp_path / "out").exists()


def test_missing_package_says_what_to_install() -> None:
    with pytest.raises(InputError, match="pip install"):
        photographs.find_photograph("no_such_package", "a.png")


@pytest.mark.parametrize(
    "option", [["--size", "32"], ["--size", "9999"], ["--train", "0"], ["--test", "-1"], ["--seed", "-5"]]
)
def test_bad_number_is_one_line_and_status_2(tmp_path: Path, option: list[str]) -> None:
    command = [sys.executable, str(SCRIPT), "--output", str(tmp_path / "new"), *option]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {option[0]} is {option[1]}; expected")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["denoise", "Denoising", "DENOISE"])
def test_tasks_by_any_of_their_names(made: Path, name: str) -> None:
    command = [sys.executable, str(SCRIPT), "--output", str(made), "--tasks", name]
    settings = [f"--{option}={getattr(SMALL, option)}" for option in ("seed", "size", "train", "test")]
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"denoise: {made / 'SIDD'}\n")


def test_unknown_task_is_one_line_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--output", str(tmp_path / "new"), "--tasks", "denois"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: task 'denois' is unknown, did you mean 'denoise'?\n")
    assert not (tmp_path / "new").exists()
