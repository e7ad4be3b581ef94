"""The paper's three networks as data: keyword arguments for :class:`~mprnet_plugin.archs.mprnet_arch.MPRNet`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypedDict


class Preset(TypedDict):
    """Widths of one published network; everything else keeps MPRNet's defaults."""

    n_feat: int
    scale_unetfeats: int
    scale_orsnetfeats: int


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "Deblurring": Preset(n_feat=96, scale_unetfeats=48, scale_orsnetfeats=32),
        "Denoising": Preset(n_feat=80, scale_unetfeats=48, scale_orsnetfeats=32),
        "Deraining": Preset(n_feat=40, scale_unetfeats=20, scale_orsnetfeats=16),
    }
)
"""Task to widths, for 20,127,073, 15,741,025 and 3,637,249 parameters."""
