"""The one list of what is registered where in the host."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any


def register_all() -> None:
    """Register every public part with the host; doing it again changes nothing."""
    from basicsr.utils import registry

    from mprnet_plugin.archs.local_pooling import MPRNetLocal
    from mprnet_plugin.archs.mprnet_arch import MPRNet
    from mprnet_plugin.data.dnd import DNDDataset
    from mprnet_plugin.data.paired_dataset import PairedRestorationDataset
    from mprnet_plugin.data.sidd_blocks import SIDDBlocksDataset
    from mprnet_plugin.data.synthetic_dataset import SyntheticDegradationDataset
    from mprnet_plugin.hosts.basicsr.metrics import METRICS, pyiqa
    from mprnet_plugin.hosts.basicsr.model import MPRNetModel

    for target, parts in (
        (registry.ARCH_REGISTRY, [MPRNet, MPRNetLocal]),
        (registry.LOSS_REGISTRY, _losses()),
        (registry.DATASET_REGISTRY, [PairedRestorationDataset, SyntheticDegradationDataset]),
        (registry.DATASET_REGISTRY, [SIDDBlocksDataset, DNDDataset]),
        (registry.METRIC_REGISTRY, [*METRICS.values(), pyiqa]),
        (registry.MODEL_REGISTRY, [MPRNetModel]),
    ):
        for part in parts:
            _register(target, part)


def _losses() -> list[type]:
    """Return the loss modules that the package's modules define: a new one needs no mention here."""
    from torch import nn

    from mprnet_plugin import losses

    modules = [import_module(f"{losses.__name__}.{found.name}") for found in pkgutil.iter_modules(losses.__path__)]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == module.__name__
    ]


def _register(registry: Any, part: Any) -> None:
    if part.__name__ not in registry:
        registry.register(part)
