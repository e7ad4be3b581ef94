"""From samples to batches on the device: bytes become floats there, pictures of any size are padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement
from torch import Tensor

from mprnet_plugin.archs.any_size import pad_to_multiple
from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE
from mprnet_plugin.errors import InputError

__all__ = ["RestorationPreprocessor"]


class RestorationPreprocessor(BaseDataPreprocessor):  # type: ignore[misc]
    """Make ``inputs`` and ``data_samples`` of a batch of pairs, collated or not.

    Args:
        pad_multiple: Outside of training, pictures are padded by reflection right and below to a multiple of this;
            ``size`` of each sample is what to crop the result to.
        non_blocking: Copy to the device without waiting, from pinned memory.
    """

    def __init__(self, pad_multiple: int = SIZE_MULTIPLE, non_blocking: bool = True) -> None:
        super().__init__(non_blocking)
        self.pad_multiple = pad_multiple

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Return ``inputs``, (N, 3, H, W) float in [0, 1], and ``data_samples`` with ``gt``, ``key`` and ``size``.

        Args:
            data: ``lq`` and mostly ``gt``, tensors (N, 3, H, W) or lists of (3, H, W), bytes or floats; texts in lists.
            training: Whether it is a training batch.

        Raises:
            InputError: Pictures of different sizes in one batch.
        """
        data = self.cast_data(data)
        lq = [_floating(one) for one in data["lq"]]
        names = data.get("key") or data.get("lq_path") or [""] * len(lq)
        samples = [
            BaseDataElement(metainfo={"key": str(name), "size": tuple(image.shape[-2:])})
            for name, image in zip(names, lq, strict=True)
        ]
        for sample, target in zip(samples, data.get("gt", ()), strict=False):
            sample.gt = _floating(target)
        inputs = lq if training else [pad_to_multiple(image[None], self.pad_multiple)[0] for image in lq]
        return {"inputs": _stacked(inputs), "data_samples": samples}


def _floating(image: Tensor) -> Tensor:
    return image.float().div_(255) if image.dtype == torch.uint8 else image


def _stacked(images: Sequence[Tensor]) -> Tensor:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise InputError(f"a batch has pictures of {sorted(shapes)}: set batch_size=1, or a center_crop")
    return torch.stack(list(images))
