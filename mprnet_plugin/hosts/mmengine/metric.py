"""The papers' protocols as a metric of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.perceptual import perceptual, perceptual_is_lower_better
from mprnet_plugin.metrics.protocols import Scores, find_protocol
from mprnet_plugin.training import tables
from mprnet_plugin.training import validation as val

__all__ = ["RestorationMetric"]


class RestorationMetric(BaseMetric):  # type: ignore[misc]
    """PSNR and SSIM as one of :data:`~mprnet_plugin.metrics.protocols.PROTOCOLS` defines them.

    Each stands beside the degraded picture's own (``input_psnr``), which is computed once a run.

    Args:
        protocol: ``gopro``, ``sidd``, ``rain``, ``realblur`` or another of them.
        perceptual: Names of further metrics of the package pyiqa, such as ``lpips``, ``dists``, ``niqe``.
        prefix: What logs call the set, as in ``GoPro/psnr``; by default the dataset's ``name``, by which tables find
            published figures.
        collect_device: As the host has it.
        collect_dir: As the host has it.

    Attributes:
        rows: Every picture's scores, after the last evaluation, in the first process.

    Raises:
        InputError: An unknown protocol, or a metric that pyiqa does not have or cannot load.
    """

    def __init__(
        self,
        protocol: str,
        prefix: str | None = None,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
        perceptual: Sequence[str] = (),
    ) -> None:
        self.protocol = find_protocol(protocol)
        self.lower_is_better = frozenset(name for name in perceptual if perceptual_is_lower_better(name))
        self.rows: list[tables.Row] = []
        self._perceptual = tuple(perceptual)
        self._before: dict[str, Scores] = {}
        self._own_prefix = prefix
        super().__init__(collect_device, prefix or self.protocol.name, collect_dir)

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the means over all processes' pictures, named after the set.

        Args:
            size: Pictures of the set.
        """
        self.prefix = self._own_prefix or self._set
        means: dict[str, float] = super().evaluate(size)
        return means

    @property
    def _set(self) -> str:
        return (self.dataset_meta or {}).get("dataset_name") or self.protocol.name

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Score a batch, and the degraded pictures at their first sight.

        Raises:
            InputError: A picture without its sharp one.
        """
        degraded = [None] * len(data_samples) if data_batch is None else list(data_batch["lq"])
        for lq, sample in zip(degraded, data_samples, strict=True):
            if "gt" not in sample:
                raise InputError(f"picture {sample['key']!r} has no sharp one, so it cannot be scored")
            key: str = sample["key"]
            if lq is not None and key not in self._before:
                self._before[key] = self._score(lq.float().div(255) if lq.dtype == torch.uint8 else lq, sample["gt"])
            scores = self._score(sample["pred"], sample["gt"])
            self.results.append(val.Scored(key, scores, self._before.get(key, {})))

    def _score(self, image: torch.Tensor, gt: torch.Tensor) -> Scores:
        pictures = (val.to_picture(one[None], self.protocol.rounded) for one in (image, gt))
        restored, target = (np.ascontiguousarray(picture[..., ::-1]) for picture in pictures)
        further = {name: perceptual(restored, target, name) for name in self._perceptual}
        return {**self.protocol.score(restored, target), **further}

    def compute_metrics(self, results: list[tuple[str, Scores, Scores]]) -> dict[str, float]:
        """Return each metric's mean over all pictures, in the dataset's order, the degraded ones' by ``input_NAME``.

        Args:
            results: Of every picture; the host makes plain tuples of what :meth:`process` kept.
        """
        scored = [val.Scored(*one) for one in results]
        self.rows = [tables.Row(self._set, self.protocol.name, one.name, one.scores, one.before) for one in scored]
        numbered = dict(enumerate(scored))
        means, before = val.means(numbered), val.input_means(numbered)
        for name, value in means.items():
            line = val.gain(value, before.get(name), name in self.lower_is_better)
            if line:
                print_log(f"{self._set} {name}: {value:.4f}{line}", logger="current")
        return {**means, **{f"input_{name}": value for name, value in before.items()}}
