"""Write networks in ncnn's two files: layers as text (``.param``) and their weights (``.bin``).

The format is described in ncnn's documentation under "param and model file structure". Only what every ncnn of the last
years and chaiNNer's own reader understand is written; chaiNNer reads layers one by one before ncnn does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["NcnnGraph", "exact"]

_MAGIC = 7767517
"""The text's first line."""
_FLOAT32 = b"\0\0\0\0"
"""What stands before weights of single precision."""
_ACTIVATION, _ACTIVATION_VALUES = 9, 10
_LEAKY_RELU, _SIGMOID = 2, 4

Value = int | float | Sequence[int | float]


@dataclass
class _Layer:
    kind: str
    inputs: list[str]
    outputs: list[str]
    options: dict[int, Value] = field(default_factory=dict)
    weights: bytes = b""

    def line(self, number: int) -> str:
        options = " ".join(_option(key, value) for key, value in self.options.items())
        names = " ".join([*self.inputs, *self.outputs])
        head = f"{self.kind} layer{number} {len(self.inputs)} {len(self.outputs)} {names}"
        return f"{head} {options}".rstrip()


def _option(key: int, value: Value) -> str:
    if isinstance(value, Sequence):  # by minus 23300 minus the key, and with their number in front
        return f"{-23300 - key}=" + ",".join([str(len(value)), *map(_number, value)])
    return f"{key}={_number(value)}"


def _number(value: float) -> str:
    """Return a number as ncnn tells the types apart: one without point and exponent is an integer to it."""
    return str(value) if isinstance(value, int) else f"{value:.8e}"


class NcnnGraph:
    """A network under construction: each method appends a layer and returns the name of what it makes.

    A blob may be used by any number of layers; ``written`` puts in the Split layers that ncnn wants.

    Example:
        >>> import torch
        >>> graph = NcnnGraph()
        >>> x = graph.convolution(graph.input("data"), torch.ones(2, 3, 1, 1))
        >>> text, weights = graph.written(graph.leaky_relu(x, 0.25), "output")
        >>> print(text, end="")
        7767517
        2 2
        Input layer0 0 1 data
        Convolution layer1 1 1 data output 0=2 1=1 4=0 5=0 6=6 9=2 -23310=1,2.50000000e-01
        >>> len(weights)
        28
    """

    def __init__(self) -> None:
        self._layers: list[_Layer] = []
        self._makers: dict[str, _Layer] = {}

    def add(
        self,
        kind: str,
        inputs: Iterable[str],
        options: dict[int, Value] | None = None,
        outputs: int = 1,
        weights: bytes = b"",
    ) -> list[str]:
        """Append a layer; return the names of its outputs.

        Args:
            kind: ncnn's name of it.
            inputs: Names of what it takes.
            options: By ncnn's numbers. Integers and floats are different things to it.
            outputs: How many it makes.
            weights: As they come in the ``.bin``.
        """
        names = [f"blob{len(self._makers) + number}" for number in range(outputs)]
        return self._append(_Layer(kind, list(inputs), names, options or {}, weights))

    def _append(self, layer: _Layer) -> list[str]:
        self._layers.append(layer)
        self._makers.update(dict.fromkeys(layer.outputs, layer))
        return layer.outputs

    def input(self, name: str) -> str:
        """Append what a caller gives, under the name that a caller uses."""
        return self._append(_Layer("Input", [], [name]))[0]

    def convolution(self, x: str, weight: Tensor, bias: Tensor | None = None) -> str:
        """Append a convolution that keeps height and width; ``weight`` is (out, in, k, k), k odd."""
        side = weight.shape[-1]
        options: dict[int, Value] = {0: weight.shape[0], 1: side, 4: side // 2, 5: int(bias is not None)}
        options[6] = weight.numel()
        return self.add("Convolution", [x], options, weights=_bytes(weight, bias))[0]

    def inner_product(self, x: str, weight: Tensor, bias: Tensor | None = None) -> str:
        """Append a 1×1 convolution of a vector; ``weight`` is (out, in, 1, 1)."""
        options: dict[int, Value] = {0: weight.shape[0], 1: int(bias is not None), 2: weight.numel()}
        return self.add("InnerProduct", [x], options, weights=_bytes(weight, bias))[0]

    def leaky_relu(self, x: str, slope: float) -> str:
        """Let the convolution or product that made ``x`` end with this; 0 is the plain ReLU. ``x`` has no other use."""
        self._makers[x].options |= {_ACTIVATION: _LEAKY_RELU, _ACTIVATION_VALUES: [float(slope)]}
        return x

    def sigmoid(self, x: str) -> str:
        """Let the convolution or product that made ``x`` end with this. ``x`` has no other use."""
        self._makers[x].options[_ACTIVATION] = _SIGMOID
        return x

    def written(self, result: str, name: str) -> tuple[str, bytes]:
        """Return the content of ``.param`` and ``.bin``, without the layers that ``result`` does not need.

        Args:
            result: The blob that a caller wants.
            name: What a caller knows it by.
        """
        layers = _with_splits(_sunk(_needed(self._layers, result)))
        for layer in layers:
            layer.outputs = [name if blob == result else blob for blob in layer.outputs]
        blobs = sum(len(layer.outputs) for layer in layers)
        lines = [layer.line(number) for number, layer in enumerate(layers)]
        text = "\n".join([str(_MAGIC), f"{len(layers)} {blobs}", *lines, ""])
        return text, b"".join(layer.weights for layer in layers)


def _bytes(weight: Tensor, bias: Tensor | None) -> bytes:
    parts = [_FLOAT32, _raw(weight)]
    return b"".join([*parts, _raw(bias)] if bias is not None else parts)


def _raw(values: Tensor) -> bytes:
    return values.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False).tobytes()


def _needed(layers: Iterable[_Layer], result: str) -> list[_Layer]:
    wanted, kept = {result}, []
    for layer in reversed(list(layers)):
        if wanted.intersection(layer.outputs):
            wanted.update(layer.inputs)
            kept.append(_Layer(layer.kind, list(layer.inputs), list(layer.outputs), layer.options, layer.weights))
    return kept[::-1]


def _sunk(layers: list[_Layer]) -> list[_Layer]:
    """Put each Interp right before the layer that takes its result, and have that be, or follow, an addition.

    chaiNNer takes any other Interp for enlarging the picture, and stops at some of the layers that may come next.
    """
    waiting: dict[str, _Layer] = {}
    result: list[_Layer] = []
    for layer in layers:
        for number, blob in enumerate(layer.inputs):
            if blob in waiting:
                result.append(waiting.pop(blob))
                if layer.kind != "BinaryOp":
                    layer.inputs[number] = f"{blob}_plus_0"
                    result.append(_Layer("BinaryOp", [blob], [f"{blob}_plus_0"], {0: 0, 1: 1, 2: 0.0}))
        if layer.kind == "Interp":
            waiting[layer.outputs[0]] = layer
        else:
            result.append(layer)
    return result


def _with_splits(layers: list[_Layer]) -> list[_Layer]:
    """Give each use of a blob a name of its own, as a blob may be used once."""
    uses = Counter(blob for layer in layers for blob in layer.inputs)
    copies = {blob: [f"{blob}_{number}" for number in range(count)] for blob, count in uses.items() if count > 1}
    left = {blob: iter(names) for blob, names in copies.items()}
    result = []
    for layer in layers:
        layer.inputs = [next(left[blob]) if blob in left else blob for blob in layer.inputs]
        result.append(layer)
        result += [_Layer("Split", [blob], copies[blob]) for blob in layer.outputs if blob in copies]
    return result


def exact(option: Any) -> None:  # noqa: ANN401 - ncnn has no types
    """Let a net, by its ``opt``, keep every digit: nothing is stored or computed with fewer than 32 bits."""
    option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = False
    option.use_bf16_packed = option.use_bf16_storage = False
