"""Local instead of global pooling at test time (TLC: Chu et al., ECCV 2022, arXiv 2112.04491).

Channel attention pools over whole pictures, but has learned from the means of training patches. TLC gives every pixel
the mean of a window of about the training patch's extent. No weight changes, so any checkpoint gains from it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mprnet_plugin.archs.blocks import CAB, ChannelAttention
from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE, MPRNet
from mprnet_plugin.errors import InputError

__all__ = ["LocalChannelAttention", "MPRNetLocal", "local_pooling", "pooling_sizes", "use_local_pooling"]

Net = TypeVar("Net", bound=MPRNet)

BASE_PATCH = 256
"""``base_size`` is the window for training patches of this side; other maps get windows in proportion to their extent.

The paper trains on patches of 256 only. With others, the released code and the reference vector still divide by 256.
"""

_KNOWN_WINDOWS: WeakKeyDictionary[MPRNet, dict[tuple[int, int], dict[str, tuple[int, int]]]] = WeakKeyDictionary()
"""By network and sizes: a validation asks for every picture."""


def sliding_mean(x: Tensor, size: int, dim: int) -> Tensor:
    """Return the means of all windows of ``size`` positions that fit along ``dim``: n - size + 1 of them."""
    length = x.shape[dim]
    if size >= length:
        return x.mean(dim, keepdim=True)
    # Differences of a running sum cost the same for any window. One axis at a time keeps the sums, and with them the
    # rounding, small: a two-dimensional integral image of a large picture loses digits in single precision.
    running = x.cumsum(dim)
    sums = running.narrow(dim, size - 1, length - size + 1).clone()
    sums.narrow(dim, 1, length - size).sub_(running.narrow(dim, 0, length - size))
    return sums.div_(size)


class LocalChannelAttention(ChannelAttention):
    """Channel attention whose means are those of a window around each pixel.

    Args:
        attention: What this replaces; its layers, and with them the names of their weights, are taken over.
        window: Height and width of the window; a larger one than the map means the whole map.
        sizes: The ``train_size`` and ``base_size`` that it follows from, where it does.
    """

    def __init__(
        self, attention: ChannelAttention, window: tuple[int, int], sizes: tuple[int, int] | None = None
    ) -> None:
        nn.Module.__init__(self)
        self.conv_du = attention.conv_du
        self.window = window
        self.sizes = sizes

    def inner_weights(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the weights where the window fits: (N, C, H - h + 1, W - w + 1), at least 1 x 1."""
        # The first 1x1 convolution is linear, so it comes before the mean, where it leaves fewer channels to average.
        projected = self.conv_du[0](x)
        means = projected.float() if projected.dtype.itemsize < 4 else projected
        for size, dim in zip(reversed(self.window), (3, 2), strict=True):
            means = sliding_mean(means, size, dim)
        weights: Tensor = self.conv_du[1:](means.to(projected.dtype))
        return weights

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to weights that broadcast with it: an axis that the window covers has length 1."""
        weights = self.inner_weights(x)
        rows, columns = (
            outer - inner if inner > 1 else 0 for outer, inner in zip(x.shape[2:], weights.shape[2:], strict=True)
        )
        return F.pad(weights, (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2), mode="replicate")

    def gate(self, x: Tensor, features: Tensor) -> Tensor:
        """Return ``x + weights * features``; without gradients in place, and the border's weights are never stored."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().gate(x, features)
        weights = self.inner_weights(features)
        for rows, inner_rows in _bands(x.shape[2], weights.shape[2]):
            for columns, inner_columns in _bands(x.shape[3], weights.shape[3]):
                part = features[..., rows, columns]
                part.mul_(weights[..., inner_rows, inner_columns]).add_(x[..., rows, columns])
        return features


def _bands(length: int, inner: int) -> list[tuple[slice, slice]]:
    """Return which slice of an axis takes its weights from which slice of the weights: border, inside, border."""
    if inner == 1:
        return [(slice(None), slice(None))]
    before = (length - inner) // 2
    return [
        (slice(0, before), slice(0, 1)),
        (slice(before, before + inner), slice(None)),
        (slice(before + inner, length), slice(inner - 1, inner)),
    ]


def use_local_pooling(net: Net, train_size: int = 256, base_size: int = 384) -> Net:
    """Give every channel attention of a network local pooling, in place; calling it again changes the sizes.

    Args:
        net: The network; names and values of its weights stay.
        train_size: Side of the patches that the network was trained on, a multiple of 8.
        base_size: Side of the window for patches of 256: 384, the published choice, is 1.5 times the extent that a map
            has in training, at any ``train_size``.

    Returns:
        ``net``.

    Raises:
        InputError: A size out of range.
    """
    windows = _windows(net, train_size, base_size)
    for name, block in _blocks(net):
        block.CA = LocalChannelAttention(block.CA, windows[name], (train_size, base_size))
    return net


def pooling_sizes(net: nn.Module) -> tuple[int, int] | None:
    """Return the ``train_size`` and ``base_size`` of a network's local pooling, or None where it has none."""
    return next((one.sizes for one in net.modules() if isinstance(one, LocalChannelAttention)), None)


@contextlib.contextmanager
def local_pooling(net: MPRNet, train_size: int = 256, base_size: int = 384) -> Iterator[None]:
    """Have local pooling for a while, as for validations in the middle of training; see :func:`use_local_pooling`."""
    before = [(block, block.CA) for _, block in _blocks(net)]
    use_local_pooling(net, train_size, base_size)
    try:
        yield
    finally:
        for block, attention in before:
            block.CA = attention


def _blocks(net: MPRNet) -> list[tuple[str, CAB]]:
    return [(name, module) for name, module in net.named_modules() if isinstance(module, CAB)]


def _windows(net: MPRNet, train_size: int, base_size: int) -> dict[str, tuple[int, int]]:
    """Return the window of every channel attention, from the extent of the map that it sees in training."""
    if train_size < SIZE_MULTIPLE or train_size % SIZE_MULTIPLE:
        raise InputError(f"train_size={train_size} must be a positive multiple of {SIZE_MULTIPLE}: the training patch")
    if base_size < 1:
        raise InputError(f"base_size={base_size} must be positive: 384 is usual")
    found = _KNOWN_WINDOWS.setdefault(net, {}).get((train_size, base_size))
    if found is not None:
        return found
    probe = copy.deepcopy(net).to("meta")  # shapes without arithmetic
    windows: dict[str, tuple[int, int]] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        height, width = (max(extent * base_size // BASE_PATCH, 1) for extent in inputs[0].shape[2:])
        windows[name] = (height, width)

    for name, block in _blocks(probe):
        block.register_forward_pre_hook(functools.partial(note, name))
    dtype = next(probe.parameters()).dtype
    probe(torch.empty(1, net.in_c, train_size, train_size, dtype=dtype, device="meta"))
    _KNOWN_WINDOWS[net][train_size, base_size] = windows
    return windows


class MPRNetLocal(MPRNet):
    """:class:`~mprnet_plugin.archs.mprnet_arch.MPRNet` with local pooling from the start; the same weights fit.

    Args:
        train_size: Side of the patches that the weights were or will be trained on, a multiple of 8.
        base_size: Side of the window for patches of 256; see :func:`use_local_pooling`.
        config: :class:`~mprnet_plugin.archs.mprnet_arch.MPRNet`'s own arguments.

    Raises:
        InputError: A width that cannot be built, or a size out of range; the message names it.
    """

    def __init__(self, train_size: int = 256, base_size: int = 384, **config: int) -> None:
        super().__init__(**config)  # type: ignore[arg-type] # bias is an int that is a bool
        use_local_pooling(self, train_size, base_size)
