"""The physics of the degradations, and that they stay inside the ranges that they are given."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mprnet_plugin.data import degradations
from mprnet_plugin.data.linear_light import to_linear, to_srgb
from tests.helpers import picture


def grey(level: float, side: int = 128) -> NDArray[np.float32]:
    return np.full((side, side, 3), level, np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_srgb_curve_there_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(to_srgb(to_linear(levels)), levels)
    # IEC 61966-2-1: 8-bit 188 is half of the light, 10 lies on the straight part.
    assert to_linear(np.array([188], np.uint8))[0] == pytest.approx(0.5, abs=0.003)
    assert to_linear(np.array([10], np.uint8))[0] == pytest.approx(10 / 255 / 12.92, rel=1e-6)


def test_shake_moves_nothing_on_average_and_smoothly() -> None:
    for seed in range(20):
        path = degradations.shake_path(np.random.default_rng(seed))
        steps = np.diff(path[:, :2], axis=0)
        assert np.abs(path.mean(axis=0)).max() < 1e-9
        assert 6 <= np.linalg.norm(steps, axis=1).sum() <= 18
        assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() < 0.35 * np.linalg.norm(steps, axis=1).max()
        assert np.abs(path[:, :2]).max() < 24
        assert np.ptp(path[:, 2]) <= 0.5


def test_blur_is_a_mean_in_linear_light() -> None:
    np.testing.assert_allclose(degradations.shake(grey(0.3), rng()), 0.3, atol=1e-5)
    point = np.zeros((129, 129, 3), np.float32)
    point[64, 64] = 1
    trace = degradations.shake(point, rng())
    assert trace.sum() == pytest.approx(3, rel=1e-3)  # light is spread, not lost
    # The trace is the path itself: same mean position, same spread (turning about the centre moves nothing there).
    path = degradations.shake_path(rng())[:, :2]
    weight = trace[..., 0] / trace[..., 0].sum()
    down, right = np.mgrid[:129, :129] - 64
    assert [(weight * right).sum(), (weight * down).sum()] == pytest.approx([0, 0], abs=0.05)
    assert (weight * right**2).sum() == pytest.approx(path[:, 0].var(), abs=0.4)
    assert (weight * down**2).sum() == pytest.approx(path[:, 1].var(), abs=0.4)


def test_noise_keeps_the_mean_and_its_variance_grows_linearly_with_light() -> None:
    levels = np.array([0.0, 0.1, 0.3, 0.6, 0.9])
    variances = []
    for level in levels:
        noisy = degradations.sensor_noise(grey(float(level)), rng())
        assert noisy.mean(axis=(0, 1)) == pytest.approx([level] * 3, abs=0.006)
        variances.append(noisy.var(axis=(0, 1)))
    for channel in np.transpose(variances):
        slope, read = np.polyfit(levels, channel, 1)
        assert 1 / 400 * 0.95 < slope < 2.4 / 60 * 1.05
        assert read > 0
        np.testing.assert_allclose(channel, slope * levels + read, rtol=0.08, atol=2e-5)
    # Red and blue are amplified by the white balance, and so is their noise.
    assert variances[-1][0] > 1.3 * variances[-1][1] < variances[-1][2]


def test_rain_adds_the_skys_light_only_and_more_of_it_when_denser() -> None:
    covers = [degradations.streaks((768, 768), rng(), density).mean() for density in (0.4, 1.0, 2.0)]
    assert 0 < covers[0] < covers[1] < covers[2] < 0.5
    dark, bright = degradations.rain(grey(0), rng()), degradations.rain(grey(1), rng())
    assert dark.min() >= 0
    assert dark.mean() > 0.005
    assert bright.max() <= 1
    assert bright.mean() < 1
    assert np.median(dark) < 0.02  # most of the picture stays as it was


def test_16_bits_have_the_same_curve() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_allclose(to_linear(levels.astype(np.uint16) * 257), to_linear(levels), rtol=1e-6)


@pytest.mark.parametrize("length", [(0, 0), (40, 60)])
def test_blur_is_as_long_as_asked_and_the_margin_holds_it(length: tuple[int, int]) -> None:
    for seed in range(10):
        path = degradations.shake_path(np.random.default_rng(seed), length, (0, 3))
        steps = np.linalg.norm(np.diff(path[:, :2], axis=0), axis=1)
        assert length[0] - 1e-9 <= steps.sum() <= length[1] + 1e-9
        assert steps.max(initial=0) < 4  # no frames that could be seen one by one
        assert np.ptp(path[:, 2]) <= 3
        moved = np.linalg.norm(path[:, :2], axis=1) + np.deg2rad(np.abs(path[:, 2])) * 64 * 2**0.5 / 2
        assert moved.max() <= degradations.shake_margin(length, (0, 3), 64)


def test_fewer_electrons_are_more_noise() -> None:
    spread = [degradations.sensor_noise(grey(0.5), rng(), (e, e), (0, 0))[..., 1].var() for e in (50, 200)]
    assert spread == pytest.approx([0.5 / 50, 0.5 / 200], rel=0.05)  # shot noise: light over electrons


def test_jpeg_is_that_of_the_quality() -> None:
    linear = to_linear(picture(0, 64, 64))
    written = [to_srgb(degradations.jpeg(linear, rng(), (quality, quality))) for quality in (20, 95)]
    coarse, fine = (np.abs(one - picture(0, 64, 64).astype(int)).mean() for one in written)
    assert coarse > fine > 0
    assert np.array_equal(written[0], to_srgb(degradations.jpeg(linear, np.random.default_rng(1), (20, 20))))


def test_what_moves_by_itself_is_blurred_and_the_rest_is_not() -> None:
    sharp = to_linear(picture(3, 96, 96))
    still = degradations.shake(sharp, rng(), (0, 0), (0, 0))
    np.testing.assert_allclose(still, sharp, atol=1e-5)
    moved = degradations.shake(sharp, rng(), (0, 0), (0, 0), (12, 12))
    changed = np.abs(moved - sharp).max(axis=2) > 1e-3
    assert 0.1 < changed.mean() < 0.9
    assert moved.mean() == pytest.approx(sharp.mean(), rel=0.03)


@pytest.mark.parametrize("axis", [0, 1])
def test_things_move_down_and_across(axis: int) -> None:
    bars = np.zeros((96, 96, 3), np.float32)
    np.moveaxis(bars, axis, 0)[::2] = 1  # changes along one axis only, so nothing but movement along it is seen
    moved = [degradations.shake(bars, np.random.default_rng(seed), (0, 0), (0, 0), (12, 12)) for seed in range(5)]
    assert np.mean([np.abs(one - bars).max() for one in moved]) > 0.3


def test_the_margin_holds_a_moving_thing_as_well() -> None:
    plain = degradations.shake_margin((6, 18), (0, 0.5), 96)
    assert degradations.shake_margin((6, 18), (0, 0.5), 96, (0, 10)) == plain + 10


def test_grain_spreads_the_noise_and_keeps_the_light() -> None:
    fine, coarse = (
        degradations.sensor_noise(grey(0.5), rng(), (100, 100), (0, 0), (g, g))[..., 1] - 0.5 for g in (0, 1)
    )
    neighbours = [np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1] for noise in (fine, coarse)]
    assert abs(neighbours[0]) < 0.03
    assert neighbours[1] > 0.6
    assert coarse.mean() == pytest.approx(0, abs=0.003)


def test_streaks_are_as_long_and_wide_as_asked() -> None:
    plain, long, thin = (
        degradations.streaks((512, 512), rng(), 0.3, stretch, width) for stretch, width in ((1, 1), (2.5, 1), (1, 0.4))
    )
    assert long.mean() > 1.8 * plain.mean()
    assert (thin > 0.02).mean() < 0.8 * (plain > 0.02).mean()


def test_mist_draws_everything_towards_the_sky() -> None:
    dry = degradations.rain(grey(0.1), rng(), (0, 0))
    misty = degradations.rain(grey(0.1), rng(), (0, 0), mist=(0.2, 0.2))
    np.testing.assert_allclose(dry, 0.1, atol=1e-6)
    assert 0.1 * 0.8 + 0.2 * 0.5 < misty.mean() < 0.1 * 0.8 + 0.2


def test_full_colour_jpeg_keeps_a_red_line() -> None:
    line = np.zeros((32, 32, 3), np.uint8)
    line[:, 15] = 255, 0, 0
    halved, full = (to_srgb(degradations.jpeg(to_linear(line), rng(), (95, 95), share)).astype(int) for share in (0, 1))
    assert np.abs(full - line).max() < 20
    assert np.abs(halved - line).max() > 60


def test_defocus_spreads_a_point_as_far_as_asked() -> None:
    point = np.zeros((65, 65, 3), np.float32)
    point[32, 32] = 1
    soft = degradations.defocus(point, rng(), (3, 3))
    rows = np.arange(65) - 32
    assert soft.sum() == pytest.approx(3, rel=1e-3)
    assert np.sqrt((soft[..., 0].sum(axis=1) * rows**2).sum()) == pytest.approx(3, rel=0.02)
    np.testing.assert_array_equal(degradations.defocus(point, rng(), (0, 0)), point)
