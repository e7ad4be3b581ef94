"""The network in the files of other runtimes: ONNX, ncnn, OpenVINO, torch.export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet_plugin._lazy import lazy

if TYPE_CHECKING:
    from mprnet_plugin.export.exporting import export

__all__ = ["export"]

__getattr__ = lazy(__name__, {"export": ".exporting"})
