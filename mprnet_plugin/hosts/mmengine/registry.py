"""Child registries of mmengine's, in the scope ``mprnet``: its own parts are found in them too."""

from __future__ import annotations

from mmengine import registry as host

__all__ = ["DATASETS", "DATA_SAMPLERS", "HOOKS", "INFERENCERS", "LOOPS", "METRICS", "MODELS", "MODEL_WRAPPERS"]
__all__ += ["PARAM_SCHEDULERS", "SCOPE"]

SCOPE = "mprnet"


def _child(parent: host.Registry) -> host.Registry:
    return host.Registry(parent.name, parent=parent, scope=SCOPE, locations=["mprnet_plugin.hosts.mmengine"])


DATASETS = _child(host.DATASETS)
DATA_SAMPLERS = _child(host.DATA_SAMPLERS)
HOOKS = _child(host.HOOKS)
INFERENCERS = _child(host.INFERENCERS)
LOOPS = _child(host.LOOPS)
METRICS = _child(host.METRICS)
MODELS = _child(host.MODELS)
MODEL_WRAPPERS = _child(host.MODEL_WRAPPERS)
PARAM_SCHEDULERS = _child(host.PARAM_SCHEDULERS)
