"""Pairs of degraded and clean images: reading, cropping, augmentation and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.data.paired_dataset import PairedRestorationDataset
    from mprnet_plugin.data.sidd_blocks import SIDDBlocksDataset
    from mprnet_plugin.data.synthetic_dataset import SyntheticDegradationDataset

__all__ = ["PairedRestorationDataset", "SIDDBlocksDataset", "SyntheticDegradationDataset"]

__getattr__ = lazy(
    __name__,
    {
        "PairedRestorationDataset": ".paired_dataset",
        "SIDDBlocksDataset": ".sidd_blocks",
        "SyntheticDegradationDataset": ".synthetic_dataset",
    },
)
