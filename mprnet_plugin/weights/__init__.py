"""Reading, checking and converting checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.weights.checkpoint import infer_config, load_into, load_state_dict

__all__ = ["infer_config", "load_into", "load_state_dict"]

__getattr__ = lazy(
    __name__,
    {
        "infer_config": ".checkpoint",
        "load_into": ".checkpoint",
        "load_state_dict": ".checkpoint",
    },
)
