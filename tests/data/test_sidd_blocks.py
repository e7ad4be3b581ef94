from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import io
from torch.utils.data import DataLoader

from mprnet_plugin.data.sidd_blocks import SIDDBlocksDataset, load_blocks
from mprnet_plugin.errors import InputError


def blocks(seed: int = 0, shape: tuple[int, ...] = (2, 3, 5, 4, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save_v73(path: Path, name: str, array: NDArray[np.uint8]) -> None:
    """As MATLAB does: a 512-byte header, then HDF5 with the axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset(name, data=array.transpose())
        file.create_group("#refs#")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def save_v5(path: Path, name: str, array: NDArray[np.uint8], compress: bool = True) -> None:
    io.savemat(path, {name: array}, do_compression=compress)


@pytest.mark.parametrize("save", [save_v5, save_v73])
@pytest.mark.parametrize("variable", [None, "ValidationNoisyBlocksSrgb"])
def test_reads_either_version_in_matlabs_axes(tmp_path: Path, save: object, variable: str | None) -> None:
    path = tmp_path / "blocks.mat"
    save(path, "ValidationNoisyBlocksSrgb", blocks())  # type: ignore[operator]
    read = load_blocks(path, variable)
    np.testing.assert_array_equal(read, blocks())
    assert read.dtype == np.uint8


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    save_v5(tmp_path / "a.mat", "x", blocks())
    code = (
        "import sys; from mprnet_plugin.data.sidd_blocks import load_blocks; "
        f"load_blocks({str(tmp_path / 'a.mat')!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.mat: cannot be read \(No such file"):
        load_blocks(tmp_path / "none.mat")


def test_folder_instead_of_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        load_blocks(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a mat file" * 100])
def test_not_a_mat_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a \.mat file of version 5"):
        load_blocks(path)


@pytest.mark.parametrize("save", [save_v5, save_v73])
def test_cut_short(tmp_path: Path, save: object) -> None:
    path = tmp_path / "a.mat"
    save(path, "x", blocks(shape=(2, 3, 32, 32, 3)))  # type: ignore[operator]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.mat: is damaged"):
        load_blocks(path)


def test_wrong_variable_names_the_nearest(tmp_path: Path) -> None:
    save_v5(tmp_path / "a.mat", "ValidationGtBlocksSrgb", blocks())
    with pytest.raises(InputError, match="did you mean 'ValidationGtBlocksSrgb'"):
        load_blocks(tmp_path / "a.mat", "ValidationGTBlockSrgb")


def test_several_variables_must_be_named(tmp_path: Path) -> None:
    io.savemat(tmp_path / "a.mat", {"a": blocks(1), "b": blocks(2)})
    with pytest.raises(InputError, match=r"holds 2 variables \(a, b\)"):
        load_blocks(tmp_path / "a.mat")
    np.testing.assert_array_equal(load_blocks(tmp_path / "a.mat", "b"), blocks(2))


@pytest.mark.parametrize("array", [blocks()[0], blocks().astype(np.float32), blocks()[..., :1]])
def test_array_that_is_not_blocks(tmp_path: Path, array: NDArray[np.uint8]) -> None:
    save_v5(tmp_path / "a.mat", "x", array)
    with pytest.raises(InputError, match="expected uint8"):
        load_blocks(tmp_path / "a.mat")


def options(tmp_path: Path) -> dict[str, str]:
    return {
        "name": "SIDD",
        "type": "SIDDBlocksDataset",
        "phase": "val",
        "dataroot_lq": str(tmp_path / "noisy.mat"),
        "dataroot_gt": str(tmp_path / "gt.mat"),
    }


def test_dataset_through_a_loader(tmp_path: Path) -> None:
    save_v5(tmp_path / "noisy.mat", "ValidationNoisyBlocksSrgb", blocks(1))
    save_v73(tmp_path / "gt.mat", "ValidationGtBlocksSrgb", blocks(2))
    dataset = SIDDBlocksDataset(options(tmp_path))
    assert len(dataset) == 6
    samples = list(DataLoader(dataset, batch_size=2))  # type: ignore[arg-type]
    assert [name for sample in samples for name in sample["lq_path"]] == [
        "00_00", "00_01", "00_02", "01_00", "01_01", "01_02",
    ]  # fmt: skip
    gt = torch.cat([sample["gt"] for sample in samples])
    assert gt.dtype == torch.float32
    expected = blocks(2).reshape(6, 5, 4, 3).transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(gt.numpy(), expected, atol=1e-7)
    np.testing.assert_allclose(np.asarray(dataset[4]["lq"]), blocks(1)[1, 1].transpose(2, 0, 1) / 255, atol=1e-7)
    with pytest.raises(IndexError):
        dataset[6]


def test_dataset_of_unequal_files(tmp_path: Path) -> None:
    save_v5(tmp_path / "noisy.mat", "x", blocks())
    save_v5(tmp_path / "gt.mat", "x", blocks()[:1])
    with pytest.raises(InputError, match="noisy and the clean blocks of one set"):
        SIDDBlocksDataset(options(tmp_path))


def test_dataset_options(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="option dataset:dataroot_gt is missing"):
        SIDDBlocksDataset({key: value for key, value in options(tmp_path).items() if key != "dataroot_gt"})
