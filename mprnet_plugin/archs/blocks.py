"""What MPRNet is built of: channel attention, sampling, supervised attention, original-resolution blocks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mprnet_plugin.errors import InputError

__all__ = [
    "CAB",
    "ORB",
    "SAM",
    "BlockFactory",
    "ChannelAttention",
    "Conv",
    "DownSample",
    "Pyramid",
    "UpSample",
    "add_to",
    "checkpoint_blocks",
    "conv",
    "join",
    "join_pyramid",
    "split",
    "upsample",
]

Conv = nn.Conv2d


class Pyramid(NamedTuple):
    """Features at full, half and quarter resolution of a stage's patches."""

    level1: Tensor
    level2: Tensor
    level3: Tensor


def conv(in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> Conv:
    """Return a convolution that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


def _halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    # Not `chunk`, which torch's ONNX exporter cannot write where sizes vary.
    half = x.shape[dim] // 2
    return x.narrow(dim, 0, half), x.narrow(dim, half, half)


def split(x: Tensor, dim: int) -> Tensor:
    """Cut ``x`` in two along ``dim`` and stack the halves along the batch: (N, ...) becomes (2N, ...)."""
    return torch.cat(_halves(x, dim), 0)


def join(x: Tensor, dim: int) -> Tensor:
    """Undo :func:`split`."""
    return torch.cat(_halves(x, 0), dim)


def join_pyramid(features: Pyramid, dim: int) -> Pyramid:
    """Undo :func:`split` on every level."""
    return Pyramid(*(join(level, dim) for level in features))


def upsample(x: Tensor) -> Tensor:
    """Double height and width bilinearly (pixel centres, not corners, aligned)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _may_overwrite(fresh: Tensor, other: Tensor) -> bool:
    """Tell whether a result that nobody else holds may take up that of the next step: fresh memory costs time."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling() and fresh.dtype == other.dtype


def add_to(fresh: Tensor, other: Tensor) -> Tensor:
    """Return the sum; ``fresh``, which nobody else may hold, is overwritten where no gradient is needed."""
    return fresh.add_(other) if _may_overwrite(fresh, other) else fresh + other


class ChannelAttention(nn.Module):
    """Weights in (0, 1) for every channel from its mean over the image.

    Local pooling (TLC) replaces this module; see :mod:`mprnet_plugin.archs.local_pooling`.
    """

    def __init__(self, channels: int, reduction: int, bias: bool) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            conv(channels, channels // reduction, 1, bias),
            nn.ReLU(inplace=True),
            conv(channels // reduction, channels, 1, bias),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to weights of shape (N, C, 1, 1)."""
        weights: Tensor = self.conv_du(x.mean((2, 3), keepdim=True))
        return weights

    def gate(self, x: Tensor, features: Tensor) -> Tensor:
        """Return ``x + weights * features``; ``features`` may be overwritten when no gradient is needed."""
        weights = self(features)
        in_place = features if _may_overwrite(features, x) and weights.dtype == x.dtype else None
        return torch.addcmul(x, features, weights, out=in_place)


class CAB(nn.Module):
    """Channel attention block: two convolutions, channel attention, and a residual.

    Attributes:
        checkpointed: Whether training keeps its input alone, and computes what is inside again for the gradient.
    """

    checkpointed = False

    def __init__(self, channels: int, kernel_size: int, reduction: int, bias: bool, act: nn.PReLU) -> None:
        super().__init__()
        self.CA = ChannelAttention(channels, reduction, bias)
        self.body = nn.Sequential(
            conv(channels, channels, kernel_size, bias), act, conv(channels, channels, kernel_size, bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        if self.checkpointed and torch.is_grad_enabled():
            result: Tensor = checkpoint(self._attend, x, use_reentrant=False, preserve_rng_state=False)
            return result
        return self._attend(x)

    def _attend(self, x: Tensor) -> Tensor:
        return self.CA.gate(x, self.body(x))


def checkpoint_blocks(net: nn.Module) -> None:
    """Have every channel attention block of a network checkpointed, which saves memory and changes no digit.

    Raises:
        InputError: The network has none.
    """
    blocks = [module for module in net.modules() if isinstance(module, CAB)]
    if not blocks:
        raise InputError(f"gradient_checkpointing: is for MPRNet, the network is {type(net).__name__}: leave it out")
    for block in blocks:
        block.checkpointed = True


class BlockFactory(NamedTuple):
    """What every CAB of a network has in common, the one PReLU included."""

    kernel_size: int
    reduction: int
    bias: bool
    act: nn.PReLU

    def cab(self, channels: int) -> CAB:
        """Return one block of the given width."""
        return CAB(channels, self.kernel_size, self.reduction, self.bias, self.act)

    def cabs(self, channels: int, count: int = 2) -> nn.Sequential:
        """Return ``count`` blocks in a row."""
        return nn.Sequential(*(self.cab(channels) for _ in range(count)))


class DownSample(nn.Module):
    """Halve height and width, then project the channels; never has a bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.AvgPool2d(2), conv(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H/2, W/2)."""
        result: Tensor = self.down(x)
        return result


class UpSample(nn.Module):
    """Project the channels, then double height and width; never has a bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        # The key is "1" because checkpoints hold the projection behind a resampling step without parameters.
        self.up = nn.ModuleDict({"1": conv(in_channels, out_channels, 1)})

    def project(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W): the part with weights, without the upsampling."""
        result: Tensor = self.up["1"](x)
        return result

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', 2H, 2W)."""
        return upsample(self.project(x))


class SAM(nn.Module):
    """Supervised attention module: a stage's image, and its features gated by that image."""

    def __init__(self, n_feat: int, image_channels: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = conv(n_feat, n_feat, 1, bias)
        self.conv2 = conv(n_feat, image_channels, 1, bias)
        self.conv3 = conv(image_channels, n_feat, 1, bias)

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return gated features (N, n_feat, H, W) and the restored image (N, image_channels, H, W)."""
        restored = self.conv2(features) + image
        attention = torch.sigmoid(self.conv3(restored))
        return torch.addcmul(features, self.conv1(features), attention), restored


class ORB(nn.Module):
    """Original-resolution block: channel attention blocks, a convolution without bias, and a residual."""

    def __init__(self, channels: int, num_cab: int, blocks: BlockFactory) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(blocks.cab(channels) for _ in range(num_cab)), conv(channels, channels, blocks.kernel_size)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return add_to(self.body(x), x)
