"""Figures that the papers publish for their own weights; none of them was measured here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """A published result."""

    psnr: float
    """Decibels."""
    ssim: float | None


MPRNET: Mapping[tuple[str, str], Published] = {
    ("gopro", "GoPro"): Published(32.66, 0.959),
    ("gopro", "HIDE"): Published(30.96, 0.939),
    ("realblur", "RealBlur-J"): Published(28.70, 0.873),
    ("sidd", "SIDD"): Published(39.71, 0.958),
    ("rain", "Rain100L"): Published(36.40, 0.965),
    ("rain", "Rain100H"): Published(30.41, 0.890),
    ("rain", "Test100"): Published(30.27, 0.897),
    ("rain", "Test2800"): Published(33.64, 0.938),
    ("rain", "Test1200"): Published(32.91, 0.916),
}
"""(protocol, dataset) to the figures of Zamir et al., CVPR 2021; RealBlur with the network trained on GoPro."""

WITH_LOCAL_POOLING: Mapping[tuple[str, str], Published] = {
    ("gopro", "GoPro"): Published(33.31, None),
    ("gopro", "HIDE"): Published(31.19, None),
}
"""The same weights with local pooling (TLC: Chu et al., ECCV 2022), base size 384."""
