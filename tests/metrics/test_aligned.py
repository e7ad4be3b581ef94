from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.metrics import METRICS
from mprnet_plugin.metrics.aligned import align, psnr_aligned, ssim_aligned
from mprnet_plugin.metrics.psnr import psnr_rgb

SIZE = (160, 120)  # width, height


def scene() -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(30, 220, (20, 26, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5)).astype(np.uint8)


def moved(image: NDArray[np.uint8], gain: float = 0.9) -> NDArray[np.uint8]:
    homography = np.array([[1.001, 0.0005, 1.7], [-0.0004, 1.002, -1.3], [1e-6, -2e-6, 1]])
    result = cv2.warpPerspective(image, homography, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    rounded: NDArray[np.uint8] = np.rint(np.asarray(result) * gain).astype(np.uint8)
    return rounded


def test_shift_and_gain_do_not_count() -> None:
    target = scene()
    restored = moved(target)
    assert psnr_rgb(restored, target) < 25
    assert psnr_aligned(restored, target) > 40
    assert ssim_aligned(restored, target) > 0.995


def test_scores_are_over_the_mask() -> None:
    """From the aligned images, by NumPy and scikit-image."""
    target = scene()
    aligned = align(moved(target), target)
    mask = aligned.mask
    assert 0.9 < mask.mean() < 1
    error = (aligned.restored - aligned.target)[mask]
    assert psnr_aligned(moved(target), target) == pytest.approx(-10 * np.log10((error**2).mean()), abs=1e-9)
    _, scores = structural_similarity(  # type: ignore[no-untyped-call]
        aligned.target * mask[..., None], aligned.restored * mask[..., None], channel_axis=2, gaussian_weights=True,
        use_sample_covariance=False, data_range=1.0, full=True,
    )  # fmt: skip
    inner = (slice(5, -5), slice(5, -5))
    assert ssim_aligned(moved(target), target) == pytest.approx(scores[inner][mask[inner]].mean(), abs=1e-9)


def test_warp_keeps_the_border() -> None:
    """OpenCV 5.0's warp of float64 loses what touches the border; the mask counts it."""
    target = scene()
    aligned = align(moved(target), target)
    assert np.abs(aligned.restored - aligned.target)[aligned.mask].max() < 0.1


def test_float_and_bgr() -> None:
    target = scene()
    restored = moved(target)
    expected = psnr_aligned(restored, target), ssim_aligned(restored, target)
    as_float = [(image[..., ::-1] / 255).astype(np.float32) for image in (restored, target)]
    assert METRICS["calculate_psnr_aligned"](*as_float) == pytest.approx(expected[0], abs=1e-3)
    assert METRICS["calculate_ssim_aligned"](*as_float) == pytest.approx(expected[1], abs=1e-5)


def test_images_that_cannot_be_aligned() -> None:
    with pytest.raises(InputError, match="160x120 cannot be aligned"):
        psnr_aligned(np.zeros_like(scene()), scene())


def test_shapes() -> None:
    with pytest.raises(InputError, match="expected"):
        psnr_aligned(scene(), scene()[:50])
