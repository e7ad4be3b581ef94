"""Padding images to sizes that the network takes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE


def pad_to_multiple(x: Tensor, multiple: int = SIZE_MULTIPLE) -> Tensor:
    """Pad (N, C, H, W) right and below until both sides are multiples of ``multiple``.

    By reflection, as the authors' demo does; by replication along a side too short to reflect. Crop the result with
    ``[..., :H, :W]``.
    """
    for dim in (-2, -1):
        length = x.shape[dim]
        missing = -length % multiple
        if missing:
            pad = (0, 0, 0, missing) if dim == -2 else (0, missing, 0, 0)
            x = F.pad(x, pad, mode="reflect" if missing < length else "replicate")
    return x
