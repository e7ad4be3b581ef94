"""The one list of what is registered where in the host."""

from __future__ import annotations

from typing import Any


def register_all() -> None:
    """Register every public part with the host; doing it again changes nothing."""
    from basicsr.utils import registry

    from mprnet_plugin.archs.local_pooling import MPRNetLocal
    from mprnet_plugin.archs.mprnet_arch import MPRNet
    from mprnet_plugin.data.dnd import DNDDataset
    from mprnet_plugin.data.paired_dataset import PairedRestorationDataset
    from mprnet_plugin.data.sidd_blocks import SIDDBlocksDataset
    from mprnet_plugin.hosts.basicsr.metrics import METRICS
    from mprnet_plugin.hosts.basicsr.model import MPRNetModel
    from mprnet_plugin.losses.edge import EdgeLoss

    for target, parts in (
        (registry.ARCH_REGISTRY, [MPRNet, MPRNetLocal]),
        (registry.LOSS_REGISTRY, [EdgeLoss]),
        (registry.DATASET_REGISTRY, [PairedRestorationDataset, SIDDBlocksDataset, DNDDataset]),
        (registry.METRIC_REGISTRY, METRICS.values()),
        (registry.MODEL_REGISTRY, [MPRNetModel]),
    ):
        for part in parts:
            _register(target, part)


def _register(registry: Any, part: Any) -> None:
    if part.__name__ not in registry:
        registry.register(part)
