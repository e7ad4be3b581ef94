from __future__ import annotations

import itertools
from collections import Counter

import pytest

from mprnet_plugin.data.sampler import ResumableSampler, Schedule


class Pairs:
    def __init__(self, size: int, **schedule: int) -> None:
        self.size = size
        self.schedule = Schedule(**schedule)

    def __len__(self) -> int:
        return self.size


def draws(sampler: ResumableSampler, epoch: int) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    return [(draw.item, draw.position) for draw in sampler]


@pytest.mark.parametrize(
    ("size", "batch", "ranks", "ratio"), [(10, 4, 1, 1), (3, 8, 1, 1), (20, 2, 3, 2), (7, 1, 1, 1)]
)
def test_an_epoch_is_whole_batches_and_takes_every_sample(size: int, batch: int, ranks: int, ratio: int) -> None:
    samplers = [ResumableSampler(Pairs(size, batch_size=batch), ranks, rank, ratio) for rank in range(ranks)]
    assert all(len(s) % batch == 0 and len(list(s)) == len(s) for s in samplers)
    counts = Counter(index for s in samplers for index, _ in draws(s, 0))
    assert set(counts) == set(range(size))
    assert min(counts.values()) >= ratio
    assert sum(counts.values()) - size * ratio < batch * ranks * max(1, -(-batch * ranks // (size * ratio)))


def test_ranks_share_one_order() -> None:
    one = draws(ResumableSampler(Pairs(12, batch_size=4), 1, 0), 3)
    two = [draws(ResumableSampler(Pairs(12, batch_size=2), 2, rank), 3) for rank in range(2)]
    assert list(itertools.chain(*zip(*two, strict=True))) == one


def test_epochs_and_seeds_differ_and_repeat_exactly() -> None:
    sampler = ResumableSampler(Pairs(50), 1, 0)
    assert draws(sampler, 0) != draws(sampler, 1)
    assert draws(sampler, 1) == draws(ResumableSampler(Pairs(50), 1, 0), 1)
    assert draws(sampler, 0) != draws(ResumableSampler(Pairs(50, seed=1), 1, 0), 0)


@pytest.mark.parametrize("behind", [0, 1, 4, 5, 7, 10])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_resumed_run_takes_what_was_left(behind: int, ranks: int) -> None:
    for rank in range(ranks):
        whole = ResumableSampler(Pairs(20 * ranks, batch_size=4), ranks, rank)
        assert whole.iters_per_epoch == 5
        resumed = ResumableSampler(Pairs(20 * ranks, batch_size=4, start_iter=behind), ranks, rank)
        expected = [draw for epoch in range(3) for draw in draws(whole, epoch)][behind * 4 :]
        start = behind // 5
        assert [draw for epoch in range(start, 3) for draw in draws(resumed, epoch)] == expected


@pytest.mark.parametrize("ranks", [1, 2])
def test_draws_tell_their_iteration(ranks: int) -> None:
    for rank in range(ranks):
        sampler = ResumableSampler(Pairs(20, batch_size=2, start_iter=7), ranks, rank)
        told = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            told += [draw.iteration for draw in sampler]
        last = 3 * sampler.iters_per_epoch
        assert told == [iteration for iteration in range(8, last + 1) for _ in range(2)]
