"""What the datasets of pairs have in common: options, random numbers, patches, and tensors made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import Self

from mprnet_plugin.data.augment import GEOMETRIES, GREY_WEIGHTS, draw_saturation, geometry, saturate
from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.data.sampler import Draw, Schedule
from mprnet_plugin.errors import InputError
from mprnet_plugin.typed_options import Options

__all__ = ["PatchOptions", "RestorationDataset", "Sample", "SampleOptions", "center_crop", "pad_to", "to_chw"]

Side = Annotated[int, Field(ge=1, le=4096)]
_EVALUATION = 2**63
"""Seed of what is drawn outside of training, which no training has."""


class PatchOptions(Options):
    """One part of a schedule of patches."""

    start_iter: Annotated[int, Field(ge=1, le=10**12)] = Field(description="first iteration with patches of this size")
    gt_size: Side = Field(description="side of the random crop from then on")


class SampleOptions(Options):
    """How samples are cut, augmented and handed over."""

    hints = dict.fromkeys(("use_hflip", "use_rot", "use_flip", "geometric_augs"), "augment: geometric (or none)")

    phase: Literal["train", "val", "test"] = Field("train", description="train cuts and augments; the host sets it")
    gt_size: Side | None = Field(
        None, description="side of the random crop in training; smaller pictures are padded by reflection"
    )
    patch_schedule: list[PatchOptions] | None = Field(
        None, description="other sides of the crop later in training; the batch keeps its number of samples"
    )
    augment: Literal["none", "geometric", "geometric_saturation"] = Field(
        "none", description="geometric: flips and rotations; geometric_saturation: also colour, for deblurring"
    )
    center_crop: Side | None = Field(
        None, description="side of the centre crop outside of training; the whole picture if left out"
    )
    grey: bool = Field(False, description="one channel, the luma, for networks of in_c: 1 and out_c: 1")
    dtype: Literal["float32", "uint8"] = Field(
        "float32", description="uint8 moves a quarter of the bytes, for a model that converts them"
    )

    @model_validator(mode="after")
    def _patches_are_known(self) -> Self:
        if self.phase == "train" and self.gt_size is None:
            raise ValueError("gt_size is missing: the side of training patches in pixels, such as gt_size: 256")
        starts = [entry.start_iter for entry in self.patch_schedule or ()]
        if starts != sorted(set(starts)):
            raise ValueError(f"patch_schedule: start_iter is {starts}, each must be above the one before: sort them")
        return self


class Sample(TypedDict):
    """One pair, in the host's terms."""

    lq: Tensor
    """(3, H, W) RGB, or (1, H, W) where ``grey``: float32 in [0, 1], or uint8."""
    gt: Tensor
    key: str
    """Name in the dataset: the path below its root, without suffix."""
    lq_path: str
    gt_path: str


class RestorationDataset(Dataset[Sample]):
    """A dataset of pairs that is cut, augmented and drawn from as the options say.

    Random numbers depend on (seed, epoch, position of the sample in the epoch) when indices come as
    :class:`~mprnet_plugin.data.sampler.Draw`, as they do under the host's runner; plain indices use torch's generator,
    which a DataLoader seeds anew for each worker and epoch.

    Args:
        opt: The dataset's section of the options, and ``schedule``, the fields of a
            :class:`~mprnet_plugin.data.sampler.Schedule`, which the host's side fills in.
        options: The section, typed.
    """

    options_class: ClassVar[type[SampleOptions]] = SampleOptions

    def __init__(self, opt: Mapping[str, Any], options: SampleOptions) -> None:
        self.opt = opt
        self.schedule = Schedule(**opt.get("schedule", {}))
        self.train = options.phase == "train"
        self.options = options

    @property
    def crop(self) -> int | None:
        """Side of the patches at the start of training, or of the centre crop; None for whole pictures."""
        return self.options.gt_size if self.train else self.options.center_crop

    def patch_side(self, item: Draw | int) -> int:
        """Return the side of the patch that is cut for a sample of training.

        Raises:
            InputError: There is a schedule of patches, and an index that does not tell the iteration.
        """
        side = self.options.gt_size or 0
        if not self.options.patch_schedule:
            return side
        if not isinstance(item, Draw):
            raise InputError(
                "patch_schedule needs a sampler that tells iterations: use EndlessSampler (mmengine), or MPRNetModel "
                "(BasicSR)"
            )
        return next((p.gt_size for p in reversed(self.options.patch_schedule) if p.start_iter <= item.iteration), side)

    def rng(self, item: Draw | int) -> np.random.Generator:
        """Return the generator of a sample's random numbers; outside of training they depend on the index alone."""
        if isinstance(item, Draw):
            key = np.array([self.schedule.seed, (item.epoch << 40) | item.position], np.uint64)
        elif self.train:
            key = torch.randint(2**63 - 1, (2,)).numpy().astype(np.uint64)
        else:
            key = np.array([_EVALUATION, item], np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def augmented(self, images: Sequence[Pixels], rng: np.random.Generator) -> list[Pixels]:
        """Flip, rotate and saturate the sides of a pair in the same way."""
        draw = int(rng.integers(GEOMETRIES)) if self.options.augment != "none" else 0
        factor = draw_saturation(rng) if self.options.augment == "geometric_saturation" else 1.0
        return [geometry(image if factor == 1.0 else saturate(image, factor), draw) for image in images]

    def tensor(self, image: Pixels, where: str) -> Tensor:
        """Return an (H, W, 3) picture as a sample holds it; ``where`` names it in a message."""
        limit = np.iinfo(image.dtype).max
        if self.options.grey:
            image = np.rint(image @ GREY_WEIGHTS)[..., None].astype(image.dtype)
        if self.options.dtype == "uint8":
            if image.dtype != np.uint8:
                raise InputError(f"{where} has {image.dtype} pixels: set dtype: float32 for the dataset")
            return torch.from_numpy(to_chw(image))
        return torch.from_numpy(to_chw(image).astype(np.float32) / np.float32(limit))


def random_corner(size: tuple[int, ...], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw where a square of ``side`` is cut out of (height, width, ...); 0 along what is not longer."""
    top = int(rng.integers(max(size[0] - side, 0) + 1))
    left = int(rng.integers(max(size[1] - side, 0) + 1))
    return top, left


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
