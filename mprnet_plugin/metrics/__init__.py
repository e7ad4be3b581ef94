"""The papers' protocols: PSNR and SSIM as each benchmark defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.metrics.psnr import psnr_rgb, psnr_y_uint8
    from mprnet_plugin.metrics.ssim import ssim_volume, ssim_y_uint8

__all__ = ["psnr_rgb", "psnr_y_uint8", "ssim_volume", "ssim_y_uint8"]

__getattr__ = lazy(
    __name__,
    {
        "psnr_rgb": ".psnr",
        "psnr_y_uint8": ".psnr",
        "ssim_volume": ".ssim",
        "ssim_y_uint8": ".ssim",
    },
)
