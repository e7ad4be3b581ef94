"""Pairs of degraded and sharp pictures, from folders or LMDB, of one set or of several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from typing_extensions import Self

from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.data.pairs import pair_keys
from mprnet_plugin.data.sampler import Draw
from mprnet_plugin.data.samples import RestorationDataset, Sample, SampleOptions, center_crop, pad_to, random_corner
from mprnet_plugin.data.stores import LMDB_SUFFIX, open_store
from mprnet_plugin.errors import InputError
from mprnet_plugin.typed_options import Number, Options, Text

__all__ = ["BackendOptions", "PairedOptions", "PairedRestorationDataset", "SourceOptions"]

logger = logging.getLogger(__name__)

ROOTS = ("dataroot_lq", "dataroot_gt")


class BackendOptions(Options):
    """Where pictures come from, as the host's datasets are told; ours see it by the roots, and only compare."""

    type: Literal["disk", "lmdb"] = Field(description="lmdb where the roots end in .lmdb, else disk")


class SourceOptions(Options):
    """One of several training sets."""

    dataroot_lq: Text = Field(description="folder of degraded pictures, or an LMDB (*.lmdb)")
    dataroot_gt: Text = Field(description="folder of sharp pictures of the same names, or an LMDB")
    weight: Annotated[Number, Field(gt=0, le=1e6)] | None = Field(
        None, description="share of the samples, relative to the other sets'; by number of pairs where none has one"
    )


class PairedOptions(SampleOptions):
    """Pairs of degraded and sharp pictures, from folders or LMDB."""

    dataroot_lq: Text | None = Field(None, description="folder of degraded pictures, or an LMDB (*.lmdb)")
    dataroot_gt: Text | None = Field(None, description="folder of sharp pictures of the same names, or an LMDB")
    sources: Annotated[list[SourceOptions], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="several training sets in place of the two folders, each with both and a weight"
    )
    io_backend: BackendOptions | None = Field(None, description="compared with the roots if given")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in ROOTS:
            if (getattr(self, name) is None) == (self.sources is None):
                raise ValueError(
                    f"{name} is missing: a folder or an LMDB"
                    if self.sources is None
                    else f"{name} and sources exclude each other: put the folder into sources"
                )
        if self.sources is not None and self.phase != "train":
            raise ValueError("sources are for training: give val_2, test_1 and so on a section each")
        given = [source.weight is not None for source in self.sources or ()]
        if any(given) and not all(given):
            raise ValueError("sources: give each a weight, or none of them")
        if self.io_backend is not None:
            for source in self.all_sources():
                _check_backend(source, self.io_backend.type)
        return self

    def all_sources(self) -> list[SourceOptions]:
        """Return the sets, of which there is one where the two folders are given."""
        if self.sources is not None:
            return list(self.sources)
        return [SourceOptions(dataroot_lq=self.dataroot_lq or "", dataroot_gt=self.dataroot_gt or "")]


def _check_backend(source: SourceOptions, kind: str) -> None:
    for name in ROOTS:
        root = getattr(source, name)
        if (kind == "lmdb") != (Path(root).suffix == LMDB_SUFFIX):
            raise ValueError(f"io_backend type {kind} does not fit {name} {root}: LMDBs, and only they, end in .lmdb")


class PairSource:
    """One pair of folders or LMDBs, matched by name.

    Raises:
        InputError: A missing folder, orphans, or pairs of unequal size.
    """

    def __init__(self, options: SourceOptions) -> None:
        self.lq = open_store(Path(options.dataroot_lq).expanduser())
        self.gt = open_store(Path(options.dataroot_gt).expanduser())
        self.keys = pair_keys(self.lq.keys(), self.gt.keys(), self.lq.root, self.gt.root)
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

    def read(self, key: str) -> tuple[Pixels, Pixels]:
        """Return both sides of a pair, (H, W, 3) each."""
        lq, gt = self.lq.read(key), self.gt.read(key)
        if lq.shape != gt.shape:
            raise InputError(f"{self.lq.where(key)} is {lq.shape}, {self.gt.where(key)} is {gt.shape}: must be equal")
        return lq, gt


class PairedRestorationDataset(RestorationDataset):
    """Pairs matched by name, cropped before anything is converted.

    An epoch has as many samples as all sets have pairs. Of several sets each gives its share of them; one that gives
    fewer than it has goes on in the next epoch where it stopped, so that all of its pairs come equally often.

    Args:
        opt: The dataset's section of the options, see :class:`~mprnet_plugin.data.samples.RestorationDataset`: those of
            :class:`PairedOptions`.

    Raises:
        InputError: A missing folder, orphans, pairs of unequal size, or an option's value.
    """

    options_class = PairedOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        options = PairedOptions.pick(opt, "dataset")
        super().__init__(opt, options)
        chosen = options.all_sources()
        self.sources = [PairSource(source) for source in chosen]
        sizes = [len(source.keys) for source in self.sources]
        self.counts = shares(sum(sizes), [one.weight or size for one, size in zip(chosen, sizes, strict=True)])
        self._ends = list(accumulate(self.counts))
        if len(chosen) > 1:
            self._say_shares()

    def _say_shares(self) -> None:
        total = len(self)
        for source, count in zip(self.sources, self.counts, strict=True):
            if not count:
                raise InputError(f"sources: the weight of {source.lq.root} gives it no sample of {total}: raise it")
            logger.info(
                "Training set %s: %d pairs, %d of the %d samples of an epoch (%.1f %%)",
                source.lq.root,
                len(source.keys),
                count,
                total,
                100 * count / total,
            )

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, item: Draw | int) -> Sample:
        source, key = self._pair(item)
        lq, gt = source.read(key)
        if self.train:
            rng, side = self.rng(item), self.patch_side(item)
            top, left = random_corner(lq.shape, side, rng)
            lq, gt = (pad_to(image[top : top + side, left : left + side], side) for image in (lq, gt))
            lq, gt = self.augmented((lq, gt), rng)
        elif self.crop is not None:
            lq, gt = center_crop(lq, self.crop), center_crop(gt, self.crop)
        return {
            "lq": self.tensor(lq, source.lq.where(key)),
            "gt": self.tensor(gt, source.gt.where(key)),
            "key": key,
            "lq_path": source.lq.path(key),
            "gt_path": source.gt.path(key),
        }

    def _pair(self, item: Draw | int) -> tuple[PairSource, str]:
        offset = item.item if isinstance(item, Draw) else item
        if len(self.sources) == 1:
            return self.sources[0], self.sources[0].keys[offset]
        number = next(index for index, end in enumerate(self._ends) if offset < end)
        source, count = self.sources[number], self.counts[number]
        offset -= self._ends[number] - count
        # Where an epoch takes a part of the pairs, the next one goes on behind it; who tells no epoch gets any.
        start = item.epoch * count if isinstance(item, Draw) else int(torch.randint(len(source.keys), ()))
        return source, source.keys[(start + offset) % len(source.keys)]


def shares(total: int, weights: Sequence[float]) -> list[int]:
    """Divide a number into whole parts in the ratio of weights, by largest remainder.

    Example:
        >>> shares(10, [1, 1, 1])
        [4, 3, 3]
    """
    exact = [total * weight / sum(weights) for weight in weights]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: parts[index] - exact[index])
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts
