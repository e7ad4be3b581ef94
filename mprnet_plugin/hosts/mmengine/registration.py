"""The one list of what is registered where in the host."""

from __future__ import annotations

import sys

from mmengine.runner import CheckpointLoader

from mprnet_plugin.archs.local_pooling import MPRNetLocal
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.data.paired_dataset import PairedRestorationDataset
from mprnet_plugin.data.sidd_blocks import SIDDBlocksDataset
from mprnet_plugin.data.synthetic_dataset import SyntheticDegradationDataset
from mprnet_plugin.hosts.mmengine import registry
from mprnet_plugin.hosts.mmengine.dataset import from_keywords
from mprnet_plugin.hosts.mmengine.hooks import PicturesHook, RestorationHook, SpeedHook
from mprnet_plugin.hosts.mmengine.inferencer import MPRNetInferencer
from mprnet_plugin.hosts.mmengine.loading import load_checkpoint
from mprnet_plugin.hosts.mmengine.loops import MultiTestLoop, ResumableTrainLoop
from mprnet_plugin.hosts.mmengine.losses import CharbonnierLoss
from mprnet_plugin.hosts.mmengine.metric import RestorationMetric
from mprnet_plugin.hosts.mmengine.model import DistributedRestorer, MPRNetRestorer
from mprnet_plugin.hosts.mmengine.preprocessor import RestorationPreprocessor
from mprnet_plugin.hosts.mmengine.sampler import EndlessSampler
from mprnet_plugin.hosts.mmengine.schedule import WarmupCosineLR
from mprnet_plugin.hosts.mmengine.tta import SelfEnsemble
from mprnet_plugin.losses.edge import EdgeLoss
from mprnet_plugin.weights.choice import PREFIX

__all__ = ["register_all"]

PARTS = (
    (registry.MODELS, [MPRNet, MPRNetLocal, MPRNetRestorer, RestorationPreprocessor, SelfEnsemble]),
    (registry.MODELS, [CharbonnierLoss, EdgeLoss]),
    (registry.MODEL_WRAPPERS, [DistributedRestorer]),
    (
        registry.DATASETS,
        [from_keywords(one) for one in (PairedRestorationDataset, SyntheticDegradationDataset, SIDDBlocksDataset)],
    ),
    (registry.DATA_SAMPLERS, [EndlessSampler]),
    (registry.METRICS, [RestorationMetric]),
    (registry.HOOKS, [RestorationHook, SpeedHook, PicturesHook]),
    (registry.LOOPS, [ResumableTrainLoop, MultiTestLoop]),
    (registry.PARAM_SCHEDULERS, [WarmupCosineLR]),
    (registry.INFERENCERS, [MPRNetInferencer]),
)


def register_all() -> None:
    """Register every part with the host; doing it again changes nothing."""
    for target, parts in PARTS:
        for part in parts:
            target.register_module(module=part, force=True)
    # Where the host looks for a scope's registries; it warns at each start if there is nothing of the name.
    sys.modules[f"{registry.SCOPE}.registry"] = registry
    CheckpointLoader.register_scheme(prefixes=PREFIX, loader=load_checkpoint, force=True)
