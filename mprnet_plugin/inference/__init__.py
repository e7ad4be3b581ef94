"""Restoring images: the engine in memory, and the predictor from files to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.inference.predictor import MPRPredictor
    from mprnet_plugin.inference.restorer import Restorer

__all__ = ["MPRPredictor", "Restorer"]

__getattr__ = lazy(
    __name__,
    {
        "MPRPredictor": ".predictor",
        "Restorer": ".restorer",
    },
)
