from __future__ import annotations

import numpy as np
import pytest

from mprnet_plugin.training.plots import draw_curve, round_steps


def test_a_curve_is_where_its_values_are() -> None:
    picture = draw_curve([1, 1000], [2e-4, 0.0], "title", "a note " * 60)
    assert picture.shape == (540, 960, 3)
    blue = (picture == (200, 90, 0)).all(-1)  # BGR
    rows, columns = np.nonzero(blue)
    assert rows[columns.argmin()] < 60  # from the top left
    assert rows[columns.argmax()] > 420  # to the right bottom
    assert columns.max() - columns.min() > 800
    assert (picture[440:] < 100).any()  # the note


@pytest.mark.parametrize(
    ("most", "steps"),
    [(6, [0, 2, 4, 6]), (2e-4, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]), (1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, [0])],
)
def test_steps_are_round(most: float, steps: list[float]) -> None:
    assert round_steps(most) == pytest.approx(steps)


def test_a_single_point_and_a_rate_of_nothing_are_drawn_too() -> None:
    assert draw_curve([1], [0.0], "x").shape == (540, 960, 3)
