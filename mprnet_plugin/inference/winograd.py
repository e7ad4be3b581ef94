"""3×3 convolutions of a network in evaluation by ncnn's Winograd kernels: as exact as torch's, and faster.

Only the bias-free 3×3 convolutions change, alone or as the pair of a channel attention block; the rest stays torch. So
any size, batch, window, self-ensemble and local pooling hold, and nothing is converted or kept in files. Where
gradients, another dtype or device, or autocast ask for it, torch runs as ever.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from mprnet_plugin.inference.bands import in_bands
from mprnet_plugin.memory import give_back
from mprnet_plugin.weights.ncnn_files import NcnnGraph, exact

__all__ = ["banded", "convolutions", "ncnn_is_there", "winograd"]

_NARROWEST = 32
"""Channels from which Winograd gives more than the copies to and fro take."""
_SMALLEST = 1 << 10
"""Pixels of a map, likewise."""
_LARGE = 1 << 26
"""Bytes of a map before which the heap is freed of the gaps that smaller ones have left: a fifth of a large picture's
memory, for some milliseconds."""
_LARGE_PIXELS = 1 << 17
"""Of a map from which convolutions that torch runs go in bands too: smaller ones lose time, and save little."""
_INPUT, _OUTPUT = "data", "output"

Function = Callable[[Tensor], Tensor]
Signature = tuple[object, ...]


class Chain(NamedTuple):
    """One or two bias-free 3×3 convolutions, and the slope of the PReLU between them.

    Attributes:
        module: What computes it in the network: a convolution, or a block's body.
        layers: The convolutions.
        act: Between them.
    """

    module: nn.Module
    layers: tuple[nn.Conv2d, ...]
    act: nn.PReLU | None

    @property
    def halo(self) -> int:
        """Rows of its neighbours that a row depends on."""
        return sum(int(layer.kernel_size[0]) // 2 for layer in self.layers)

    def signature(self) -> Signature:
        """Return what a loaded net depends on: the threads, and the weights, also where they changed by ``.data``."""
        weights = [layer.weight for layer in self.layers] + ([self.act.weight] if self.act else [])
        sums = (zlib.crc32(np.ascontiguousarray(weight.detach().numpy()).data) for weight in weights)
        return torch.get_num_threads(), *sums


class _Prepared(NamedTuple):
    signature: Signature
    function: Function


_PREPARED: WeakKeyDictionary[nn.Module, _Prepared] = WeakKeyDictionary()
"""By module: transformed weights, half a second's work, serve until the weights change or the network goes."""


_ONE_AT_A_TIME = threading.RLock()
"""A network's convolutions are replaced while it runs, and take every core."""


def ncnn_is_there() -> bool:
    """Tell whether ncnn can be imported."""
    try:
        importlib.import_module("ncnn")
    except (ImportError, OSError):  # a wheel for another system's libraries
        return False
    return True


def convolutions(net: nn.Module) -> list[Chain]:
    """List the convolutions that can be run in bands: 3×3, stride 1, padded by 1, no bias, no groups, wide enough."""
    pairs = []
    for module in net.modules():
        children = tuple(module.children()) if isinstance(module, nn.Sequential) else ()
        if len(children) == 3:
            first, act, last = children
            if _plain(first) and isinstance(act, nn.PReLU) and act.num_parameters == 1 and _plain(last):
                pairs.append(Chain(module, (first, last), act))
    paired = {layer for pair in pairs for layer in pair.layers}
    return pairs + [Chain(layer, (layer,), None) for layer in net.modules() if _plain(layer) and layer not in paired]


def others(net: nn.Module) -> list[Chain]:
    """List the other convolutions that keep height and width, such as 1×1: in bands they take less memory."""
    listed = {layer for chain in convolutions(net) for layer in chain.layers}
    return [Chain(layer, (layer,), None) for layer in net.modules() if _keeps_size(layer) and layer not in listed]


def _keeps_size(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size in ((1, 1), (3, 3))
        and layer.stride == layer.dilation == (1, 1)
        and layer.padding == (layer.kernel_size[0] // 2,) * 2
        and layer.padding_mode == "zeros"
    )


def _plain(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(layer) is nn.Conv2d
        and layer.bias is None
        and layer.kernel_size == (3, 3)
        and layer.stride == layer.padding == layer.dilation == (1, 1)
        and layer.groups == 1
        and min(layer.in_channels, layer.out_channels) >= _NARROWEST
        and layer.weight.dtype == torch.float32
        and layer.weight.device.type == "cpu"
    )


@contextlib.contextmanager
def winograd(net: nn.Module) -> Iterator[None]:
    """Run a network's convolutions by ncnn for a while; other threads wait.

    Weights that have changed since the last time are noticed, as between the validations of a training.

    Args:
        net: Any network; it is not changed when the context is left. Its weights must not change before.
    """
    with _ONE_AT_A_TIME:
        by_ncnn = {chain: _prepared(chain) for chain in convolutions(net)}
        try:
            with _replaced(by_ncnn, _suits_ncnn, _in_pool), _replaced(_by_torch(others(net)), _large_fp32, _in_pool):
                yield
        finally:
            _clear_pools(None)


@contextlib.contextmanager
def banded(net: nn.Module) -> Iterator[None]:
    """Run a network's convolutions by torch for a while, large maps in bands of rows, which bounds the memory."""
    with _ONE_AT_A_TIME:
        wide, rest = _by_torch(convolutions(net)), _by_torch(others(net))
        with _replaced(wide, _suits_bands, in_bands), _replaced(rest, _large, in_bands):
            yield


def _by_torch(chains: list[Chain]) -> dict[Chain, Function]:
    return {chain: chain.module.forward for chain in chains}


@contextlib.contextmanager
def _replaced(
    functions: dict[Chain, Function], suits: Callable[[Tensor], bool], run: Callable[[Function, Tensor, int], Tensor]
) -> Iterator[None]:
    before = [(chain.module, vars(chain.module).get("forward")) for chain in functions]
    for chain, function in functions.items():
        plain = chain.module.forward

        def forward(
            x: Tensor, plain: Function = plain, function: Function = function, halo: int = chain.halo
        ) -> Tensor:
            return run(function, x, halo) if suits(x) else plain(x)

        vars(chain.module)["forward"] = forward  # found before the class's own
    try:
        yield
    finally:
        for module, own in before:
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own


def _suits_bands(x: Tensor) -> bool:
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling() and x.device.type == "cpu"


def _suits_ncnn(x: Tensor) -> bool:
    return (
        _suits_bands(x)
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.shape[2] * x.shape[3] >= _SMALLEST
    )


def _large(x: Tensor) -> bool:
    return _suits_bands(x) and x.shape[2] * x.shape[3] >= _LARGE_PIXELS


def _large_fp32(x: Tensor) -> bool:
    return _large(x) and _suits_ncnn(x)


def _prepared(chain: Chain) -> Function:
    known, signature = _PREPARED.get(chain.module), chain.signature()
    if known is None or known.signature != signature:
        known = _Prepared(signature, functools.partial(_extract, _load(chain)))
        _PREPARED[chain.module] = known
    return known.function


def _extract(net: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - ncnn has no types
    """Run one net on (1, C, H, W); the result lies in the pool's memory for as long as it lives."""
    ncnn = importlib.import_module("ncnn")
    values = x[0].numpy()  # ncnn reads it in place and does not keep it alive
    with net.create_extractor() as extractor:
        extractor.input(_INPUT, ncnn.Mat(values))
        status, result = extractor.extract(_OUTPUT)
    if status != 0:
        raise MemoryError(f"ncnn could not run a convolution of {tuple(x.shape)} (status {status})")
    return torch.from_numpy(np.array(result, copy=False))[None]


def _in_pool(function: Function, x: Tensor, halo: int) -> Tensor:
    _clear_pools(x)
    return in_bands(function, x, halo, _pooled)


def _pooled(*shape: int, dtype: torch.dtype) -> Tensor:
    """Return memory that is used again and again, as the system's pages are slow where they are fresh."""
    ncnn = importlib.import_module("ncnn")
    values = ncnn.Mat(int(np.prod(shape)), allocator=_pools()[2])
    return torch.from_numpy(np.array(values, copy=False)).view(shape).view(dtype)


def _load(chain: Chain) -> Any:  # noqa: ANN401 - ncnn has no types
    ncnn = importlib.import_module("ncnn")
    net = ncnn.Net()
    option = net.opt
    option.use_vulkan_compute = False
    option.num_threads = torch.get_num_threads()  # kernels are prepared for them
    exact(option)
    option.blob_allocator, option.workspace_allocator, _ = _pools()
    graph = NcnnGraph()
    x = graph.input(_INPUT)
    for number, layer in enumerate(chain.layers):
        x = graph.convolution(x, layer.weight)
        if chain.act is not None and number == 0:
            x = graph.leaky_relu(x, chain.act.weight.item())  # which a PReLU of one slope is
    text, weights = graph.written(x, _OUTPUT)
    handle, name = tempfile.mkstemp(suffix=".bin")  # ncnn reads weights from files
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(weights)
        if net.load_param_mem(text) != 0 or net.load_model(name) != 0:
            raise MemoryError("ncnn could not load a convolution's weights")
    finally:
        Path(name).unlink()
    return net


_pooled_for: tuple[int, int] | None = None
"""Channels and columns of the maps whose memory the pools keep: other maps could not use it."""


def _clear_pools(x: Tensor | None) -> None:
    global _pooled_for
    shape = None if x is None else (x.shape[1], x.shape[3])
    if shape == _pooled_for:
        return
    for pool in _pools():
        pool.clear()
    if x is not None and x.numel() * x.element_size() >= _LARGE:
        give_back()
    _pooled_for = shape


@functools.cache
def _pools() -> tuple[Any, Any, Any]:
    """Return the memory that all nets share, as each would keep what it freed: bands, workspace, whole maps."""
    ncnn = importlib.import_module("ncnn")
    pools = ncnn.PoolAllocator(), ncnn.PoolAllocator(), ncnn.PoolAllocator()
    for pool in pools[:2]:
        pool.set_size_compare_ratio(
            0.0
        )  # a larger block that is free is better than a new one; not for maps, which stay
    return pools
