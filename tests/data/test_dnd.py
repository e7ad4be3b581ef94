from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import io
from torch.utils.data import DataLoader

from mprnet_plugin.data.dnd import DNDDataset
from mprnet_plugin.errors import InputError

BOXES = [[(1, 1, 4, 5), (3, 2, 6, 6)], [(2, 3, 5, 7), (6, 8, 9, 12)]]
"""Two photographs, two crops each: top, left, bottom, right as MATLAB counts, 4 x 5 pixels."""
SIZE = (9, 12)


def photograph(number: int) -> NDArray[np.float32]:
    return np.random.default_rng(number).random((*SIZE, 3), np.float32)


def make_dnd(root: Path) -> Path:
    """As MATLAB writes it: version 7.3, axes reversed, a struct whose field is a cell array of references."""
    (root / "images_srgb").mkdir()
    with h5py.File(root / "info.mat", "w", userblock_size=512) as file:
        info, refs = file.create_group("info"), file.create_group("#refs#")
        cells = info.create_dataset("boundingboxes", (1, len(BOXES)), h5py.ref_dtype)
        for number, boxes in enumerate(BOXES):
            cells[0, number] = refs.create_dataset(str(number), data=np.array(boxes, float).T).ref
    for number in range(len(BOXES)):
        with h5py.File(root / "images_srgb" / f"{number + 1:04d}.mat", "w", userblock_size=512) as file:
            file["InoisySRGB"] = photograph(number).T
    return root


def dataset(root: Path) -> DNDDataset:
    return DNDDataset({"dataroot_lq": str(root), "name": "DND"})


def expected(index: int) -> NDArray[np.float32]:
    top, left, bottom, right = BOXES[index // 2][index % 2]
    return photograph(index // 2)[top - 1 : bottom, left - 1 : right]


def test_crops_are_those_of_the_boxes(tmp_path: Path) -> None:
    samples = list(DataLoader(dataset(make_dnd(tmp_path)), batch_size=1))  # type: ignore[arg-type]
    assert [sample["lq_path"][0] for sample in samples] == ["0001_01", "0001_02", "0002_01", "0002_02"]
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(sample["lq"][0].permute(1, 2, 0), expected(index))


def test_submission_is_what_the_benchmark_reads(tmp_path: Path) -> None:
    crops = dataset(make_dnd(tmp_path))
    folder = tmp_path / "submission"
    for index in (3, 0, 2, 1):  # in any order, as several processes would
        crops.write_result(index, 1 - expected(index)[..., ::-1], folder)
    crops.write_submission(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["0001.mat", "0002.mat"]
    for number in range(2):
        content: dict[str, Any] = io.loadmat(folder / f"{number + 1:04d}.mat")
        assert content["Idenoised"].shape == (1, 2)  # a cell array
        assert content["israw"].item() == 0
        assert content["eval_version"].item() == "1.0"
        for box in range(2):
            cell = content["Idenoised"][0, box]
            assert cell.dtype == np.float32
            np.testing.assert_allclose(cell, 1 - expected(2 * number + box), atol=1e-7)


def test_missing_crop(tmp_path: Path) -> None:
    crops = dataset(make_dnd(tmp_path))
    crops.write_result(0, expected(0), tmp_path / "out")
    with pytest.raises(InputError, match="no result for crop 0001_02"):
        crops.write_submission(tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.mat"))


@pytest.mark.parametrize("picture", [expected(0)[:3], (expected(0) * 255).astype(np.uint8)])
def test_result_that_cannot_be_submitted(tmp_path: Path, picture: NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match=r"0001_01: got .*round_to_uint8: false"):
        dataset(make_dnd(tmp_path)).write_result(0, picture, tmp_path / "out")


def test_folder_without_info(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"info\.mat: no such file"):
        dataset(tmp_path)
    with pytest.raises(InputError, match="option dataset:dataroot_lq is missing"):
        DNDDataset({})


def test_info_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "info.mat").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"info\.mat: is damaged, or not DND's"):
        dataset(tmp_path)
    with h5py.File(tmp_path / "info.mat", "w") as file:
        file["info"] = 3
    with pytest.raises(InputError, match=r"info\.mat: is damaged, or not DND's"):
        dataset(tmp_path)


def test_photograph_missing(tmp_path: Path) -> None:
    make_dnd(tmp_path)
    (tmp_path / "images_srgb" / "0002.mat").unlink()
    with pytest.raises(InputError, match=r"0002\.mat: no such file"):
        dataset(tmp_path)


def test_photograph_too_small_for_its_boxes(tmp_path: Path) -> None:
    make_dnd(tmp_path)
    with h5py.File(tmp_path / "images_srgb" / "0001.mat", "w") as file:
        file["InoisySRGB"] = photograph(0)[:5].T
    crops = dataset(tmp_path)
    with pytest.raises(InputError, match=r"info\.mat and images must be of one dataset"):
        crops[1]
