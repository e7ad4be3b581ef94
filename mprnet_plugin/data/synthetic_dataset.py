"""Pairs made of clean photographs while training: what a camera would have made of them, and themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.data.degradations import defocus, draw, jpeg, rain, sensor_noise, shake, shake_margin
from mprnet_plugin.data.linear_light import LinearImage, to_linear, to_srgb
from mprnet_plugin.data.sampler import Draw
from mprnet_plugin.data.samples import RestorationDataset, Sample, SampleOptions
from mprnet_plugin.data.stores import open_store
from mprnet_plugin.typed_options import LowHigh, Number, Options, Text

__all__ = ["BlurOptions", "JpegOptions", "NoiseOptions", "RainOptions", "SyntheticDegradationDataset"]
__all__ += ["SoftOptions", "SyntheticOptions"]

logger = logging.getLogger(__name__)

Chance = Annotated[Number, Field(gt=0, le=1)]
OFTEN = "share of the pictures that it happens to"


class SoftOptions(Options):
    """What is out of focus, before and after: backgrounds, from which a network learns to leave them so."""

    size: LowHigh[Annotated[Number, Field(ge=0, le=50)]] = Field(
        [1, 4], description="of the blur that both sides have, standard deviation in pixels"
    )
    probability: Chance = Field(0.3, description=OFTEN)


class RainOptions(Options):
    """Rain in front of the camera."""

    density: LowHigh[Annotated[Number, Field(ge=0, le=20)]] = Field(
        [0.7, 1.3], description="how much rain: 1 is plain, 2 heavy"
    )
    length: LowHigh[Annotated[Number, Field(gt=0, le=10)]] = Field([1, 1], description="factor on the streaks' length")
    width: LowHigh[Annotated[Number, Field(gt=0, le=10)]] = Field(
        [1, 1], description="factor on the streaks' width: 0.5 is thin and sharp"
    )
    mist: LowHigh[Annotated[Number, Field(ge=0, le=1)]] = Field(
        [0, 0], description="share of the light that far drops replace by the sky's"
    )
    probability: Chance = Field(1, description=OFTEN)


class BlurOptions(Options):
    """A camera that shakes while it exposes."""

    length: LowHigh[Annotated[Number, Field(ge=0, le=200)]] = Field(
        [6, 18], description="of the path that a point is drawn out to, in pixels"
    )
    turn: LowHigh[Annotated[Number, Field(ge=0, le=20)]] = Field(
        [0, 0.5], description="of the camera around the patch's middle, in degrees"
    )
    moving: LowHigh[Annotated[Number, Field(ge=0, le=200)]] = Field(
        [0, 0], description="path of something in the picture that moves by itself, in pixels"
    )
    probability: Chance = Field(1, description=OFTEN)


class NoiseOptions(Options):
    """Shot and read noise of the sensor, before the white balance."""

    electrons: LowHigh[Annotated[Number, Field(ge=1, le=1e6)]] = Field(
        [60, 400], description="what white gives on green, drawn on a logarithmic scale: fewer, more shot noise"
    )
    read_noise: LowHigh[Annotated[Number, Field(ge=0, le=1000)]] = Field(
        [1, 3], description="its standard deviation in electrons"
    )
    grain: LowHigh[Annotated[Number, Field(ge=0, le=10)]] = Field(
        [0, 0], description="blur of the noise, standard deviation in pixels: interpolated colours, scaled pictures"
    )
    probability: Chance = Field(1, description=OFTEN)


class JpegOptions(Options):
    """JPEG, as cameras and messengers write it."""

    quality: LowHigh[Annotated[int, Field(ge=1, le=100)]] = Field([60, 95], description="libjpeg's quality")
    full_colour: Annotated[Number, Field(ge=0, le=1)] = Field(
        0, description="share that keeps colour at full resolution; the others have half"
    )
    probability: Chance = Field(1, description=OFTEN)


Step = Literal["rain", "blur", "noise", "jpeg"]
STEPS: Mapping[Step, Callable[..., LinearImage]] = MappingProxyType(
    {"rain": rain, "blur": shake, "noise": sensor_noise, "jpeg": jpeg}
)
"""Options' names to what is done, in the order in which a camera does it."""


class SyntheticOptions(SampleOptions):
    """Pairs made of clean photographs: degraded in linear light by the sections that are given, ``{}`` for defaults."""

    dataroot_gt: Text = Field(description="folder of clean photographs, or an LMDB (*.lmdb)")
    rain: RainOptions | None = Field(None, description="rain in front of the camera")
    blur: BlurOptions | None = Field(None, description="a camera that shakes")
    noise: NoiseOptions | None = Field(None, description="shot and read noise")
    jpeg: JpegOptions | None = Field(None, description="JPEG")
    soft: SoftOptions | None = Field(None, description="photographs out of focus, which are to stay so")
    order: list[Step] = Field(list(STEPS), description="in which they happen")
    shrink: LowHigh[Annotated[Number, Field(ge=1, le=16)]] = Field(
        [1, 1], description="photographs are made smaller by a factor drawn from this, which averages their own noise"
    )

    @model_validator(mode="after")
    def _something_happens(self) -> Self:
        wanted = [name for name in STEPS if getattr(self, name) is not None]
        if not wanted:
            raise ValueError(f"nothing degrades the photographs: give some of {', '.join(STEPS)}, such as noise: {{}}")
        missing = [name for name in wanted if name not in self.order]
        if missing or len(set(self.order)) != len(self.order):
            raise ValueError(f"order: is {self.order}, must name each of {', '.join(wanted)} once")
        return self


class SyntheticDegradationDataset(RestorationDataset):
    """Photographs and what a camera would have made of them, drawn anew for each sample; no pairs are needed.

    A patch is cut, turned to linear light, degraded with as much around it as the blur sees, and rounded to 8 bits on
    both sides. In training everything drawn depends on (seed, epoch, position); outside of it on the index alone, so
    that every validation sees the same pictures.

    Args:
        opt: The dataset's section of the options, see :class:`~mprnet_plugin.data.samples.RestorationDataset`: those of
            :class:`SyntheticOptions`.

    Raises:
        InputError: A missing folder, or an option's value.
    """

    options_class = SyntheticOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.chain = SyntheticOptions.pick(opt, "dataset")
        super().__init__(opt, self.chain)
        self.gt = open_store(Path(self.chain.dataroot_gt).expanduser())
        self.keys = self.gt.keys()
        steps = [name for name in self.chain.order if getattr(self.chain, name) is not None]
        logger.info("%s: %d photographs, degraded by %s", self.gt.root, len(self.keys), ", ".join(steps))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, item: Draw | int) -> Sample:
        key = self.keys[item.item if isinstance(item, Draw) else item]
        rng = self.rng(item)
        clean, margin = self._view(self.gt.read(key), self.patch_side(item) if self.train else self.crop, rng)
        soft = self.chain.soft
        if soft is not None and rng.random() < soft.probability:
            clean = defocus(clean, rng, soft.size)
        degraded = self._degrade(clean, rng)
        inner = slice(margin, -margin or None)
        lq, gt = (to_srgb(image[inner, inner]) for image in (degraded, clean))
        if self.train:
            lq, gt = self.augmented((lq, gt), rng)
        where, path = self.gt.where(key), self.gt.path(key)
        return {
            "lq": self.tensor(lq, where),
            "gt": self.tensor(gt, where),
            "key": key,
            "lq_path": path,
            "gt_path": path,
        }

    def _view(self, image: Pixels, side: int | None, rng: np.random.Generator) -> tuple[LinearImage, int]:
        """Cut a patch with a margin, mirrored outside of the photograph, and shrink it; whole without a ``side``."""
        factor = draw(rng, self.chain.shrink)
        sides = [side or max(int(length / factor), 1) for length in image.shape[:2]]
        blur = self.chain.blur
        margin = 0 if blur is None else shake_margin(blur.length, blur.turn, max(sides), blur.moving)
        spans = []
        for length, wanted in zip(image.shape[:2], sides, strict=True):
            inner = round(wanted * factor)
            free = max(length - inner, 0)
            start = int(rng.integers(free + 1)) if self.train else free // 2
            border = round(margin * factor)
            spans.append(_mirrored(np.arange(start - border, start + inner + border), length))
        view = to_linear(image[np.ix_(*spans)])
        size = (sides[1] + 2 * margin, sides[0] + 2 * margin)
        if view.shape[1::-1] != size:
            view = cv2.resize(view, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        return view, margin

    def _degrade(self, image: LinearImage, rng: np.random.Generator) -> LinearImage:
        for name in self.chain.order:
            options: Any = getattr(self.chain, name)
            if options is not None and rng.random() < options.probability:
                image = STEPS[name](image, rng, **options.model_dump(exclude={"probability"}))
        return image


def _mirrored(positions: np.ndarray[Any, np.dtype[np.int64]], length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bring positions outside of 0 to ``length`` back inside by reflection, as often as it takes."""
    period = max(2 * (length - 1), 1)
    inside = np.abs(positions) % period
    return np.minimum(inside, period - inside) if length > 1 else np.zeros_like(positions)
