"""Pairs of degraded and sharp pictures, from folders or LMDB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import Self

from mprnet_plugin.data.augment import GEOMETRIES, draw_saturation, geometry, saturate
from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.data.pairs import pair_keys
from mprnet_plugin.data.sampler import Draw, Schedule
from mprnet_plugin.data.stores import LMDB_SUFFIX, open_store
from mprnet_plugin.errors import InputError
from mprnet_plugin.typed_options import Options, Text

ROOTS = ("dataroot_lq", "dataroot_gt")
Side = Annotated[int, Field(ge=1, le=4096)]


class BackendOptions(Options):
    """Where pictures come from, as the host's datasets are told; ours see it by the roots, and only compare."""

    type: Literal["disk", "lmdb"] = Field(description="lmdb where the roots end in .lmdb, else disk")


class PairedOptions(Options):
    """Pairs of degraded and sharp pictures, from folders or LMDB."""

    hints = dict.fromkeys(("use_hflip", "use_rot", "use_flip", "geometric_augs"), "augment: geometric (or none)")

    dataroot_lq: Text = Field(description="folder of degraded pictures, or an LMDB (*.lmdb)")
    dataroot_gt: Text = Field(description="folder of sharp pictures of the same names, or an LMDB")
    phase: Literal["train", "val", "test"] = Field("train", description="train cuts and augments; the host sets it")
    gt_size: Side | None = Field(
        None, description="side of the random crop in training; smaller pictures are padded by reflection"
    )
    augment: Literal["none", "geometric", "geometric_saturation"] = Field(
        "none", description="geometric: flips and rotations; geometric_saturation: also colour, for deblurring"
    )
    center_crop: Side | None = Field(
        None, description="side of the centre crop outside of training; the whole picture if left out"
    )
    dtype: Literal["float32", "uint8"] = Field(
        "float32", description="uint8 moves a quarter of the bytes, for a model that converts them"
    )
    io_backend: BackendOptions | None = Field(None, description="compared with the roots if given")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.phase == "train" and self.gt_size is None:
            raise ValueError("gt_size is missing: the side of training patches in pixels, such as gt_size: 256")
        for name in ROOTS if self.io_backend else ():
            root = getattr(self, name)
            if self.io_backend and (self.io_backend.type == "lmdb") != (Path(root).suffix == LMDB_SUFFIX):
                raise ValueError(
                    f"io_backend type {self.io_backend.type} does not fit {name} {root}: LMDBs, and only they, end in "
                    ".lmdb"
                )
        return self


class Sample(TypedDict):
    """One pair, in the host's terms."""

    lq: Tensor
    """(3, H, W) RGB: float32 in [0, 1], or uint8."""
    gt: Tensor
    key: str
    """Name in the dataset: the path below its root, without suffix."""
    lq_path: str
    gt_path: str


class PairedRestorationDataset(Dataset[Sample]):
    """Pairs matched by name, cropped before anything is converted.

    Random numbers depend on (seed, epoch, position of the sample in the epoch) when indices come as
    :class:`~mprnet_plugin.data.sampler.Draw`, as they do under the host's runner; plain indices use torch's generator,
    which a DataLoader seeds anew for each worker and epoch.

    Args:
        opt: The dataset's section of the options: those of :class:`PairedOptions`, and ``schedule``, the fields of a
            :class:`~mprnet_plugin.data.sampler.Schedule`, which the host's side fills in.

    Raises:
        InputError: A missing folder, orphans, pairs of unequal size, or an option's value.
    """

    options_class = PairedOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        options = PairedOptions.pick(opt, "dataset")
        self.opt = opt
        self.schedule = Schedule(**opt.get("schedule", {}))
        self.train = options.phase == "train"
        self.augment = options.augment
        self.dtype = options.dtype
        self.crop = options.gt_size if self.train else options.center_crop
        self.lq = open_store(Path(options.dataroot_lq).expanduser())
        self.gt = open_store(Path(options.dataroot_gt).expanduser())
        self.keys = pair_keys(self.lq.keys(), self.gt.keys(), self.lq.root, self.gt.root)
        self._check_sizes()

    def _check_sizes(self) -> None:
        unequal = [
            f"{key} ({'x'.join(map(str, lq))} and {'x'.join(map(str, gt))})"
            for key in self.keys
            if (lq := self.lq.size(key)) != (gt := self.gt.size(key))
        ]
        if unequal:
            raise InputError(
                f"{len(unequal)} of {len(self.keys)} pairs differ in height x width between {self.lq.root} and "
                f"{self.gt.root}, first {', '.join(unequal[:3])}: replace or remove them"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, item: Draw | int) -> Sample:
        key = self.keys[item.item if isinstance(item, Draw) else item]
        lq, gt = self.lq.read(key), self.gt.read(key)
        if lq.shape != gt.shape:
            raise InputError(f"{self.lq.where(key)} is {lq.shape}, {self.gt.where(key)} is {gt.shape}: must be equal")
        lq, gt = self._train_pair(lq, gt, self._rng(item)) if self.train else self._center_pair(lq, gt)
        return {
            "lq": self._tensor(lq, key),
            "gt": self._tensor(gt, key),
            "key": key,
            "lq_path": self.lq.where(key),
            "gt_path": self.gt.where(key),
        }

    def _rng(self, item: Draw | int) -> np.random.Generator:
        if isinstance(item, Draw):
            key = np.array([self.schedule.seed, (item.epoch << 40) | item.position], np.uint64)
        else:
            key = torch.randint(2**63 - 1, (2,)).numpy().astype(np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def _train_pair(self, lq: Pixels, gt: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        side = self.crop or 0
        height, width = lq.shape[:2]
        top = int(rng.integers(max(height - side, 0) + 1))
        left = int(rng.integers(max(width - side, 0) + 1))
        draw = int(rng.integers(GEOMETRIES)) if self.augment != "none" else 0
        factor = draw_saturation(rng) if self.augment == "geometric_saturation" else 1.0

        def patch(image: Pixels) -> Pixels:
            crop = pad_to(image[top : top + side, left : left + side], side)
            if factor != 1.0:
                crop = saturate(crop, factor)
            return geometry(crop, draw)

        return patch(lq), patch(gt)

    def _center_pair(self, lq: Pixels, gt: Pixels) -> tuple[Pixels, Pixels]:
        if self.crop is None:
            return lq, gt
        return center_crop(lq, self.crop), center_crop(gt, self.crop)

    def _tensor(self, image: Pixels, key: str) -> Tensor:
        if self.dtype == "uint8":
            if image.dtype != np.uint8:
                raise InputError(f"{self.lq.where(key)} has {image.dtype} pixels: set dtype: float32 for the dataset")
            return torch.from_numpy(to_chw(image))
        limit = np.float32(np.iinfo(image.dtype).max)
        return torch.from_numpy(to_chw(image).astype(np.float32) / limit)


def pad_to(image: Pixels, side: int) -> Pixels:
    """Reflect-pad an (H, W, C) image right and below until neither side is shorter than ``side``."""
    bottom, right = (max(side - length, 0) for length in image.shape[:2])
    if not bottom and not right:
        return image
    return np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="reflect")


def center_crop(image: Pixels, side: int) -> Pixels:
    """Return the middle ``side`` x ``side`` of an (H, W, C) image; reflect-padded first where it is smaller."""
    image = pad_to(image, side)
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def to_chw(image: Pixels) -> NDArray[Any]:
    """Copy an (H, W, C) view into a contiguous (C, H, W) array."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))
