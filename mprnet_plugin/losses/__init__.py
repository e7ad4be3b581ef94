"""Losses of image restoration, as functions and as modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.losses.charbonnier import charbonnier_loss
    from mprnet_plugin.losses.edge import EdgeLoss, edge_loss
    from mprnet_plugin.losses.psnr import PSNRLoss, psnr_loss

__all__ = ["EdgeLoss", "PSNRLoss", "charbonnier_loss", "edge_loss", "psnr_loss"]

__getattr__ = lazy(
    __name__,
    {
        "EdgeLoss": ".edge",
        "PSNRLoss": ".psnr",
        "charbonnier_loss": ".charbonnier",
        "edge_loss": ".edge",
        "psnr_loss": ".psnr",
    },
)
