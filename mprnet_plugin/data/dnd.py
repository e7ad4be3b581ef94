"""The Darmstadt Noise Dataset (Plötz and Roth, CVPR 2017): its crops in, the benchmark's submission files out.

The benchmark has no public targets. It scores twenty crops of each of fifty photographs, so only those are restored;
the submission is one ``NNNN.mat`` a photograph, with the cell array ``Idenoised``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mprnet_plugin.data.mat_files import open_hdf5
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file
from mprnet_plugin.typed_options import Options, Text

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DNDDataset"]

VARIABLE = "InoisySRGB"
EVAL_VERSION = "1.0"


class DNDOptions(Options):
    """The crops of DND's sRGB track; there are no public targets."""

    dataroot_lq: Text = Field(description="DND's folder, with info.mat and images_srgb in it")


class DNDDataset:
    """The crops that the sRGB track of DND scores, as a map-style dataset without targets.

    Args:
        opt: ``dataroot_lq``, the folder that holds ``info.mat`` and ``images_srgb/NNNN.mat``.

    Raises:
        InputError: A file that is missing or not DND's, or h5py is not installed.
    """

    options_class = DNDOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = dict(opt)
        self.root = Path(DNDOptions.pick(opt, "dataset").dataroot_lq)
        self.boxes = _read_boxes(self.root / "info.mat")
        self.crops = [(image, box) for image, boxes in enumerate(self.boxes) for box in range(len(boxes))]
        for image in range(len(self.boxes)):
            if not self._path(image).is_file():
                raise InputError(f"{self._path(image)}: no such file: unpack all of DND's images_srgb")

    def _path(self, image: int) -> Path:
        return self.root / "images_srgb" / f"{image + 1:04d}.mat"

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.crops)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Return ``lq`` (float32, (3, H, W), RGB, [0, 1]) and ``lq_path``: photograph and crop, from 1."""
        import torch

        image, box = self.crops[index]
        crop = _read_crop(self._path(image), self.boxes[image][box])
        return {
            "lq": torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))),
            "lq_path": f"{image + 1:04d}_{box + 1:02d}",
        }

    def write_result(self, index: int, picture: NDArray[np.float32], folder: Path) -> None:
        """Keep one restored crop until :meth:`write_submission`; processes may share out the crops.

        Args:
            index: As in ``__getitem__``.
            picture: (H, W, 3), **BGR** as the host's pictures are, floating point in [0, 1].
            folder: Where the submission goes.

        Raises:
            InputError: The picture is rounded, or of another size than the crop.
        """
        image, box = self.crops[index]
        top, left, bottom, right = self.boxes[image][box]
        if picture.dtype.kind != "f" or picture.shape != (bottom - top, right - left, 3):
            raise InputError(
                f"DND crop {image + 1:04d}_{box + 1:02d}: got {picture.dtype} {picture.shape}, expected floating point "
                f"{(bottom - top, right - left, 3)}: set round_to_uint8: false"
            )
        path = _kept(folder, image, box)
        with whole_file(path) as part, part.open("wb") as file:
            np.save(file, picture[..., ::-1].astype(np.float32))

    def write_submission(self, folder: Path) -> None:
        """Bundle the kept crops into the files to upload, ``NNNN.mat``, and remove the crops.

        Args:
            folder: As given to :meth:`write_result` for every crop.

        Raises:
            InputError: A crop is missing.
        """
        from scipy import io

        for image, boxes in enumerate(self.boxes):
            paths = [_kept(folder, image, box) for box in range(len(boxes))]
            missing = [path.stem for path in paths if not path.is_file()]
            if missing:
                raise InputError(f"{folder}: has no result for crop {missing[0]}: restore all of DND first")
            cells = np.empty(len(paths), object)
            for box, path in enumerate(paths):
                cells[box] = np.load(path, allow_pickle=False)
            content = {"Idenoised": cells, "israw": False, "eval_version": EVAL_VERSION}
            with whole_file(folder / f"{image + 1:04d}.mat") as part, part.open("wb") as file:
                io.savemat(file, content)
            for path in paths:
                path.unlink()
        _kept(folder, 0, 0).parent.rmdir()


def _kept(folder: Path, image: int, box: int) -> Path:
    return folder / "crops" / f"{image + 1:04d}_{box + 1:02d}.npy"


def _read_boxes(path: Path) -> list[NDArray[np.int64]]:
    """Return each photograph's crops, (crops, 4): top, left, bottom, right, from 0, the last two exclusive."""
    with open_hdf5(path, "DND's") as file:
        # MATLAB's struct field is a cell array: references to one array (4, crops), axes reversed, of 1-based corners.
        references = np.asarray(file["info"]["boundingboxes"]).reshape(-1)
        boxes = [np.asarray(file[reference]).T.astype(np.int64) for reference in references]
    if not boxes or any(one.ndim != 2 or one.shape[1] != 4 or not len(one) for one in boxes):
        raise InputError(f"{path}: boundingboxes are not (crops, 4) for each photograph: give DND's info.mat")
    return [one - np.array([1, 1, 0, 0]) for one in boxes]


def _read_crop(path: Path, box: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return one crop (H, W, 3), RGB; the rest of the photograph is not read."""
    top, left, bottom, right = (int(edge) for edge in box)
    with open_hdf5(path, "DND's") as file:
        pixels = file[VARIABLE]
        if pixels.ndim != 3 or pixels.shape[0] != 3 or bottom > pixels.shape[2] or right > pixels.shape[1]:
            raise InputError(
                f"{path}: {VARIABLE} has MATLAB shape {pixels.shape[::-1]}, expected (H, W, 3) around the crop's lower "
                f"right corner ({bottom}, {right}): info.mat and images must be of one dataset"
            )
        crop: NDArray[np.float32] = pixels[:, left:right, top:bottom].T.astype(np.float32)
    return crop
