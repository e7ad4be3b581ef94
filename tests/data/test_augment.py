from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import stats
from torch import Tensor

from mprnet_plugin.data.augment import GEOMETRIES, draw_saturation, geometry, saturate

# What each draw does, in torch's terms on (C, H, W).
REFERENCE: dict[int, Callable[[Tensor], Tensor]] = {
    0: lambda x: x,
    1: lambda x: x.flip(1),
    2: lambda x: x.flip(2),
    3: lambda x: torch.rot90(x, dims=(1, 2)),
    4: lambda x: torch.rot90(x, dims=(1, 2), k=2),
    5: lambda x: torch.rot90(x, dims=(1, 2), k=3),
    6: lambda x: torch.rot90(x.flip(1), dims=(1, 2)),
    7: lambda x: torch.rot90(x.flip(2), dims=(1, 2)),
    8: lambda x: x,
}


@pytest.mark.parametrize("draw", range(GEOMETRIES))
def test_geometry_equals_torch(draw: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    expected = REFERENCE[draw](torch.from_numpy(image).permute(2, 0, 1))
    assert np.array_equal(geometry(image, draw).transpose(2, 0, 1), expected.numpy())


def test_saturation_equals_pillow_within_its_rounding() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for factor in (0.8, 1.0, 1.2):
        pillow = np.asarray(ImageEnhance.Color(Image.fromarray(image)).enhance(factor))
        # Pillow rounds the grey, then truncates the blend.
        assert np.abs(saturate(image, factor).astype(int) - pillow).max() <= 1
    assert np.array_equal(saturate(image, 1.0), image)


def test_saturation_keeps_16_bits() -> None:
    image = np.array([[[60000, 100, 30000]]], np.uint16)
    result = saturate(image, 1.2)
    assert result.dtype == np.uint16
    assert result.max() > 60000


def test_saturation_is_drawn_for_every_third_picture() -> None:
    rng = np.random.default_rng(0)
    factors = np.array([draw_saturation(rng) for _ in range(20_000)])
    changed = factors[factors != 1.0]
    assert stats.binomtest(len(changed), len(factors), 1 / 3).pvalue > 1e-3
    assert stats.kstest(changed, stats.uniform(0.8, 0.4).cdf).pvalue > 1e-3
