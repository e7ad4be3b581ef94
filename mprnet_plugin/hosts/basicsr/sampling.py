"""The host's sampler as runs of our model need it; other models' runs do not notice."""

from __future__ import annotations

import math
from typing import Any

from mprnet_plugin.data.sampler import ResumableSampler
from mprnet_plugin.hosts.basicsr.current_run import RUN

__all__ = ["enlarged_sampler"]


def enlarged_sampler(original: Any) -> type:
    """Return what stands in for the host's ``EnlargedSampler``.

    Our datasets get a :class:`~mprnet_plugin.data.sampler.ResumableSampler`. With the host's, an epoch of our model is
    whole batches too: the host counts the last, partial one, which its loader drops, so that runs ended early.
    """

    class EnlargedSampler(original):  # type: ignore[misc]
        def __new__(cls, dataset: Any, num_replicas: int, rank: int, ratio: float = 1) -> Any:
            RUN.samples = len(dataset) * ratio
            if hasattr(dataset, "schedule"):
                return ResumableSampler(dataset, num_replicas, rank, ratio)
            return super().__new__(cls)

        def __init__(self, dataset: Any, num_replicas: int, rank: int, ratio: float = 1) -> None:
            super().__init__(dataset, num_replicas, rank, ratio)
            opt = getattr(dataset, "opt", None)
            schedule = opt.get("schedule") if isinstance(opt, dict) else None  # of our model's runs alone
            if schedule:
                self.num_samples: int = math.ceil(len(self) / schedule["batch_size"]) * schedule["batch_size"]
                self.total_size = self.num_samples * num_replicas

    EnlargedSampler.__qualname__ = EnlargedSampler.__name__
    return EnlargedSampler
