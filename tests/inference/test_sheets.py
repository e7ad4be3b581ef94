from __future__ import annotations

import numpy as np
import pytest

from mprnet_plugin.inference.plausible import mixed, moved_far
from mprnet_plugin.inference.sheets import before_and_after, detailed_part
from tests.helpers import picture


def test_small_pictures_stand_side_by_side() -> None:
    one, two = picture(0, 30, 40), picture(1, 30, 40)
    np.testing.assert_array_equal(before_and_after(one, two), np.concatenate([one, two], 1))


@pytest.mark.parametrize("size", [(3000, 4000), (1800, 60), (60, 1800)])
def test_large_pictures_are_reduced_above_a_part_at_full_size(size: tuple[int, int]) -> None:
    before = np.full((*size, 3), 40, np.uint8)
    before[-20:, -20:] = picture(2, 20, 20)
    sheet = before_and_after(before, 255 - before)
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 2
    assert max(height, width) == 1200
    rows, columns = detailed_part(before, height, width)
    assert (rows.stop, columns.stop) == size  # where the detail is
    part = before[rows.start :, columns.start :]
    np.testing.assert_array_equal(sheet[height:], np.concatenate([part, 255 - part], 1))
    np.testing.assert_array_equal(sheet[: height // 2, : width // 2], 40)


def test_what_looks_nothing_like_its_input_is_said() -> None:
    clean = np.clip(np.linspace(60, 200, 128)[None, :, None] + np.zeros((96, 1, 3)), 0, 255).astype(np.uint8)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 50, clean.shape), 0, 255).astype(np.uint8)
    assert not moved_far(noisy, clean)
    assert not moved_far(clean[..., 0], clean[..., 0])
    tinted = clean.copy()
    tinted[..., 0] = np.minimum(tinted[..., 0] + 40.0, 255).astype(np.uint8)
    assert "its colours moved by 1" in moved_far(clean, tinted)
    broken = clean.copy()
    broken[:32, :32] = 255
    assert "8% of it looks nothing like the input" in moved_far(clean, broken)


def test_mixing_keeps_type_and_ends() -> None:
    one, two = picture(0, 4, 4, np.uint16), picture(1, 4, 4, np.uint16)
    assert mixed(one, two, 1) is two
    half = mixed(one, two, 0.5)
    assert half.dtype == np.uint16
    assert np.abs(half - (one.astype(float) + two) / 2).max() <= 0.5
