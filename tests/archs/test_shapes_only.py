from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.archs.shapes_only import shapes_only

SMALL: dict[str, Any] = {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 1, "bias": True}


class Recorded(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


class Drawn(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.noise = torch.nn.Parameter(torch.empty(3).normal_())  # as some networks do, past torch.nn.init
        self.scale = torch.nn.Parameter(torch.empty(3).uniform_())


def build() -> torch.nn.Module:
    return torch.nn.Sequential(MPRNet(**SMALL), torch.nn.Linear(3, 2), torch.nn.Embedding(3, 2), Drawn())


def test_names_and_shapes_are_those_of_the_network_and_nothing_is_drawn() -> None:
    state = torch.get_rng_state()
    with shapes_only(), Recorded() as recorded:
        net = build()
    assert torch.equal(torch.get_rng_state(), state)
    assert {(name, value.shape) for name, value in net.state_dict().items()} == {
        (name, value.shape) for name, value in build().state_dict().items()
    }
    assert all(parameter.is_meta for parameter in net.parameters())
    assert recorded.names
    assert not [name for name in recorded.names if "uniform" in name or "normal" in name or "bernoulli" in name]


def test_outside_of_it_weights_are_drawn_again() -> None:
    with shapes_only():
        pass
    assert torch.nn.Linear(3, 2).weight.abs().sum() > 0
