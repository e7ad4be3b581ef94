"""The papers' protocols as a metric of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.protocols import Scores, find_protocol
from mprnet_plugin.training import tables
from mprnet_plugin.training import validation as val

__all__ = ["RestorationMetric"]


class RestorationMetric(BaseMetric):  # type: ignore[misc]
    """PSNR and SSIM as one of :data:`~mprnet_plugin.metrics.protocols.PROTOCOLS` defines them.

    Args:
        protocol: ``gopro``, ``sidd``, ``rain``, ``realblur`` or another of them.
        prefix: What logs call the set, as in ``GoPro/psnr``; by default the dataset's ``name``, by which tables find
            published figures.
        collect_device: As the host has it.
        collect_dir: As the host has it.

    Attributes:
        rows: Every picture's scores, after the last evaluation, in the first process.

    Raises:
        InputError: An unknown protocol.
    """

    def __init__(
        self, protocol: str, prefix: str | None = None, collect_device: str = "cpu", collect_dir: str | None = None
    ) -> None:
        self.protocol = find_protocol(protocol)
        self.rows: list[tables.Row] = []
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
        """Score a batch.

        Raises:
            InputError: A picture without its sharp one.
        """
        for sample in data_samples:
            if "gt" not in sample:
                raise InputError(f"picture {sample['key']!r} has no sharp one, so it cannot be scored")
            pictures = (val.to_picture(sample[name][None], self.protocol.rounded) for name in ("pred", "gt"))
            restored, target = (np.ascontiguousarray(picture[..., ::-1]) for picture in pictures)
            self.results.append(val.Scored(sample["key"], self.protocol.score(restored, target)))

    def compute_metrics(self, results: list[tuple[str, Scores]]) -> dict[str, float]:
        """Return each metric's mean over all pictures, in the dataset's order.

        Args:
            results: Of every picture; the host makes plain tuples of what :meth:`process` kept.
        """
        scored = [val.Scored(*one) for one in results]
        self.rows = [tables.Row(self._set, self.protocol.name, one.name, one.scores) for one in scored]
        return val.means(dict(enumerate(scored)))
