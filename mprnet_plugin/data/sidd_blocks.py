"""SIDD's validation blocks straight from the benchmark's ``.mat`` files, with no detour over image files.

Nothing here needs torch before a sample is drawn, so that tools without torch can read the files too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SIDDBlocksDataset", "load_blocks", "load_mat"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512
"""Bytes that MATLAB writes before the HDF5 part of a version 7.3 file."""


def load_blocks(path: str | Path, variable: str | None = None) -> NDArray[np.uint8]:
    """Read a file of image blocks, such as ``ValidationNoisyBlocksSrgb.mat``.

    Args:
        path: A ``.mat`` file, version 5 to 7.2, or 7.3 (HDF5; needs h5py).
        variable: The array's name; without it the file must hold exactly one variable.

    Returns:
        RGB blocks, uint8, (scenes, blocks, H, W, 3).

    Raises:
        InputError: No such file, not a ``.mat`` file, no such variable, or not blocks of uint8 RGB.
    """
    blocks = load_mat(path, variable)
    if blocks.dtype != np.uint8 or blocks.ndim != 5 or blocks.shape[-1] != 3 or 0 in blocks.shape:
        raise InputError(
            f"{path}: holds {blocks.dtype} of shape {blocks.shape}, expected uint8 (scenes, blocks, H, W, 3): "
            "give the sRGB blocks of the SIDD benchmark"
        )
    return blocks


def load_mat(path: str | Path, variable: str | None = None) -> NDArray[Any]:
    """Read one numeric array of a ``.mat`` file of version 5 to 7.3, axes in MATLAB's order.

    Args:
        path: The file.
        variable: The array's name; without it the file must hold exactly one variable.

    Raises:
        InputError: No such file, not a ``.mat`` file, damaged, or no such variable.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(USER_BLOCK + len(HDF5_SIGNATURE))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): give a .mat file") from error
    try:
        if HDF5_SIGNATURE in (head[: len(HDF5_SIGNATURE)], head[USER_BLOCK:]):
            return _load_hdf5(path, variable)
        if head[126:128] in (b"IM", b"MI"):  # byte order mark at the end of the version 5 header
            return _load_v5(path, variable)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # scipy and h5py raise many types on damaged files
        raise InputError(f"{path}: is damaged ({error}): fetch the file again") from error
    raise InputError(f"{path}: is not a .mat file of version 5 to 7.3: save it with MATLAB's save or scipy.io.savemat")


def _load_v5(path: Path, variable: str | None) -> NDArray[Any]:
    from scipy import io

    name = _choose(path, variable, (name for name, _, _ in io.whosmat(path)))
    array: NDArray[Any] = io.loadmat(path, variable_names=[name])[name]
    return array


def _load_hdf5(path: Path, variable: str | None) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: a .mat file of version 7.3 needs h5py: pip install h5py") from error
    with h5py.File(path, "r") as file:
        arrays = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        array: NDArray[Any] = file[_choose(path, variable, arrays)][()]
    # HDF5 is row-major, MATLAB column-major: the same bytes with the axes reversed.
    return np.ascontiguousarray(array.T)


def _choose(path: Path, variable: str | None, names: Iterable[str]) -> str:
    """Return the variable to read out of a file that holds ``names``."""
    known = sorted(names)
    if variable is None and len(known) == 1:
        return known[0]
    if variable is None:
        raise InputError(f"{path}: holds {len(known)} variables ({', '.join(known)}), expected one: name it")
    if variable not in known:
        raise InputError(f"{path}: has no variable {variable!r}: {nearest(variable, known)}")
    return variable


class SIDDBlocksDataset:
    """The 1280 validation blocks of SIDD as a map-style dataset.

    Blocks stay uint8 in memory (about 250 MB a file); loader processes that fork share them.

    Args:
        opt: ``dataroot_lq`` and ``dataroot_gt``, the two ``.mat`` files.

    Raises:
        InputError: A file that is not given or cannot be read, files that do not fit together.
    """

    OPTIONS = frozenset(["dataroot_lq", "dataroot_gt"])

    def __init__(self, opt: Mapping[str, Any]) -> None:
        for key in ("dataroot_lq", "dataroot_gt"):
            if not isinstance(opt.get(key), str):
                raise InputError(f"{key}={opt.get(key)!r} must be the path of a .mat file of SIDD validation blocks")
        self.opt = dict(opt)
        self.noisy = load_blocks(opt["dataroot_lq"])
        self.clean = load_blocks(opt["dataroot_gt"])
        if self.noisy.shape != self.clean.shape:
            raise InputError(
                f"{opt['dataroot_lq']} has shape {self.noisy.shape}, {opt['dataroot_gt']} has {self.clean.shape}: "
                "give the noisy and the clean blocks of one set"
            )

    def __len__(self) -> int:
        """Return the number of blocks."""
        scenes, blocks = self.noisy.shape[:2]
        return int(scenes * blocks)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Return ``lq`` and ``gt`` (float32, (3, H, W), RGB, [0, 1]) and ``lq_path``, ``gt_path`` (``scene_block``)."""
        if not 0 <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        scene, block = divmod(index, self.noisy.shape[1])
        name = f"{scene:02d}_{block:02d}"
        return {
            "lq": to_tensor(self.noisy[scene, block]),
            "gt": to_tensor(self.clean[scene, block]),
            "lq_path": name,
            "gt_path": name,
        }


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Return an RGB image (H, W, 3) of uint8 as float32 (3, H, W) in [0, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255)
