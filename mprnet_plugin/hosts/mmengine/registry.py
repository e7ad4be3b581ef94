"""Child registries of mmengine's, one of each kind, in the scope ``mprnet``: its own parts are found in them too."""

from __future__ import annotations

from mmengine import registry as host
from mmengine.registry import Registry

__all__ = ["DATASETS", "DATA_SAMPLERS", "HOOKS", "INFERENCERS", "LOOPS", "METRICS", "MODELS", "MODEL_WRAPPERS"]
__all__ += ["PARAM_SCHEDULERS", "SCOPE"]

SCOPE = "mprnet"

# Of every kind, as the host warns of a scope that lacks one.
_CHILDREN = {
    name: Registry(parent.name, parent=parent, scope=SCOPE, locations=["mprnet_plugin.hosts.mmengine"])
    for name, parent in vars(host).items()
    if isinstance(parent, Registry)
}
DATASETS = _CHILDREN["DATASETS"]
DATA_SAMPLERS = _CHILDREN["DATA_SAMPLERS"]
HOOKS = _CHILDREN["HOOKS"]
INFERENCERS = _CHILDREN["INFERENCERS"]
LOOPS = _CHILDREN["LOOPS"]
METRICS = _CHILDREN["METRICS"]
MODELS = _CHILDREN["MODELS"]
MODEL_WRAPPERS = _CHILDREN["MODEL_WRAPPERS"]
PARAM_SCHEDULERS = _CHILDREN["PARAM_SCHEDULERS"]
