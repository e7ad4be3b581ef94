"""The whole network in ncnn, and that the file is one that chaiNNer's reader takes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.export.forms import FORMS, PictureNet
from mprnet_plugin.export.ncnn_trace import ncnn_files
from tests.helpers import TINY, fill

CONFIGS: list[dict[str, Any]] = [
    {},
    {"n_feat": 32, "scale_unetfeats": 8, "scale_orsnetfeats": 8},  # wide enough for Winograd
    {"num_cab": 2, "kernel_size": 5, "reduction": 2, "bias": True},
    {"in_c": 4},
    {"in_c": 1},
    {"in_c": 1, "out_c": 1},
]
SIZES = [(8, 8), (64, 32), (45, 61), (13, 8), (8, 15)]
"""Of 64 by 32, a level's width equals its channels, which must not be taken for one another."""


@pytest.mark.parametrize("config", CONFIGS)
def test_equals_torch_at_every_size(config: dict[str, Any], tmp_path: Path) -> None:
    net = fill(MPRNet(**{**TINY, **config})).eval()
    form = FORMS[".param"]
    files = [tmp_path / "net.param", tmp_path / "net.bin"]
    form.write(net, files)
    run = form.load(files)
    for height, width in SIZES:
        x = torch.rand(2, net.in_c, height, width)
        with torch.inference_mode():
            expected = PictureNet(net)(x)
        assert (run(x) - expected).abs().max() < 2e-5 * (expected.max() - expected.min())


def layers(text: str) -> list[tuple[str, list[str], list[str], dict[int, str]]]:
    """Return kind, inputs, outputs and options of each line."""
    result = []
    for line in text.splitlines()[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        names, options = rest[: int(inputs) + int(outputs)], rest[int(inputs) + int(outputs) :]
        pairs = (option.split("=") for option in options)
        numbers = {-23300 - int(key) if int(key) < 0 else int(key): value for key, value in pairs}
        result.append((kind, names[: int(inputs)], names[int(inputs) :], numbers))
    return result


def test_chainner_reads_the_file() -> None:
    """It parses the layers itself before ncnn does; these are rules of its reader that a network could break.

    Input and output are the first layer's and the last one's; channels are those of the first and last convolution; it
    knows only some layers, and weights of fewer; a convolution behind a global pooling must have a bias; an Interp
    enlarges the picture unless an addition follows; layers that feed a Split and then a sum must not have 1 as their
    first option; and everything is a tree of blobs used once.
    """
    found = layers(ncnn_files(MPRNet(**TINY))[0])
    kinds = [kind for kind, *_ in found]
    assert found[0][0] == "Input"
    assert found[0][2] == ["data"]
    assert found[-1][2] == ["output"]
    known = {
        "Input",
        "Split",
        "Slice",
        "Concat",
        "Crop",
        "Interp",
        "Pooling",
        "BinaryOp",
        "Convolution",
        "InnerProduct",
    }
    assert set(kinds) <= known
    convolutions = [options for kind, _, _, options in found if kind == "Convolution"]
    assert int(convolutions[0][6]) == int(convolutions[0][0]) * 3 * 9
    assert int(convolutions[-1][0]) == 3
    makers = {blob: layer for layer in found for blob in layer[2]}
    for kind, inputs, _, options in found:
        if kind == "Convolution":
            assert makers[inputs[0]][0] not in ("InnerProduct", "Pooling") or makers[inputs[0]][3].get(4) != "1"
        if kind == "Split":
            assert makers[inputs[0]][3].get(0) != "1"
        assert kind != "Concat" or options.get(0) != "1"
    assert all(after == "BinaryOp" for kind, after in itertools.pairwise(kinds) if kind == "Interp")
    uses = [blob for _, inputs, _, _ in found for blob in inputs]
    assert len(uses) == len(set(uses))


def test_operations_without_a_layer_are_named() -> None:
    class Other(MPRNet):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [torch.tanh(x)]

    with pytest.raises(NotImplementedError, match=r"no layer of ncnn is known here for .*tanh"):
        ncnn_files(Other(**TINY))
