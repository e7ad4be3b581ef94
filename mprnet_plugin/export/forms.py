"""What can be exported to: how each form is written, and how its own runtime runs it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE, MPRNet
from mprnet_plugin.export.ncnn_trace import INPUT, OUTPUT, ncnn_files
from mprnet_plugin.weights.ncnn_files import exact

__all__ = ["FORMS", "Form", "PictureNet"]

Run = Callable[[Tensor], Tensor]


class PictureNet(nn.Module):
    """A network for pictures of any size, its final stage alone: what every form computes.

    Right and below, pictures are padded to multiples of 8 by repeating the last row and column, and results cropped. By
    indices, since torch.export would make a separate case of sizes that need no padding.
    """

    def __init__(self, net: MPRNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_c, H, W) in [0, 1] to (N, out_c, H, W), not clamped."""
        height, width = x.shape[2:]
        padded = x.index_select(2, _repeating(height)).index_select(3, _repeating(width))
        result: Tensor = self.net(padded)[0]
        return result.index_select(2, torch.arange(height)).index_select(3, torch.arange(width))


def _repeating(length: int) -> Tensor:
    """Return the indices 0, 1, ... and the last one again, until they are a multiple of 8."""
    count = (length + SIZE_MULTIPLE - 1) // SIZE_MULTIPLE * SIZE_MULTIPLE
    return torch.arange(count).clamp(max=length - 1)


class Form(NamedTuple):
    """A kind of export.

    Attributes:
        suffixes: Of its files, the one that a person names first.
        packages: What writing and running it imports.
        write: Writes a network to these files.
        load: Returns a call of these files' network, (N, in_c, H, W) to (N, out_c, H, W).
    """

    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    write: Callable[[MPRNet, list[Path]], None]
    load: Callable[[list[Path]], Run]


def _write_ncnn(net: MPRNet, files: list[Path]) -> None:
    text, weights = ncnn_files(net)
    files[0].write_text(text, encoding="utf-8")
    files[1].write_bytes(weights)


def _load_ncnn(files: list[Path]) -> Run:
    import ncnn
    import numpy as np

    loaded = ncnn.Net()
    loaded.opt.use_vulkan_compute = False
    loaded.opt.num_threads = torch.get_num_threads()
    exact(loaded.opt)
    if loaded.load_param(str(files[0])) != 0 or loaded.load_model(str(files[1])) != 0:
        raise RuntimeError("ncnn does not load it")

    def run(x: Tensor) -> Tensor:
        results = []
        for picture in x:
            with loaded.create_extractor() as extractor:
                extractor.input(INPUT, ncnn.Mat(picture.numpy()).clone())  # a copy, aligned as its layers expect
                status, result = extractor.extract(OUTPUT)
                if status != 0:
                    raise RuntimeError(f"ncnn does not run it (status {status})")
                results.append(torch.from_numpy(np.array(result)))
        return torch.stack(results)

    return run


def _exported(net: MPRNet) -> torch.export.ExportedProgram:
    varies = torch.export.Dim.DYNAMIC
    example = torch.rand(2, net.in_c, 45, 53)  # a size that stands for all: neither 1, nor 8, nor a multiple of 8
    with torch.no_grad():
        program = torch.export.export(
            PictureNet(net).eval(), (example,), dynamic_shapes={"x": {0: varies, 2: varies, 3: varies}}
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # with the folders of whoever exports
    return program


def _write_pt2(net: MPRNet, files: list[Path]) -> None:
    with files[0].open("wb") as file:  # by its name, that would be inside of it too
        torch.export.save(_exported(net), file)


def _load_pt2(files: list[Path]) -> Run:
    loaded: Run = torch.export.load(files[0]).module()
    return loaded


def _write_onnx(net: MPRNet, files: list[Path]) -> None:
    with _quietly():
        program = torch.onnx.export(
            _exported(net), (), dynamo=True, input_names=["input"], output_names=["output"], verbose=False
        )
    assert program is not None  # noqa: S101 - as it is not asked to write a file
    graph: Any = program.model.graph
    outer = [*graph.inputs, *graph.outputs]
    inner = [value for node in graph for value in node.outputs if value not in graph.outputs]
    for value in inner:
        value.shape = None  # in terms of names that the next lines take away
    for value in outer:
        value.shape = type(value.shape)(["batch", value.shape[1], "height", "width"])
    for part in (*graph, *inner, *outer, graph):
        part.metadata_props.clear()  # where each layer stands in whose source
    program.save(files[0], external_data=False)  # the weights in the same file


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's remarks about its own steps to itself for a while."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _load_onnx(files: list[Path]) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def _write_openvino(net: MPRNet, files: list[Path]) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "network.onnx"
        _write_onnx(net, [onnx])
        model = openvino.Core().read_model(str(onnx))
        openvino.serialize(model, str(files[0]), str(files[1]))  # in fp32, as it was read


def _load_openvino(files: list[Path]) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(str(files[0]), str(files[1]))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: torch.from_numpy(compiled(x.numpy())[0])


_ONNX = ("onnx", "onnxscript")
FORMS = {
    form.suffixes[0]: form
    for form in (
        Form((".onnx",), (*_ONNX, "onnxruntime"), _write_onnx, _load_onnx),
        Form((".param", ".bin"), ("ncnn",), _write_ncnn, _load_ncnn),
        Form((".xml", ".bin"), (*_ONNX, "openvino"), _write_openvino, _load_openvino),
        Form((".pt2",), (), _write_pt2, _load_pt2),
    )
}
"""By the suffix that names it."""
