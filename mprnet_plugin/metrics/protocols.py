"""Protocols by name: which metrics, of rounded pictures or of floats, and which published figures stand beside them.

The same picture scores differently by each, so a number means nothing without its protocol's name. To add one, add a
:class:`Protocol` to the list below; options, tables, both hosts' metrics and the predictor read it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.metrics.aligned import psnr_aligned, ssim_aligned
from mprnet_plugin.metrics.image_pair import MetricImage
from mprnet_plugin.metrics.paddlegan import psnr_paddlegan_rgb, psnr_paddlegan_y, ssim_paddlegan_rgb, ssim_paddlegan_y
from mprnet_plugin.metrics.psnr import psnr_rgb, psnr_y_uint8
from mprnet_plugin.metrics.ssim import ssim_volume, ssim_y_uint8

__all__ = ["PROTOCOLS", "Figures", "Metric", "Protocol", "Scores", "find_protocol"]

Metric = Callable[[MetricImage, MetricImage], float]
"""A function of the restored picture and its target."""
Scores = Mapping[str, float]
"""Metric's name to its value."""


class Figures(NamedTuple):
    """A published result; none was measured here."""

    psnr: float
    """Decibels."""
    ssim: float | None
    images: int | None = None
    """Pictures of the test set that it is the mean of; None where that is not known or not the set's."""


@dataclass(frozen=True)
class Protocol:
    """How a benchmark scores.

    Attributes:
        name: As options call it.
        summary: What is computed, in one line.
        psnr: dB; of RGB pictures (H, W, 3).
        ssim: Of the same.
        rounded: Whether pictures are rounded to 8 bits first; otherwise they are floats in [0, 1].
        published: Data set's name to the figures of MPRNet's paper (or who else is named in ``source``).
        published_local: The same weights with local pooling (TLC: Chu et al., ECCV 2022), base size 384.
        source: Who published.
    """

    name: str
    summary: str
    psnr: Metric
    ssim: Metric
    rounded: bool = True
    published: Mapping[str, Figures] = field(default_factory=dict)
    published_local: Mapping[str, Figures] = field(default_factory=dict)
    source: str = "Zamir et al., CVPR 2021"

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by the names that tables give them."""
        return {"psnr": self.psnr, "ssim": self.ssim}

    def score(self, restored: MetricImage, target: MetricImage) -> Scores:
        """Score a restored picture against its target, both RGB (H, W, 3), uint8 where ``rounded``, else floats.

        Raises:
            InputError: Shapes or values that do not fit.
        """
        return {name: metric(restored, target) for name, metric in self.metrics.items()}


_ALL = (
    Protocol(
        "gopro",
        "8-bit RGB; PSNR over all channels, SSIM of the H x W x 3 volume as MATLAB's ssim computes it",
        psnr_rgb,
        ssim_volume,
        published={"GoPro": Figures(32.66, 0.959, 1111), "HIDE": Figures(30.96, 0.939, 2025)},
        published_local={"GoPro": Figures(33.31, None, 1111), "HIDE": Figures(31.19, None, 2025)},
    ),
    Protocol(
        "sidd",
        "RGB as floats, not rounded; PSNR over all channels, SSIM of the H x W x 3 volume as MATLAB's ssim computes it",
        psnr_rgb,
        ssim_volume,
        rounded=False,
        published={"SIDD": Figures(39.71, 0.958, 1280)},
    ),
    Protocol(
        "rain",
        "luma rounded to 8 bits as MATLAB's rgb2ycbcr does; Wang's SSIM, valid region",
        psnr_y_uint8,
        ssim_y_uint8,
        published={
            "Rain100L": Figures(36.40, 0.965, 100),
            "Rain100H": Figures(30.41, 0.890, 100),
            "Test100": Figures(30.27, 0.897, 98),
            "Test2800": Figures(33.64, 0.938, 2800),
            "Test1200": Figures(32.91, 0.916, 1200),
        },
    ),
    Protocol(
        "realblur",
        "8-bit RGB after scaling and a homography found by ECC; pixels outside of the overlap do not count",
        psnr_aligned,
        ssim_aligned,
        published={"RealBlur-J": Figures(28.70, 0.873, 980), "RSBlur": Figures(33.61, 0.8614)},
        source="Zamir et al., CVPR 2021, trained on GoPro; RSBlur: Rim et al., ECCV 2022, trained on RSBlur",
    ),
    Protocol(
        "paddlegan_rgb",
        "8-bit RGB without a border of 4 pixels; SSIM per channel, valid region",
        psnr_paddlegan_rgb,
        ssim_paddlegan_rgb,
        published={"GoPro": Figures(33.4360, 0.9410, 1111)},
        source="PaddleGAN",
    ),
    Protocol(
        "paddlegan_y",
        "unrounded luma without a border of 4 pixels; SSIM in the valid region",
        psnr_paddlegan_y,
        ssim_paddlegan_y,
        published={"SIDD": Figures(43.6100, 0.9586), "Rain100L": Figures(36.2848, 0.9651)},
        source="PaddleGAN, on random crops of the test set",
    ),
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({protocol.name: protocol for protocol in _ALL})
"""Protocol by name."""


def find_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        InputError: There is none; the message names the nearest.
    """
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise InputError(f"protocol {name!r} is unknown, {nearest(str(name), PROTOCOLS)}")
    return PROTOCOLS[name]
