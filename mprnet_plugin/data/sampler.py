"""Which sample comes when: shuffled anew each epoch, the same for any number of workers, resumable in mid-epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from typing import NamedTuple, Protocol

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One request to the dataset: which pair, and what its random numbers depend on beside the seed."""

    item: int
    epoch: int
    position: int
    """Place in the epoch's order over all processes."""
    iteration: int = 1
    """The one whose batch the sample is for, counted from 1 over the whole run."""


class Schedule(NamedTuple):
    """What the sampler must know of the run; the host gives none of it to its samplers."""

    seed: int = 0
    batch_size: int = 1
    """Samples that one process takes an iteration."""
    start_iter: int = 0
    """Iterations that a resumed run has behind it."""


class ScheduledDataset(Sized, Protocol):
    """A dataset that understands :class:`Draw` and carries its run's schedule."""

    schedule: Schedule


class ResumableSampler(Sampler[Draw]):
    """Draw every sample ``ratio`` times an epoch, in an order set by (seed, epoch) alone.

    It stands in for the host's ``EnlargedSampler`` and takes its arguments. An epoch is filled up to whole
    batches from the start of its own order: the host counts iterations an epoch rounding up, while its loader drops the
    last partial batch, so that runs ended early.

    Args:
        dataset: A dataset with a ``schedule``.
        num_replicas: Number of processes.
        rank: This process.
        ratio: How often an epoch repeats the dataset (the host's ``dataset_enlarge_ratio``).
    """

    def __init__(self, dataset: ScheduledDataset, num_replicas: int, rank: int, ratio: float = 1) -> None:
        self.size = len(dataset)
        self.schedule = dataset.schedule
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        wanted = math.ceil(self.size * ratio)
        self.iters_per_epoch = math.ceil(wanted / (self.schedule.batch_size * num_replicas))
        self.num_samples = self.iters_per_epoch * self.schedule.batch_size
        self.wanted = wanted

    def _order(self) -> list[int]:
        generator = torch.Generator().manual_seed(self.schedule.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.wanted, generator=generator)
        total = self.num_samples * self.num_replicas
        repeats = math.ceil(total / self.wanted)
        indices: list[int] = order.repeat(repeats)[:total].remainder(self.size).tolist()
        return indices

    def __iter__(self) -> Iterator[Draw]:
        behind = self.schedule.start_iter - self.epoch * self.iters_per_epoch
        skip = min(max(behind, 0) * self.schedule.batch_size, self.num_samples)
        indices = self._order()
        batch = self.schedule.batch_size * self.num_replicas
        for position in range(self.rank + skip * self.num_replicas, len(indices), self.num_replicas):
            iteration = self.epoch * self.iters_per_epoch + position // batch + 1
            yield Draw(indices[position], self.epoch, position, iteration)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that the next iteration over the sampler stands for; the host calls it."""
        self.epoch = epoch
