from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mprnet_plugin.metrics.protocols import Scores
from mprnet_plugin.training import validation as val


class Pictures:
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"lq": torch.full((3, 2, 2), float(index)), "lq_path": f"folder/{index}.png"}


@pytest.mark.parametrize(("images", "ranks"), [(5, 1), (5, 2), (2, 4), (0, 2)])
def test_every_image_is_taken_once(images: int, ranks: int) -> None:
    taken = [index for rank in range(ranks) for index, _ in val.shard(Pictures(images), rank, ranks, bar=False)]
    assert sorted(taken) == list(range(images))


def test_samples_are_batches_of_one() -> None:
    index, sample = next(val.shard(Pictures(3), 1, 2, bar=False))
    assert index == 1
    assert sample["lq"].shape == (1, 3, 2, 2)
    assert val.image_name(sample) == "1"
    assert val.image_name({"key": ["sub/a.b"], "lq_path": ["x/sub/a.b.png"]}) == "sub/a.b"


def test_means_do_not_depend_on_who_computed_what() -> None:
    rng = np.random.default_rng(0)
    rows = {index: val.Scored("x", {"psnr": float(value)}) for index, value in enumerate(rng.normal(30, 5, 101))}
    shards = [{i: rows[i] for i in range(rank, 101, 4)} for rank in (2, 0, 3, 1)]
    joined = dict(sorted(item for part in shards for item in part.items()))
    assert val.means(joined) == val.means(rows)
    assert val.gather(rows) == rows


def test_pictures_are_clamped_rounded_and_bgr() -> None:
    x = torch.tensor([-1.0, 0.5001, 2.0]).view(1, 3, 1, 1).expand(-1, -1, 4, 5)
    assert val.to_picture(x, rounded=True)[0, 0].tolist() == [255, 128, 0]
    assert val.to_picture(x, rounded=False)[0, 0].tolist() == pytest.approx([1.0, 0.5001, 0.0])


def test_best_values_follow_their_direction() -> None:
    scoring = val.Scoring({}, lower_is_better=frozenset(["lpips"]))
    best: val.Best = {}
    for step, (psnr, lpips) in enumerate([(30.0, 0.5), (31.0, 0.6), (29.0, 0.4)]):
        val.update_best(best, {"psnr": psnr, "lpips": lpips}, scoring, step)
    assert best == {"psnr": (31.0, 1), "lpips": (0.4, 2)}


def test_degraded_pictures_are_scored_beside_the_restored_ones_and_once() -> None:
    calls = []

    def closeness(picture: val.BGRPicture, target: val.BGRPicture) -> float:
        calls.append(1)
        return -float(np.abs(picture.astype(int) - target.astype(int)).mean())

    def restore(sample: val.Sample) -> val.Restored:
        level = int(sample["lq"][0, 0, 0, 0])
        lq, result, gt = (np.full((2, 2, 3), value, np.uint8) for value in (level, level + 10, level + 12))
        return val.Restored(str(level), lq, result, gt)

    scoring = val.Scoring({"closeness": closeness})
    inputs: dict[int, Scores] = {}
    for expected in (6, 9):  # the second time the degraded ones are known
        scored = val.validate(Pictures(3), restore, scoring, lambda index, image: None, inputs)
        assert len(calls) == expected
        assert val.means(scored) == {"closeness": -2.0}
        assert val.input_means(scored) == {"closeness": -12.0}
    assert val.is_worse(0.3, 0.2, lower_is_better=True)
    assert not val.is_worse(0.3, 0.2)
