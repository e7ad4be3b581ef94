"""A network in a folder or a repository of the Hugging Face Hub: weights, configuration, model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.hub.card import Card
    from mprnet_plugin.hub.folders import write_folder
    from mprnet_plugin.hub.loading import load

__all__ = ["Card", "load", "write_folder"]

__getattr__ = lazy(__name__, {"Card": ".card", "load": ".loading", "write_folder": ".folders"})
