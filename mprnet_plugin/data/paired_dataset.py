"""Pairs of degraded and sharp pictures, from folders or LMDB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mprnet_plugin.data.augment import GEOMETRIES, Image, draw_saturation, geometry, saturate
from mprnet_plugin.data.pairs import pair_keys
from mprnet_plugin.data.sampler import Draw, Schedule
from mprnet_plugin.data.stores import LMDB_SUFFIX, open_store
from mprnet_plugin.errors import InputError, nearest

AUGMENTS = ("none", "geometric", "geometric_saturation")
DTYPES = ("float32", "uint8")
ROOTS = ("dataroot_lq", "dataroot_gt")


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
        opt: The dataset's section of the YAML file:

            ``dataroot_lq``, ``dataroot_gt``: folders, or LMDBs (``*.lmdb``) of the host's format or ours.
            ``phase``: ``train`` (crops and augments), ``val`` or ``test`` (whole pictures).
            ``gt_size``: side of the random crop in training; smaller pictures are reflect-padded right and below.
            ``augment``: ``none``, ``geometric`` (flips and rotations), or ``geometric_saturation`` (deblurring).
            ``center_crop``: side of the centre crop outside training; the whole picture if left out.
            ``dtype``: ``float32`` in [0, 1], or ``uint8``, a quarter of the bytes to move, for a model that converts.
            ``io_backend``: ``{type: disk}`` or ``{type: lmdb}``, checked against the roots if given.

    Raises:
        InputError: A missing folder, orphans, pairs of unequal size, or an option's value.
    """

    OPTIONS = frozenset(
        ["dataroot_lq", "dataroot_gt", "gt_size", "augment", "center_crop", "dtype", "io_backend", "schedule"]
    )

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.check_options(opt)
        self.opt = opt
        self.schedule = Schedule(**opt.get("schedule", {}))
        self.train = _is_train(opt)
        self.augment: str = opt.get("augment", AUGMENTS[0])
        self.dtype: str = opt.get("dtype", DTYPES[0])
        self.crop: int | None = opt.get("gt_size" if self.train else "center_crop")
        self.lq, self.gt = (open_store(Path(opt[root]).expanduser()) for root in ROOTS)
        self.keys = pair_keys(self.lq.keys(), self.gt.keys(), self.lq.root, self.gt.root)
        self._check_sizes()

    @staticmethod
    def check_options(opt: Mapping[str, Any]) -> None:
        """Check an option section's values without opening anything.

        Raises:
            InputError: The option, its value and what it may be.
        """
        _check_choice(opt, "augment", AUGMENTS)
        _check_choice(opt, "dtype", DTYPES)
        _check_side(opt, "gt_size" if _is_train(opt) else "center_crop", required=_is_train(opt))
        for root in ROOTS:
            _check_root(opt, root)

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

    def _train_pair(self, lq: Image, gt: Image, rng: np.random.Generator) -> tuple[Image, Image]:
        side = self.crop or 0
        height, width = lq.shape[:2]
        top = int(rng.integers(max(height - side, 0) + 1))
        left = int(rng.integers(max(width - side, 0) + 1))
        draw = int(rng.integers(GEOMETRIES)) if self.augment != "none" else 0
        factor = draw_saturation(rng) if self.augment == "geometric_saturation" else 1.0

        def patch(image: Image) -> Image:
            crop = pad_to(image[top : top + side, left : left + side], side)
            if factor != 1.0:
                crop = saturate(crop, factor)
            return geometry(crop, draw)

        return patch(lq), patch(gt)

    def _center_pair(self, lq: Image, gt: Image) -> tuple[Image, Image]:
        if self.crop is None:
            return lq, gt
        return center_crop(lq, self.crop), center_crop(gt, self.crop)

    def _tensor(self, image: Image, key: str) -> Tensor:
        if self.dtype == "uint8":
            if image.dtype != np.uint8:
                raise InputError(f"{self.lq.where(key)} has {image.dtype} pixels: set dtype: float32 for the dataset")
            return torch.from_numpy(to_chw(image))
        limit = np.float32(np.iinfo(image.dtype).max)
        return torch.from_numpy(to_chw(image).astype(np.float32) / limit)


def pad_to(image: Image, side: int) -> Image:
    """Reflect-pad an (H, W, C) image right and below until neither side is shorter than ``side``."""
    bottom, right = (max(side - length, 0) for length in image.shape[:2])
    if not bottom and not right:
        return image
    return np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="reflect")


def center_crop(image: Image, side: int) -> Image:
    """Return the middle ``side`` x ``side`` of an (H, W, C) image; reflect-padded first where it is smaller."""
    image = pad_to(image, side)
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def to_chw(image: Image) -> NDArray[Any]:
    """Copy an (H, W, C) view into a contiguous (C, H, W) array."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _is_train(opt: Mapping[str, Any]) -> bool:
    return bool(opt.get("phase", "train") == "train")


def _check_choice(opt: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    value = opt.get(name, allowed[0])
    if value not in allowed:
        raise InputError(f"dataset option {name}: {value!r} is not known, {nearest(str(value), allowed)}")


def _check_side(opt: Mapping[str, Any], name: str, required: bool) -> None:
    value = opt.get(name)
    if (value is not None or required) and (not isinstance(value, int) or value < 1):
        raise InputError(f"dataset option {name}: {value!r} must be a side in pixels, such as {name}: 256")


def _check_root(opt: Mapping[str, Any], name: str) -> None:
    root = opt.get(name)
    if not root:
        raise InputError(f"dataset option {name} is missing: give a folder of pictures or an LMDB (*.lmdb)")
    backend = opt.get("io_backend", {}).get("type")
    if backend not in (None, "disk", "lmdb"):
        raise InputError(f"dataset option io_backend: type {backend!r} must be disk or lmdb")
    if backend is not None and (backend == "lmdb") != (Path(root).suffix == LMDB_SUFFIX):
        raise InputError(f"io_backend type {backend} does not fit {name} {root}: LMDBs, and only they, end in .lmdb")
