from __future__ import annotations

from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mprnet_plugin.weights.ncnn_files import NcnnGraph, exact


def run(graph: NcnnGraph, result: str, x: Tensor, folder: Path) -> Tensor:
    """Return what ncnn makes of (C, H, W)."""
    text, weights = graph.written(result, "output")
    (folder / "net.param").write_text(text)
    (folder / "net.bin").write_bytes(weights)
    net = ncnn.Net()
    exact(net.opt)
    assert (net.load_param(str(folder / "net.param")), net.load_model(str(folder / "net.bin"))) == (0, 0)
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(x.numpy()).clone())
    status, values = extractor.extract("output")
    assert status == 0
    return torch.from_numpy(np.array(values))


@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0, 2.0, -1.0])
def test_whole_numbers_stay_floats(slope: float, tmp_path: Path) -> None:
    """ncnn would take `1` for the integer, whose bits are the float 1e-45."""
    graph, weight, bias = NcnnGraph(), torch.randn(5, 3, 3, 3), torch.randn(5)
    x = torch.randn(3, 9, 7)
    y = graph.leaky_relu(graph.convolution(graph.input("data"), weight, bias), slope)
    expected = F.leaky_relu(F.conv2d(x[None], weight, bias, padding=1), slope)[0]
    torch.testing.assert_close(run(graph, y, x, tmp_path), expected, atol=1e-5, rtol=0)


def test_a_blob_may_be_used_often_and_layers_without_use_are_left_out(tmp_path: Path) -> None:
    graph = NcnnGraph()
    data = graph.input("data")
    (twice,) = graph.add("BinaryOp", [data, data], {0: 0})
    graph.convolution(twice, torch.randn(4, 3, 1, 1))  # of which nobody wants the result
    (four_times,) = graph.add("BinaryOp", [twice, twice], {0: 0})
    x = torch.randn(3, 8, 8)
    torch.testing.assert_close(run(graph, four_times, x, tmp_path), 4 * x)
    text, weights = graph.written(four_times, "output")
    assert "Convolution" not in text
    assert weights == b""
    assert text == graph.written(four_times, "output")[0]  # asking twice changes nothing


def test_half_precision_weights_are_written_in_full(tmp_path: Path) -> None:
    graph, weight = NcnnGraph(), torch.randn(4, 3, 1, 1).half()
    x = torch.randn(3, 6, 6)
    y: Any = graph.convolution(graph.input("data"), weight.mT.contiguous().mT)
    torch.testing.assert_close(run(graph, y, x, tmp_path), F.conv2d(x[None], weight.float())[0], atol=1e-6, rtol=0)
