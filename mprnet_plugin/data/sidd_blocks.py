"""SIDD's validation blocks straight from the benchmark's ``.mat`` files, with no detour over image files.

Nothing here needs torch before a sample is drawn, so that tools without torch can read the files too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mprnet_plugin.data.mat_files import load_mat
from mprnet_plugin.errors import InputError
from mprnet_plugin.typed_options import Options, Text

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SIDDBlocksDataset", "load_blocks"]


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


class BlocksOptions(Options):
    """SIDD's validation blocks out of the benchmark's own files."""

    dataroot_lq: Text = Field(description="ValidationNoisyBlocksSrgb.mat")
    dataroot_gt: Text = Field(description="ValidationGtBlocksSrgb.mat")


class SIDDBlocksDataset:
    """The 1280 validation blocks of SIDD as a map-style dataset.

    Blocks stay uint8 in memory (about 250 MB a file); loader processes that fork share them.

    Args:
        opt: ``dataroot_lq`` and ``dataroot_gt``, the two ``.mat`` files.

    Raises:
        InputError: A file that is not given or cannot be read, files that do not fit together.
    """

    options_class = BlocksOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        options = BlocksOptions.pick(opt, "dataset")
        self.opt = dict(opt)
        self.noisy = load_blocks(options.dataroot_lq)
        self.clean = load_blocks(options.dataroot_gt)
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
