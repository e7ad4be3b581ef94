from __future__ import annotations

import copy
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mprnet_plugin.archs.any_size import restore_any_size
from mprnet_plugin.archs.local_pooling import local_pooling
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference import engines, winograd
from mprnet_plugin.inference.bands import bands, in_bands
from mprnet_plugin.inference.engines import Machine, choose, needed_memory
from mprnet_plugin.inference.restorer import Restorer
from tests.helpers import ROOT, fill, picture

WIDE: dict[str, Any] = {"n_feat": 32, "scale_unetfeats": 8, "scale_orsnetfeats": 8, "num_cab": 1}
"""As narrow as ncnn takes."""
TOLERANCE = 5e-5
"""Of the range of the outputs: what rounding explains."""


@pytest.fixture(scope="module")
def net() -> MPRNet:
    filled = fill(MPRNet(**WIDE)).eval()
    assert isinstance(filled, MPRNet)
    return filled


def error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((mine - theirs).abs().max() / (theirs.max() - theirs.min()))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what ncnn is asked for."""
    made: list[int] = []
    extract = winograd._extract

    def counted(found: Any, x: torch.Tensor) -> torch.Tensor:
        made.append(x.shape[2])
        return extract(found, x)

    monkeypatch.setattr(winograd, "_extract", counted)
    winograd._PREPARED.clear()
    return made


@pytest.mark.parametrize("size", [(1, 64, 64), (1, 136, 72), (3, 64, 88), (1, 8, 8), (1, 304, 200)])
@pytest.mark.parametrize("engine", ["ncnn", "torch"])
def test_equals_eager(net: MPRNet, calls: list[int], size: tuple[int, int, int], engine: Any) -> None:
    x = torch.rand(size[0], 3, *size[1:])
    with torch.inference_mode():
        expected = net(x)
        with engines.running(net, choose(engine, "fp32", Machine("cpu", ncnn=True))):
            result = net(x)
        again = net(x)
    assert all(error(mine, theirs) < TOLERANCE for mine, theirs in zip(result, expected, strict=True))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(again, expected, strict=True))
    assert bool(calls) is (engine == "ncnn" and size[1] > 8)


def test_local_pooling_and_views(net: MPRNet, calls: list[int]) -> None:
    x = torch.rand(1, 3, 70, 90)
    with torch.inference_mode(), local_pooling(net, base_size=128):
        expected = restore_any_size(net, x, ensemble=True)
        with winograd.winograd(net):
            result = restore_any_size(net, x, ensemble=True)
    assert calls
    assert error(result, expected) < TOLERANCE


@pytest.mark.parametrize("tile", [0, 64])
def test_restorer_with_windows(net: MPRNet, calls: list[int], tile: int) -> None:
    image = picture(0, 80, 100, np.uint16)
    results = [Restorer(net, "cpu", "fp32", tile, engine=engine)(image).astype(int) for engine in ("ncnn", "torch")]
    assert calls
    assert np.abs(results[0] - results[1]).max() <= 65535 * TOLERANCE + 1


def test_the_network_is_as_it_was(net: MPRNet) -> None:
    keys = list(net.state_dict())
    with winograd.winograd(net):
        assert list(net.state_dict()) == keys
        with winograd.winograd(net):  # as a caller of a caller may have it
            pass
    assert not any("forward" in vars(module) for module in net.modules())
    copies = pickle.loads(pickle.dumps(net)), copy.deepcopy(net)  # noqa: S301 - our own
    assert [list(one.state_dict()) for one in copies] == [keys, keys]


@pytest.mark.parametrize("write", ["optimizer", "data", "load", "slope", "turn"])
def test_changed_weights_are_noticed(calls: list[int], write: str) -> None:
    net = fill(MPRNet(**WIDE)).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode(), winograd.winograd(net):
        before = net(x)[0]
    if write == "optimizer":
        net(x)[0].mean().backward()
        torch.optim.SGD(net.parameters(), lr=1.0).step()
    elif write == "data":  # as moving averages are written, which no version of a tensor counts
        for parameter in net.parameters():
            parameter.data.mul_(0.9).add_(0.001)
    elif write == "turn":  # the same values at other places
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.data.copy_(module.weight.flip(2, 3))
    elif write == "load":
        net.load_state_dict({key: value * 0.9 for key, value in net.state_dict().items()})
    else:
        for module in net.modules():
            if isinstance(module, torch.nn.PReLU):
                module.weight.data.fill_(0.4)
    with torch.inference_mode():
        expected = net(x)[0]
        with winograd.winograd(net):
            result = net(x)[0]
    assert error(expected, before) > 100 * TOLERANCE
    assert error(result, expected) < TOLERANCE


def test_another_number_of_threads_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    net, threads = fill(MPRNet(**WIDE)).eval(), torch.get_num_threads()
    used: list[int] = []
    extract = winograd._extract

    def noted(found: Any, x: torch.Tensor) -> torch.Tensor:
        used.append(found.opt.num_threads)
        return extract(found, x)

    monkeypatch.setattr(winograd, "_extract", noted)
    winograd._PREPARED.clear()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            used.clear()
            with torch.inference_mode(), winograd.winograd(net):
                net(torch.rand(1, 3, 64, 64))
            assert set(used) == {number}
    finally:
        torch.set_num_threads(threads)


def test_gradients_and_other_dtypes_stay_with_torch(calls: list[int]) -> None:
    net = fill(MPRNet(**WIDE))
    with winograd.winograd(net):
        net(torch.rand(1, 3, 64, 64))[0].mean().backward()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            net(torch.rand(1, 3, 64, 64))
    assert not calls
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(
    "other", [{}, {"bias": True}, {"kernel_size": 5}, {"n_feat": 8, "scale_orsnetfeats": 4}, {"in_c": 1, "out_c": 1}]
)
@pytest.mark.parametrize("large", [False, True])
def test_other_networks_run(
    calls: list[int], other: dict[str, Any], large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = fill(MPRNet(**{**WIDE, **other})).eval()
    x = torch.rand(1, net.config.in_c, *((136, 264) if large else (64, 64)))
    if large:  # what large pictures alone are done by, on one that is quick
        monkeypatch.setattr(winograd, "_LARGE_PIXELS", 1 << 10)
        monkeypatch.setattr(winograd, "_LARGE", 1 << 10)
    with torch.inference_mode(), local_pooling(net, base_size=128):
        expected = net(x)[0]
        for run in (winograd.winograd, winograd.banded):
            with run(net):
                assert error(net(x)[0], expected) < TOLERANCE


@pytest.mark.parametrize("run", [winograd.winograd, winograd.banded])
def test_large_maps_of_every_convolution_go_in_bands(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = fill(MPRNet(**WIDE)).eval()
    monkeypatch.setattr(winograd, "_LARGE_PIXELS", 1 << 16)
    pixels: list[int] = []
    convolve = torch.nn.Conv2d._conv_forward

    def watched(self: torch.nn.Conv2d, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        pixels.append(x.shape[2] * x.shape[3])
        result: torch.Tensor = convolve(self, x, *rest)
        return result

    monkeypatch.setattr(torch.nn.Conv2d, "_conv_forward", watched)
    with torch.inference_mode():
        net(torch.rand(1, 3, 264, 256))
        assert max(pixels) == 264 * 256
        pixels.clear()
        with run(net):
            net(torch.rand(1, 3, 264, 256))
    assert pixels
    assert max(pixels) < 1 << 16


def test_double_precision_stays_with_torch(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    net = fill(MPRNet(**WIDE)).eval().double()
    monkeypatch.setattr(winograd, "_LARGE_PIXELS", 1 << 8)
    x = torch.rand(1, 3, 72, 88, dtype=torch.float64)
    with torch.inference_mode():
        expected = net(x)[0]
        with winograd.winograd(net):
            torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)
    assert not calls


def test_bands_cover_each_row_once() -> None:
    for height, width in ((720, 1280), (512, 512), (1, 1), (65, 4096), (3000, 8)):
        rows = [row for band in bands(height, width, 2) for row in range(band.start, band.stop)]
        assert rows == list(range(height))


@pytest.mark.parametrize("shape", [(1, 3, 200, 1280), (2, 3, 130, 700), (2, 3, 5, 5)])
def test_bands_are_exact(shape: tuple[int, ...]) -> None:
    x, weights = torch.rand(shape), torch.rand(2, 3, 3, 3)
    whole = torch.nn.functional.conv2d(x, weights, padding=1)
    result = in_bands(lambda part: torch.nn.functional.conv2d(part, weights, padding=1), x, 1)
    torch.testing.assert_close(result, whole, rtol=0, atol=1e-5)


AMX, BF16, NONE = frozenset({"amx", "avx512_bf16"}), frozenset({"avx512_bf16"}), frozenset[str]()


@pytest.mark.parametrize(
    ("asked", "machine", "expected"),
    [
        (("auto", "auto"), Machine("cpu", True, NONE), ("ncnn", "fp32")),
        (("auto", "auto"), Machine("cpu", True, BF16), ("ncnn", "fp32")),
        (("auto", "auto"), Machine("cpu", True, AMX), ("torch", "bf16")),
        (("auto", "auto"), Machine("cpu", False, BF16), ("torch", "fp32")),
        (("auto", "fp32"), Machine("cpu", True, AMX), ("ncnn", "fp32")),
        (("ncnn", "auto"), Machine("cpu", True, AMX), ("ncnn", "fp32")),
        (("torch", "auto"), Machine("cpu", True, AMX), ("torch", "bf16")),
        (("torch", "auto"), Machine("cpu", True, NONE), ("torch", "fp32")),
        (("auto", "bf16"), Machine("cpu", True, NONE), ("torch", "bf16")),
        (("auto", "auto"), Machine("cuda", True, AMX, gpu_bf16=True), ("torch", "bf16")),
        (("auto", "auto"), Machine("cuda", True), ("torch", "fp16")),
        (("auto", "fp32"), Machine("cuda", True), ("torch", "fp32")),
        (("auto", "auto"), Machine("mps"), ("torch", "fp32")),
    ],
)
def test_choice(asked: Any, machine: Machine, expected: tuple[str, str]) -> None:
    assert choose(asked[0], asked[1], machine)[:2] == expected


def test_warnings_come_where_something_is_slow() -> None:
    assert "100 times" in choose("auto", "bf16", Machine("cpu", True, NONE)).warning
    assert choose("auto", "bf16", Machine("cpu", True, BF16)).warning == ""
    assert "100 times" in choose("auto", "fp16", Machine("cpu", True, BF16)).warning
    assert "pip install ncnn" in choose("auto", "auto", Machine("cpu")).warning
    assert choose("torch", "auto", Machine("cpu")).warning == ""


@pytest.mark.parametrize(
    ("asked", "machine", "message"),
    [
        (("openvino", "auto"), Machine("cpu"), "engine 'openvino' is unknown; known are"),
        (("ncnn", "auto"), Machine("cpu"), "needs the package ncnn"),
        (("ncnn", "auto"), Machine("cuda", True), "runs on the CPU, not on cuda"),
        (("ncnn", "bf16"), Machine("cpu", True), "computes in fp32, not in bf16"),
    ],
)
def test_what_cannot_be_had(asked: Any, machine: Machine, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(asked[0], asked[1], machine)


def test_what_torch_compiles_is_not_ncnns() -> None:
    assert choose("auto", "fp32", Machine("cpu", True), compiled=True).engine == "torch"
    with pytest.raises(InputError, match="leave compile out"):
        choose("ncnn", "fp32", Machine("cpu", True), compiled=True)


@pytest.mark.slow
def test_a_compiled_network_restores_the_same(net: MPRNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as a compiler traces it; what C++ it makes of that is torch's own."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    image, shares = picture(0, 40, 48), list[float]()
    eager = Restorer(net, "cpu", "fp32")(image)
    assert np.abs(eager.astype(int) - Restorer(net, "cpu", "fp32", compile=True)(image, shares.append)).max() <= 1
    assert shares == [1]  # nothing looks into it


def test_memory_is_the_engines(net: MPRNet) -> None:
    machine = Machine("cpu", True)
    small, large = (needed_memory(net, choose(engine, "fp32", machine), 1 << 20) for engine in ("torch", "ncnn"))
    assert small < large


def test_without_ncnn(tmp_path: Path) -> None:
    """Torch runs, and says so; who asks for ncnn is told in one line."""
    (tmp_path / "ncnn.py").write_text("raise ImportError('hidden')\n")
    picture_path = tmp_path / "a.png"
    Image.fromarray(picture(0, 16, 16)).save(picture_path)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    code = "from mprnet_plugin.inference.cli import cli; cli()"
    words = [sys.executable, "-c", code, "--input_image", str(picture_path), "--cpu", "--precision", "fp32"]
    words += ["--task", "derain", "--verbose", "--output_path", str(tmp_path / "o")]
    done, refused = (
        subprocess.run([*words, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        for more in ([], ["--engine", "ncnn"])
    )
    assert done.returncode == 0, done.stderr
    assert "pip install ncnn" in done.stderr
    assert "engine torch, precision fp32, whole pictures" in done.stderr
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: engine ncnn needs the package ncnn")
    assert "Traceback" not in refused.stderr
