"""The protocols against the reference values, against scikit-image and SciPy, and against the host."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.protocols import find_protocol
from mprnet_plugin.metrics.psnr import psnr_rgb, psnr_y_uint8, rgb_to_y_uint8
from mprnet_plugin.metrics.ssim import STRIP, TAPS, ssim_volume, ssim_y_uint8
from tests.helpers import VECTORS

EXPECTED = json.loads((VECTORS / "metrics" / "expected.json").read_text())
PAIRS = ("noise", "blur", "jpeg")
DB, INDEX = 1e-4, 1e-6
"""What the project promises: dB of PSNR, and SSIM."""

Array = NDArray[Any]
Metric = Callable[..., float]


def pair(name: str) -> tuple[Array, Array]:
    restored, target = (
        np.asarray(cv2.imread(str(VECTORS / "metrics" / f"{name}_{part}.png")))[..., ::-1]
        for part in ("restored", "target")
    )
    return restored, target


def sidd_pair(name: str) -> tuple[Array, Array]:
    with np.load(VECTORS / "metrics" / f"{name}_sidd.npz") as content:
        return content["restored"], (content["target"] / 255).astype(np.float32)


def noisy(height: int, width: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    target = cv2.resize(rng.integers(0, 256, (height // 4 + 2, width // 4 + 2, 3), np.uint8), (width, height))
    restored = np.clip(target + rng.normal(0, 12, target.shape), 0, 255).astype(np.uint8)
    return restored, np.asarray(target)


@pytest.mark.parametrize("name", PAIRS)
def test_gopro(name: str) -> None:
    expected = EXPECTED[name]["gopro"]
    assert psnr_rgb(*pair(name)) == pytest.approx(expected["psnr"], abs=DB)
    assert ssim_volume(*pair(name)) == pytest.approx(expected["ssim"], abs=INDEX)


@pytest.mark.parametrize("name", PAIRS)
def test_sidd(name: str) -> None:
    expected = EXPECTED[name]["sidd"]
    assert psnr_rgb(*sidd_pair(name)) == pytest.approx(expected["psnr"], abs=DB)
    assert ssim_volume(*sidd_pair(name)) == pytest.approx(expected["ssim"], abs=INDEX)


@pytest.mark.parametrize("name", PAIRS)
def test_rain(name: str) -> None:
    expected = EXPECTED[name]["rain"]
    assert psnr_y_uint8(*pair(name)) == pytest.approx(expected["psnr"], abs=DB)
    assert ssim_y_uint8(*pair(name)) == pytest.approx(expected["ssim"], abs=INDEX)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("protocol", "crop", "luma"), [("paddlegan_rgb", 4, False), ("basicsr_y", 0, True)])
def test_others_by_the_hosts_own_metrics(name: str, protocol: str, crop: int, luma: bool) -> None:
    host = pytest.importorskip("basicsr.metrics.psnr_ssim")
    bgr = [image[..., ::-1] for image in pair(name)]
    expected = EXPECTED[name][protocol]
    assert host.calculate_psnr(*bgr, crop, test_y_channel=luma) == pytest.approx(expected["psnr"], abs=DB)
    assert host.calculate_ssim(*bgr, crop, test_y_channel=luma) == pytest.approx(expected["ssim"], abs=INDEX)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("protocol", ["gopro", "sidd", "rain", "paddlegan_rgb", "paddlegan_y"])
def test_protocols_by_name(name: str, protocol: str) -> None:
    chosen = find_protocol(protocol)
    scores = chosen.score(*(pair if chosen.rounded else sidd_pair)(name))
    assert scores["psnr"] == pytest.approx(EXPECTED[name][protocol]["psnr"], abs=DB)
    assert scores["ssim"] == pytest.approx(EXPECTED[name][protocol]["ssim"], abs=INDEX)


def test_unknown_protocols_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="protocol 'gorpo' is unknown, did you mean 'gopro'"):
        find_protocol("gorpo")


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (11, 11), (STRIP, 12), (STRIP + 1, 30), (2 * STRIP + 7, 17)])
def test_volume_is_three_dimensional_filtering(size: tuple[int, int]) -> None:
    """Strips, borders, and images smaller than the window: against SciPy's filter along all three axes."""
    restored, target = (image.astype(np.float64) for image in noisy(*size))
    taps = np.exp(-((np.arange(TAPS) - TAPS // 2) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()

    def blur(x: Array) -> Array:
        for axis in range(3):
            x = ndimage.convolve1d(x, taps, axis, mode="nearest")
        return x

    m1, m2 = blur(restored), blur(target)
    v1, v2 = blur(restored**2) - m1**2, blur(target**2) - m2**2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = blur(restored * target) - m1 * m2
    expected = ((2 * m1 * m2 + c1) * (2 * covariance + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))).mean()
    assert ssim_volume(restored, target, 255) == pytest.approx(expected, abs=1e-12)


def test_luma_against_scikit_image() -> None:
    restored, target = noisy(40, 50)
    lumas = [np.floor(rgb2ycbcr(image)[..., 0] + 0.5).astype(np.uint8) for image in (restored, target)]
    np.testing.assert_array_equal(rgb_to_y_uint8(restored), lumas[0])
    expected = peak_signal_noise_ratio(lumas[1], lumas[0], data_range=255)  # type: ignore[no-untyped-call]
    assert psnr_y_uint8(restored, target) == pytest.approx(expected, abs=1e-9)
    _, scores = structural_similarity(  # type: ignore[no-untyped-call]
        *lumas, gaussian_weights=True, use_sample_covariance=False, data_range=255, full=True
    )
    assert ssim_y_uint8(restored, target) == pytest.approx(scores[5:-5, 5:-5].mean(), abs=1e-9)


def test_every_luma_is_the_rounded_one() -> None:
    """All 2^8 greys and the corners of the cube, whose luma is known: 16 and 235 for black and white."""
    grey = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, 2)
    exact = [math.floor(16 + value * 219 / 255 + 0.5) for value in range(256)]
    assert rgb_to_y_uint8(grey)[:, 0].tolist() == exact
    corners = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert rgb_to_y_uint8(corners).tolist() == [[81, 145, 41]]


def test_protocols_differ() -> None:
    """A protocol mixed up would show: volume and plane, rounded and unrounded luma."""
    restored, target = pair("noise")
    assert ssim_volume(restored, target) - ssim_y_uint8(restored, target) > 0.2
    lumas = [rgb2ycbcr(image)[..., 0] for image in (restored, target)]
    unrounded = peak_signal_noise_ratio(lumas[1], lumas[0], data_range=255)  # type: ignore[no-untyped-call]
    assert abs(psnr_y_uint8(restored, target) - unrounded) > 0.005


@pytest.mark.parametrize("metric", [psnr_rgb, ssim_volume])
def test_range_scales_out(metric: Metric) -> None:
    restored, target = noisy(30, 30)
    as_float = [image / 255 for image in (restored, target)]
    assert metric(*as_float) == pytest.approx(metric(restored, target), abs=1e-9)
    assert metric(*(image * 10 for image in as_float), data_range=10) == pytest.approx(
        metric(restored, target), abs=1e-9
    )


def test_equal_images() -> None:
    image = noisy(20, 20)[1]
    assert psnr_rgb(image, image) == math.inf
    assert psnr_y_uint8(image, image) == math.inf
    assert ssim_volume(image, image) == 1
    assert ssim_y_uint8(image, image) == 1


@pytest.mark.parametrize("metric", [psnr_rgb, ssim_volume])
def test_not_a_number_shows(metric: Metric) -> None:
    image = np.full((20, 20, 3), 0.5)
    broken = image.copy()
    broken[3, 3, 1] = np.nan
    assert math.isnan(metric(broken, image))


UINT8 = np.zeros((16, 16, 3), np.uint8)
FLOAT = np.zeros((16, 16, 3), np.float32)


@pytest.mark.parametrize("metric", [psnr_rgb, ssim_volume, psnr_y_uint8, ssim_y_uint8])
@pytest.mark.parametrize(
    ("restored", "target", "message"),
    [
        (UINT8, UINT8[:8], r"shapes \(16, 16, 3\) and \(8, 16, 3\)"),
        (UINT8[..., 0], UINT8[..., 0], r"expected \(H, W, 3\)"),
        (UINT8[:0], UINT8[:0], r"expected \(H, W, 3\)"),
        (UINT8, FLOAT, "dtypes uint8 and float32"),
        (UINT8.astype(np.int16), UINT8.astype(np.int16), "dtypes int16 and int16"),
        (FLOAT + 200, FLOAT, r"values from 0 to 200, expected \[0, 1\]"),
        (FLOAT - 0.5, FLOAT, r"values from -0.5 to 0"),
    ],
)
def test_input_that_does_not_fit(metric: Metric, restored: Array, target: Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metric(restored, target)


def test_further_failures() -> None:
    with pytest.raises(InputError, match="data_range=0 must be positive"):
        psnr_rgb(UINT8, UINT8, data_range=0)
    with pytest.raises(InputError, match="float32, expected uint8: this protocol"):
        psnr_y_uint8(FLOAT, FLOAT)
    with pytest.raises(InputError, match="images are 16x10, expected at least 11x11"):
        ssim_y_uint8(UINT8[:10], UINT8[:10])
