"""The core's sampler without an end: epochs follow each other, so that loading never pauses between two."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mprnet_plugin.data.sampler import Draw, ResumableSampler, ScheduledDataset
from mprnet_plugin.errors import InputError

__all__ = ["EndlessSampler"]


class EndlessSampler(Sampler[Draw]):
    """Draw as :class:`~mprnet_plugin.data.sampler.ResumableSampler` does, epoch after epoch.

    Where to begin, and the batch that epochs are filled up to, stand in the dataset's schedule;
    :class:`~mprnet_plugin.hosts.mmengine.loops.ResumableTrainLoop` fills it in.

    Args:
        dataset: One of ours, not wrapped.
        seed: The run's; the runner gives it.
        ratio: How often an epoch repeats the dataset.

    Raises:
        InputError: A dataset that cannot be drawn from in this way.
    """

    def __init__(self, dataset: ScheduledDataset, seed: int | None = None, ratio: float = 1) -> None:
        if not hasattr(dataset, "schedule"):
            raise InputError(
                "sampler EndlessSampler draws from PairedRestorationDataset and SyntheticDegradationDataset, not from "
                f"{type(dataset).__name__}: use one without a wrapper, or sampler=dict(type='InfiniteSampler', "
                "shuffle=True)"
            )
        self.dataset = dataset
        self.ratio = ratio
        dataset.schedule = dataset.schedule._replace(seed=seed or 0)

    def __iter__(self) -> Iterator[Draw]:
        rank, world_size = get_dist_info()
        one_epoch = ResumableSampler(self.dataset, world_size, rank, self.ratio)
        for epoch in itertools.count(self.dataset.schedule.start_iter // one_epoch.iters_per_epoch):
            one_epoch.set_epoch(epoch)
            yield from one_epoch

    def __len__(self) -> int:
        """Return the samples of one epoch."""
        rank, world_size = get_dist_info()
        return len(ResumableSampler(self.dataset, world_size, rank, self.ratio))
