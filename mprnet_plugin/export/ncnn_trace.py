"""The whole network for ncnn: the network's own ``forward`` is run on names instead of numbers.

ncnn has no batch, so a batch is a list of names here, and what MPRNet stacks along the batch, the patches of a stage,
becomes so many rows of layers; their weights are repeated in the file. ncnn allows any size, so the picture is padded
inside the net to multiples of 8 by repeating its last row and column, and the result is cropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE, MPRNet
from mprnet_plugin.weights.ncnn_files import NcnnGraph

__all__ = ["INPUT", "OUTPUT", "SMALLEST", "ncnn_files"]

INPUT, OUTPUT = "data", "output"
"""Names of blobs that ncnn's tools for pictures use; chaiNNer takes any."""
SMALLEST = SIZE_MULTIPLE
"""Pixels a side that the net takes at least."""
_SIDE = 64
"""Height and width that the trace pretends; the net has no size."""
_ADD, _MULTIPLY = 0, 2  # of BinaryOp
_ROWS, _COLUMNS = -2, -1
"""Axes counted from the end, as chaiNNer stops at a Concat whose axis is 1."""


def ncnn_files(net: MPRNet) -> tuple[str, bytes]:
    """Return the content of ``.param`` and ``.bin``: blob ``data`` (in_c, H, W) to blob ``output`` (out_c, H, W)."""
    graph = NcnnGraph()
    picture = graph.input(INPUT)
    padded = _pad(graph, picture, net.in_c)
    with torch.enable_grad():  # in which the network overwrites nothing
        stages = net(_Maps(graph, [padded], (net.in_c, _SIDE, _SIDE)))
    reference = _with_channels(graph, picture, net.in_c, net.out_c)
    (result,) = graph.add("Crop", [stages[0].names[0], reference])
    return graph.written(result, OUTPUT)


def _pad(graph: NcnnGraph, picture: str, channels: int) -> str:
    """Pad right and below to multiples of 8, by layers that need no size."""
    # The largest value of each 8×8 block, and each eightfold: a map of the size that is wanted.
    blocks = graph.add("Pooling", [picture], {0: 0, 1: SIZE_MULTIPLE, 2: SIZE_MULTIPLE})
    wanted = _enlarge(graph, blocks[0], 1, SIZE_MULTIPLE, SIZE_MULTIPLE)
    for axis, height, width in ((_ROWS, SIZE_MULTIPLE, 1), (_COLUMNS, 1, SIZE_MULTIPLE)):
        last = graph.add("Crop", [picture], {9: [-1], 10: [-233], 11: [axis + 3]})
        (picture,) = graph.add("Concat", [picture, _enlarge(graph, last[0], 1, height, width)], {0: axis})
    return graph.add("Crop", [picture, wanted])[0]


def _enlarge(graph: NcnnGraph, x: str, kind: int, height: int, width: int) -> str:
    """Enlarge by whole factors; ``kind`` is 1 for the nearest pixel, 2 for bilinear."""
    return graph.add("Interp", [x], {0: kind, 1: float(height), 2: float(width)})[0]


def _with_channels(graph: NcnnGraph, x: str, have: int, want: int) -> str:
    """Return the first ``want`` channels, or the only one so many times."""
    if have > want:
        return graph.add("Slice", [x], {0: [want, -233], 1: 0}, outputs=2)[0]
    return x if have == want else graph.add("Concat", [x] * want, {0: 0})[0]


class _Maps:
    """Stands for a tensor (N, C, H, W) in a network's forward.

    Attributes:
        names: The blob of each sample.
        shape: As of the tensor.
    """

    dtype = torch.float32

    def __init__(self, graph: NcnnGraph, names: list[str], size: tuple[int, ...]) -> None:
        self.graph, self.names, self._size = graph, names, size
        self._halves: dict[int, list[list[str]]] = {}

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.names), *self._size))

    def each(self, layer: Callable[..., str], *others: _Maps, size: tuple[int, ...] | None = None) -> _Maps:
        """Append a layer for each sample, and return what they make, of another size where one is given."""
        names = [layer(*samples) for samples in zip(self.names, *(other.names for other in others), strict=True)]
        return _Maps(self.graph, names, size or self._size)

    def binary(self, kind: int, other: _Maps) -> _Maps:
        return self.each(lambda a, b: self.graph.add("BinaryOp", [a, b], {0: kind})[0], other)

    def __add__(self, other: _Maps) -> _Maps:
        have, want = other.shape[1], self.shape[1]
        whole = other.each(lambda x: _with_channels(self.graph, x, have, want), size=self._size)
        return self.binary(_ADD, whole)

    def __getitem__(self, index: tuple[slice, slice]) -> _Maps:
        have, want = self.shape[1], min(self.shape[1], index[1].stop)
        return self.each(lambda x: _with_channels(self.graph, x, have, want), size=(want, *self._size[1:]))

    def narrow(self, dim: int, start: int, length: int) -> _Maps:
        if dim == 0:
            return _Maps(self.graph, self.names[start : start + length], self._size)
        if dim not in self._halves:
            self._halves[dim] = [
                self.graph.add("Slice", [x], {0: [-233, -233], 1: dim - 4}, outputs=2) for x in self.names
            ]
        size = tuple(length if number == dim else side for number, side in enumerate(self.shape))
        assert size[dim] * 2 == self.shape[dim] and start in (0, length)  # noqa: S101, PT018 - the network halves only
        return _Maps(self.graph, [halves[start // length] for halves in self._halves[dim]], size[1:])

    def mean(self, dims: tuple[int, int], keepdim: bool) -> _Maps:
        assert dims == (2, 3) and keepdim  # noqa: S101, PT018 - the network's one mean
        pooled = self.each(lambda x: self.graph.add("Pooling", [x], {0: 1, 4: 1})[0])
        return _Maps(self.graph, pooled.names, (self._size[0], 1, 1))

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> _Maps:
        """Answer torch's functions, which ask this before they look for a tensor."""
        if function not in _FUNCTIONS:
            raise NotImplementedError(f"no layer of ncnn is known here for {function}")
        return _FUNCTIONS[function](*args, **(kwargs or {}))


def _convolution(x: _Maps, weight: Tensor, bias: Tensor | None, *_: object) -> _Maps:
    vector = x.shape[2:] == (1, 1)
    layer = x.graph.inner_product if vector else x.graph.convolution
    return x.each(lambda name: layer(name, weight, bias), size=(weight.shape[0], *x.shape[2:]))


def _cat(maps: Sequence[_Maps], dim: int) -> _Maps:
    first = maps[0]
    if dim == 0:
        return _Maps(first.graph, [name for part in maps for name in part.names], tuple(first.shape[1:]))
    size = tuple(
        sum(part.shape[dim] for part in maps) if number == dim else first.shape[number] for number in range(1, 4)
    )
    return first.each(lambda *names: first.graph.add("Concat", names, {0: dim - 4})[0], *maps[1:], size=size)


def _avg_pool2d(x: _Maps, side: int, *_: object) -> _Maps:
    channels, height, width = x.shape[1:]
    pooled = x.each(lambda name: x.graph.add("Pooling", [name], {0: 1, 1: side, 2: side})[0])
    return _Maps(x.graph, pooled.names, (channels, height // side, width // side))


def _interpolate(x: _Maps, scale_factor: float, mode: str, align_corners: bool, **_: object) -> _Maps:
    assert mode == "bilinear" and not align_corners  # noqa: S101, PT018 - the network's one kind
    factor = int(scale_factor)
    size = (x.shape[1], factor * x.shape[2], factor * x.shape[3])
    return x.each(lambda name: _enlarge(x.graph, name, 2, factor, factor), size=size)


_FUNCTIONS: dict[Callable[..., Any], Callable[..., _Maps]] = {
    torch.conv2d: _convolution,
    torch.prelu: lambda x, slope: x.each(lambda name: x.graph.leaky_relu(name, slope.item())),
    F.relu: lambda x, **_: x.each(lambda name: x.graph.leaky_relu(name, 0.0)),
    torch.sigmoid: lambda x: x.each(x.graph.sigmoid),
    torch.cat: _cat,
    F.avg_pool2d: _avg_pool2d,
    F.interpolate: _interpolate,
    torch.addcmul: lambda x, a, b, **_: x + a.binary(_MULTIPLY, b),
}
