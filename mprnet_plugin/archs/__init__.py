"""Networks and their presets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.archs.config import PRESETS
    from mprnet_plugin.archs.local_pooling import MPRNetLocal, use_local_pooling
    from mprnet_plugin.archs.mprnet_arch import MPRNet

__all__ = ["PRESETS", "MPRNet", "MPRNetLocal", "use_local_pooling"]

__getattr__ = lazy(
    __name__,
    {
        "PRESETS": ".config",
        "MPRNet": ".mprnet_arch",
        "MPRNetLocal": ".local_pooling",
        "use_local_pooling": ".local_pooling",
    },
)
