from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mprnet_plugin.archs.blocks import ChannelAttention
from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from tests.helpers import TASKS, TINY, fill, image_tensor, shapes, vectors

PARAMETERS = {"Deblurring": 20_127_073, "Denoising": 15_741_025, "Deraining": 3_637_249}
STAGES = ("stage3", "stage2", "stage1")


def largest_difference(outputs: list[Tensor], reference: dict[str, Any]) -> float:
    pairs = zip(outputs, STAGES, strict=True)
    return max(float(np.abs(out.double().numpy() - reference[name]).max()) for out, name in pairs)


def test_the_light_network_is_a_preset_of_its_task() -> None:
    with torch.device("meta"):
        net = MPRNet(**PRESETS["Deblurring-light"])
    assert sum(p.numel() for p in net.parameters()) == 6_376_449  # counted once; nobody publishes it
    assert (net.config.preset, net.config.task) == ("Deblurring-light", "Deblurring")
    assert net.config.describe().startswith("Deblurring-light (n_feat=40, scale_unetfeats=40, scale_orsnetfeats=32")


@pytest.mark.parametrize("task", TASKS)
def test_keys_shapes_and_parameters_are_the_published_ones(task: str) -> None:
    net = MPRNet(**PRESETS[task])
    assert {k: list(v.shape) for k, v in net.state_dict().items()} == shapes(task)
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[task]


@pytest.mark.parametrize("task", TASKS)
def test_outputs_equal_the_reference_network(task: str) -> None:
    reference = vectors(task)
    net = fill(MPRNet(**PRESETS[task])).double()
    with torch.inference_mode():
        assert largest_difference(net(image_tensor(reference["lq"])), reference) < 1e-9


@pytest.mark.parametrize("task", TASKS)
def test_outputs_in_single_precision(task: str) -> None:
    reference = vectors(task)
    net = fill(MPRNet(**PRESETS[task]))
    # 1.2e-5 of the largest output, 8.4: some hundred roundings of 6e-8 in a row, by the kernels of any processor. Seen
    # with and without AVX2: 2.2e-5 at most. A lower precision anywhere gives a hundred times the tolerance.
    with torch.inference_mode():
        assert largest_difference(net(image_tensor(reference["lq"]).float()), reference) < 1e-4


def test_one_prelu_is_shared_by_every_block() -> None:
    net = MPRNet(**TINY)
    assert sum(isinstance(m, torch.nn.PReLU) for m in net.modules()) == 1
    slopes = {v.data_ptr() for v in net.state_dict().values() if v.shape == (1,)}
    assert len(slopes) == 1
    assert net.state_dict()["shallow_feat1.1.body.1.weight"].item() == 0.25


@pytest.mark.parametrize(
    "options",
    [
        {"bias": True},
        {"kernel_size": 5},
        {"in_c": 1, "out_c": 1},
        {"in_c": 4, "out_c": 3},
        {"in_c": 1, "out_c": 3},
        {"reduction": 2, "num_cab": 3, "n_feat": 24},
    ],
    ids=str,
)
def test_options_train_every_parameter(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = MPRNet(**{**TINY, **options})
    for attention in net.modules():
        if isinstance(attention, ChannelAttention):
            attention.conv_du[1] = torch.nn.LeakyReLU()  # so narrow, all of its ReLUs may start closed
    x = torch.rand(2, net.in_c, 24, 16)
    outputs = net(x)
    assert [tuple(o.shape) for o in outputs] == [(2, net.out_c, 24, 16)] * 3
    torch.stack([o.square().mean() for o in outputs]).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_bias_is_only_where_the_published_layout_allows_it() -> None:
    biased = {k for k in MPRNet(**TINY, bias=True).state_dict() if k.endswith(".bias")}
    assert "tail.bias" in biased
    assert "stage3_orsnet.conv_enc3.bias" in biased
    assert not any(".down." in k or ".up." in k or k.endswith("orb1.body.1.bias") for k in biased)


def test_residual_of_extra_and_single_channels() -> None:
    x = torch.rand(1, 4, 8, 8)
    net = MPRNet(**TINY, in_c=4)
    torch.nn.init.zeros_(net.tail.weight)
    assert torch.equal(net(x)[0], x[:, :3])
    single = MPRNet(**TINY, in_c=1)
    torch.nn.init.zeros_(single.tail.weight)
    assert torch.equal(single(x[:, :1])[0], x[:, :1].expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"in_c": 2}, "in_c=2"), ({"kernel_size": 4}, "kernel_size=4"), ({"reduction": 99}, "reduction=99")],
)
def test_widths_that_cannot_be_built_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MPRNet(**{**TINY, **options})


def test_sizes_that_are_not_multiples_of_eight_are_named() -> None:
    with pytest.raises(ValueError, match="height 12 and width 16"):
        MPRNet(**TINY)(torch.rand(1, 3, 12, 16))


def test_batch_equals_its_samples() -> None:
    net = fill(MPRNet(**TINY)).double()
    x = torch.rand(3, 3, 16, 24, dtype=torch.float64)
    with torch.inference_mode():
        joined = net(x)[0]
        single = torch.cat([net(one[None])[0] for one in x])
    assert torch.allclose(joined, single, atol=1e-12, rtol=0)


@pytest.mark.slow
def test_compiles_and_exports_without_graph_breaks() -> None:
    net = fill(MPRNet(**TINY)).eval()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        expected = net(x)
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")(x)
        exported = torch.export.export(net, (x,)).module()(x)
    for one, two, three in zip(expected, compiled, exported, strict=True):
        assert torch.allclose(one, two, atol=1e-5)
        assert torch.allclose(one, three, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_equals_the_independent_implementation(bias: bool) -> None:
    spandrel_extra_arches = pytest.importorskip("spandrel_extra_arches")
    spandrel = pytest.importorskip("spandrel")
    spandrel_extra_arches.install(ignore_duplicates=True)
    net = fill(MPRNet(n_feat=16, scale_unetfeats=8, scale_orsnetfeats=8, num_cab=2, bias=bias)).double().eval()
    peer = spandrel.ModelLoader().load_from_state_dict(dict(net.state_dict())).model.double().eval()
    x = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    with torch.inference_mode():
        theirs = peer(x)
        theirs = theirs[0] if isinstance(theirs, (list, tuple)) else theirs
        assert torch.allclose(net(x)[0], theirs, atol=1e-10, rtol=0)


def test_maps_go_once_they_have_served() -> None:
    """The peak of memory: stage 3's blocks hold no map that an earlier one has used up."""
    net = fill(MPRNet(**TINY)).eval()
    made: dict[str, weakref.ref[Tensor]] = {}
    alive: dict[str, set[str]] = {}

    def note(name: str) -> None:
        def hook(_: object, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            made.update({name: weakref.ref(out), f"into {name}": weakref.ref(inputs[0])})

        net.get_submodule(name).register_forward_hook(hook)

    def look(name: str) -> None:
        there = lambda *_: alive.update({name: {one for one, ref in made.items() if ref() is not None}})  # noqa: E731
        net.get_submodule(name).register_forward_pre_hook(there)

    for name in ("concat12", "concat23", "stage3_orsnet.conv_enc1", "stage3_orsnet.conv_enc2"):
        note(name)
    for name in ("stage2_decoder", "concat23", "stage3_orsnet.orb1", "stage3_orsnet.orb2", "stage3_orsnet.orb3"):
        look(name)
    with torch.inference_mode():
        net(torch.rand(1, 3, 16, 16))
    levels = {"stage3_orsnet.conv_enc1", "stage3_orsnet.conv_enc2"}
    assert alive == {
        "stage2_decoder": set(),
        "concat23": levels,
        "stage3_orsnet.orb1": levels | {"concat23"},
        "stage3_orsnet.orb2": {"stage3_orsnet.conv_enc2"},
        "stage3_orsnet.orb3": set(),
    }
