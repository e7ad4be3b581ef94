from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest

from mprnet_plugin.training import grids
from mprnet_plugin.training.showcase import Showcase
from mprnet_plugin.training.validation import Restored, Scored

NAMES = "abcdef"
SCORED = {index: Scored(name, {}) for index, name in enumerate(NAMES)}


def image(index: int, side: int = 400) -> Restored:
    picture = np.full((side, side, 3), index, np.uint8)
    return Restored(NAMES[index], picture, picture, picture)


def never(index: int) -> NoReturn:
    raise AssertionError(f"{index} was restored twice")


def filled(showcase: Showcase) -> Showcase:
    for index in SCORED:
        showcase.offer(index, image(index))
    return showcase


@pytest.mark.parametrize(
    ("names", "any_of_them", "instead", "expected"),
    [
        ([], False, [], [0, 1]),
        (["e", "b"], False, [], [1, 4]),
        (["z"], False, [], [0, 1]),  # none of that name: the first after all
        ([], True, [5, 2, 3], [5, 2, 3]),
        (["e"], True, [5, 2, 3], [4]),
    ],
)
def test_what_is_shown_was_kept(names: list[str], any_of_them: bool, instead: list[int], expected: list[int]) -> None:
    showcase = filled(Showcase(2, names, any_of_them))
    indices = showcase.chosen(SCORED, instead)
    assert indices == expected
    shown = showcase.pictures(indices, never)
    assert [one.name for one in shown] == [NAMES[index] for index in expected]
    assert all(one.result.shape == (grids.SIDE, grids.SIDE, 3) for one in shown)
    assert all(one.lq[0, 0, 0] == index for one, index in zip(shown, expected, strict=True))


def test_names_that_a_set_does_not_have_are_known() -> None:
    assert Showcase(2, ["z", "b", "y"]).missing(SCORED) == ["y", "z"]


def test_beyond_the_bound_a_picture_is_restored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mprnet_plugin.training.showcase._MOST", 3)
    asked = []

    def again(index: int) -> Restored:
        asked.append(index)
        return image(index)

    shown = filled(Showcase(0, any_of_them=True)).pictures([1, 5], again)
    assert asked == [5]
    assert [one.name for one in shown] == ["b", "f"]


def test_each_process_brings_what_it_restored() -> None:
    """The second of two, with the other's part left out."""
    showcase = Showcase(4)
    for index in (1, 3, 5):
        showcase.offer(index, image(index))
    with pytest.raises(KeyError):  # alone it has half of them
        showcase.pictures([0, 1], never, rank=1, world_size=2)
    assert [one.name for one in showcase.pictures([1, 3], never, rank=1, world_size=2)] == ["b", "d"]
