from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.tiling import blend_weights, check_tile, restore_windows, spans


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, int]:
    length = draw(st.integers(1, 3000))
    tile = 8 * draw(st.integers(2, 64))
    overlap = 8 * draw(st.integers(0, tile // 16))
    return length, tile, overlap


@given(plans())
def test_every_position_is_covered_within_bounds(plan: tuple[int, int, int]) -> None:
    length, tile, overlap = plan
    check_tile(tile, overlap)
    windows = spans(length, tile, overlap)
    covered = np.zeros(length, int)
    for window in windows:
        assert 0 <= window.start < window.stop <= length
        assert window.stop - window.start == min(tile, length)
        covered[window.start : window.stop] += 1
    assert covered.min() >= 1
    for first, second in pairwise(windows):
        assert first.start < second.start
        assert first.stop - second.start >= overlap
    if length % 8 == 0:
        assert all(window.start % 8 == 0 for window in windows)
    # No more windows than it takes.
    assert len(windows) == max(1, -(-(length - overlap) // (tile - overlap)))


@given(plans())
def test_weights_sum_to_one_and_have_no_step(plan: tuple[int, int, int]) -> None:
    length, tile, overlap = plan
    windows = spans(length, tile, overlap)
    total = np.zeros(length)
    for window, weights in zip(windows, blend_weights(windows), strict=True):
        assert weights.shape == (window.stop - window.start,)
        assert weights.min() > 0
        total[window.start : window.stop] += weights
        if overlap:
            steps = np.abs(np.diff(weights))
            assert steps.max(initial=0) <= 2 / overlap + 1e-6
            if window.start > 0:
                assert weights[0] <= 1 / overlap
            if window.stop < length:
                assert weights[-1] <= 1 / overlap
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_known_plan() -> None:
    windows = spans(40, 24, 8)
    assert windows == [(0, 24), (16, 40)]
    first, second = blend_weights(windows)
    expected = (np.arange(8) + 0.5) / 8
    np.testing.assert_allclose(first, [*np.ones(16), *expected[::-1]])
    np.testing.assert_allclose(second, [*expected, *np.ones(16)])


@pytest.mark.parametrize(("tile", "overlap"), [(8, 0), (100, 8), (0, 0), (-16, 0), (64, 4), (64, 40), (64, -8)])
def test_bad_sizes(tile: int, overlap: int) -> None:
    with pytest.raises(InputError, match=f"={overlap if tile == 64 else tile} must be"):
        check_tile(tile, overlap)


@pytest.mark.parametrize("size", [(40, 48), (30, 37), (16, 100), (64, 64), (9, 3)])
def test_windows_make_the_whole_again(size: tuple[int, int]) -> None:
    """What works on each pixel alone gives the same by windows; what sees a window's place shows that they are ones."""
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    seen = []

    def double(part: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(part.shape[-2:]))
        return 2 * part

    torch.testing.assert_close(restore_windows(double, x, 32, 16), 2 * x)
    assert max(max(shape) for shape in seen) <= 32 or seen == [size]
    assert (len(seen) == 1) is (max(size) <= 32)


def test_where_windows_overlap_they_are_blended() -> None:
    numbers = iter(range(10))
    result = restore_windows(lambda part: torch.full_like(part, next(numbers)), torch.zeros(1, 1, 16, 48), 32, 16)
    row = result[0, 0, 5]
    assert row[:16].eq(0).all()
    assert row[32:].eq(1).all()
    assert (row[16:32].diff() > 0).all()
