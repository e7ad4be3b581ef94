from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprnet_plugin import memory
from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference import restorer as module
from mprnet_plugin.inference.devices import available_memory, choose_device
from mprnet_plugin.inference.engines import Machine, arithmetic
from mprnet_plugin.inference.restorer import Restorer
from tests.helpers import TINY, fill, vectors


def network(**kwargs: Any) -> MPRNet:
    net = fill(MPRNet(**{**TINY, **kwargs}))
    assert isinstance(net, MPRNet)
    return net


def gentle() -> MPRNet:
    """A network that changes pictures as little as a trained one does."""
    net = network()
    net.tail.weight.data *= 0.02
    return net


def picture(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    values = np.random.default_rng(5).random(shape)
    peak = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    return (values * peak).astype(dtype)


def whole(net: MPRNet, image: NDArray[Any], peak: float) -> NDArray[np.float32]:
    """Pad by reflection, run, crop and clamp: the reference for one picture."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="reflect").astype(np.float32) / peak
    with torch.no_grad():
        result = net.eval()(torch.from_numpy(padded).permute(2, 0, 1)[None])[0][0]
    array: NDArray[np.float32] = result[:, :height, :width].permute(1, 2, 0).clamp(0, 1).numpy()
    return array


def test_published_network_on_the_reference_vector() -> None:
    data = vectors("Deraining")
    net = fill(MPRNet(**PRESETS["Deraining"]))
    assert isinstance(net, MPRNet)
    restored = Restorer(net, "cpu", "fp32")(data["lq"])
    exact = np.clip(data["stage3"].squeeze().transpose(1, 2, 0), 0, 1) * 255
    # Rounded to the nearest level, up to what single precision leaves open on any processor (1e-4 of the range).
    assert np.abs(restored - exact).max() <= 0.5 + 255 * 1e-4


@pytest.mark.parametrize("shape", [(40, 48, 3), (37, 51, 3), (9, 9, 3), (33, 8, 3)])
def test_equals_the_whole_picture_rounded(shape: tuple[int, ...]) -> None:
    net = network()
    image = picture(*shape)
    restored = Restorer(net)(image)
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, np.rint(whole(net, image, 255) * 255))


def test_sixteen_bits_stay_sixteen() -> None:
    net = network()
    image = picture(37, 41, 3, dtype=np.uint16)
    restored = Restorer(net)(image)
    assert restored.dtype == np.uint16
    assert np.abs(restored - np.rint(whole(net, image, 65535) * 65535)).max() <= 1
    assert len(np.unique(restored)) > 256


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (7, 1, 3), (2, 3), (5, 5, 1), (12, 10, 2), (12, 10, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
def test_any_shape_and_dtype_is_kept(shape: tuple[int, ...], dtype: Any) -> None:
    image = picture(*shape, dtype=dtype)
    before = image.copy()
    restored = Restorer(network())(image)
    assert (restored.shape, restored.dtype) == (shape, dtype)
    np.testing.assert_array_equal(image, before)
    if shape[-1] in (2, 4):
        np.testing.assert_array_equal(restored[..., -1], image[..., -1])
        assert not np.array_equal(restored, image)


def test_grey_is_restored_as_colour_and_averaged() -> None:
    net = gentle()
    image = picture(16, 16, dtype=np.float32) / 2 + 0.25
    expected = whole(net, np.repeat(image[..., None], 3, 2), 1)
    assert 0 < expected.min() < expected.max() < 1
    np.testing.assert_allclose(Restorer(net)(image), expected.mean(2), atol=1e-6)
    one = network(in_c=1, out_c=1)
    np.testing.assert_allclose(Restorer(one)(image), whole(one, image[..., None], 1)[..., 0], atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 17, 20), (17, 20), (2, 3, 17, 20), (4, 9, 9), (0, 3, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bfloat16, torch.float64])
def test_tensors_come_back_as_tensors(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    image = (torch.rand(shape) * (255 if dtype == torch.uint8 else 1)).to(dtype)
    restorer = Restorer(network())
    restored = restorer(image)
    assert isinstance(restored, Tensor)
    assert (restored.shape, restored.dtype) == (image.shape, dtype)
    if shape == (3, 17, 20) and dtype == torch.uint8:
        np.testing.assert_array_equal(restored.permute(1, 2, 0), restorer(image.permute(1, 2, 0).numpy()))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"shape \(4, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((4, 4, 3), np.int32), "is int32"),
        (np.full((4, 4, 3), np.nan, np.float32), "not finite"),
        ([[1]], "is a list"),
        (torch.zeros(2, 2, 2, 2, 2), "shape"),
    ],
)
def test_what_is_no_picture_is_named(image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Restorer(network())(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
        ({"device": "meta0"}, "cannot be used"),
        ({"precision": "fp8"}, "precision 'fp8' is unknown"),
        ({"tile": "big"}, "tile 'big' must be auto"),
        ({"tile": None}, "tile None must be auto"),
        ({"device": "meta"}, "device 'meta' cannot be used"),
        ({"device": None}, "device 'None' cannot be used"),
        ({"tile": 100}, "tile=100 must be a multiple"),
        ({"tile": 64, "tile_overlap": 48}, "tile_overlap=48 must be at most half"),
        ({"tile_overlap": -8}, "tile_overlap=-8 must be a multiple of 8, 0 or more"),
        ({"tile": 0, "tile_overlap": 5}, "tile_overlap=5 must be"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Restorer(network(), **options)


@pytest.mark.parametrize("scale", [255.0, 8.0, -1.0, np.nan])
def test_floats_of_another_unit_are_refused(scale: float) -> None:
    image = np.random.default_rng(0).random((9, 9, 3)).astype(np.float32)
    with pytest.raises(InputError, match=r"expected \[0, 1\]"):
        Restorer(gentle())(image * np.float32(scale))
    slightly = image * np.float32(1.1) - np.float32(0.05)  # as resizing leaves them
    assert Restorer(gentle())(slightly).max() <= 1


def test_alpha_of_double_precision_is_unchanged() -> None:
    image = torch.rand(4, 9, 9, dtype=torch.float64)
    assert torch.equal(Restorer(gentle())(image)[3], image[3])


def test_networks_that_change_the_channels_are_refused() -> None:
    with pytest.raises(InputError, match="maps 4 channels to 3"):
        Restorer(network(in_c=4))
    with pytest.raises(InputError, match="3 colour channels, the network takes 1"):
        Restorer(network(in_c=1, out_c=1))(picture(8, 8, 3))


class Local(MPRNet):
    """A network that sees 3x3 pixels only, so that windows must give exactly the whole picture."""

    def forward(self, x: Tensor) -> list[Tensor]:
        assert x.shape[-1] % 8 == x.shape[-2] % 8 == 0
        self.largest = max(getattr(self, "largest", 0), x.shape[-2] * x.shape[-1])
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return [torch.nn.functional.avg_pool2d(padded, 3, 1)]


class Constant(MPRNet):
    """A network whose every window has its own constant, so that blending shows."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x * 0 + x.mean()]


@pytest.mark.parametrize("size", [(100, 157), (64, 64), (63, 200), (8, 300)])
def test_windows_leave_no_trace_of_a_local_network(size: tuple[int, int]) -> None:
    net = Local(**TINY)
    image = picture(*size, 3, dtype=np.float32)
    expected = Restorer(net, tile=0)(image)
    np.testing.assert_allclose(Restorer(net, tile=32, tile_overlap=16)(image), expected, atol=0.02)
    # The windows' outermost pixels, whose neighbours are cut off, are all that may differ, and count little.
    difference = np.abs(Restorer(net, tile=64, tile_overlap=32)(image) - expected)
    assert difference.max() < 0.3 / 32


def test_no_seam_between_windows_that_disagree() -> None:
    ramp = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], 24, 0).repeat(3, 2)
    restored = Restorer(Constant(**TINY), tile=64, tile_overlap=32)(ramp)
    assert np.abs(np.diff(restored, axis=1)).max() < 0.2 / 32
    hard = Restorer(Constant(**TINY), tile=64, tile_overlap=0)(ramp)
    assert np.abs(np.diff(hard, axis=1)).max() > 0.2


def test_tiled_mprnet_is_near_the_whole() -> None:
    net = gentle()
    image = picture(96, 120, 3)
    expected = Restorer(net, tile=0)(image).astype(int)
    tiled = Restorer(net, tile=64, tile_overlap=32)(image)
    assert np.abs(tiled - expected).mean() < 2
    assert not np.array_equal(tiled, expected)  # channel attention is global: the manual says so


def test_automatic_windows_follow_the_memory(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    net = Local(**TINY)
    image = picture(120, 160, 3)
    Restorer(net)(image)
    assert net.largest == 120 * 160
    net.largest = 0
    monkeypatch.setattr(module, "available_memory", lambda device: 140_000_000)
    with caplog.at_level(logging.INFO):
        Restorer(net)(image)
    assert 64 * 64 <= net.largest < 120 * 160
    assert "windows of" in caplog.text


class Greedy(Local):
    """A network that runs out of memory above a number of pixels."""

    limit = 40 * 1000
    error: BaseException = torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.shape[-1] * x.shape[-2] > self.limit:
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize(
    "error", [Greedy.error, MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: tried")]
)
def test_out_of_memory_takes_smaller_windows(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Greedy, "error", error)
    net = Greedy(**TINY)
    image = picture(300, 500, 3, dtype=np.float32)
    restored = Restorer(net, tile=0)(image)
    assert net.largest == 120 * 120
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("engine ")  # and then what changed
    assert messages[1:] == [
        f"out of memory: trying again with windows of {size} x {size} pixels" for size in (248, 120)
    ]
    np.testing.assert_allclose(restored, Restorer(Local(**TINY), tile=0)(image), atol=0.02)


def test_out_of_memory_for_the_smallest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Greedy, "limit", 0)
    with pytest.raises(InputError, match="out of memory even for windows of 64"):
        Restorer(Greedy(**TINY))(picture(256, 256, 3))


def test_other_errors_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Greedy, "limit", 0)
    monkeypatch.setattr(Greedy, "error", RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        Restorer(Greedy(**TINY))(picture(64, 64, 3))


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_cudnn_stays_on(precision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = Restorer(gentle(), device="cpu", precision=precision)
    before = torch.backends.cudnn.allow_tf32
    with arithmetic(restorer.choice, torch.device("cuda")):  # settings only, nothing is computed
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is before


def test_self_ensemble_is_the_mean_of_eight_views() -> None:
    net = network()
    image = picture(16, 24, 3, dtype=np.float32)
    views = []
    for flip in (False, True):
        for turns in range(4):
            view = np.rot90(image[:, ::-1] if flip else image, turns)
            with torch.no_grad():
                restored = net.eval()(torch.from_numpy(view.copy()).permute(2, 0, 1)[None])[0][0]
            back = np.rot90(restored.permute(1, 2, 0).numpy(), -turns)
            views.append(back[:, ::-1] if flip else back)
    result = Restorer(net, self_ensemble=True)(image)
    np.testing.assert_allclose(result, np.mean(views, 0).clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near(precision: Any) -> None:
    net = gentle()
    image = picture(40, 40, 3, dtype=np.float32)
    exact = Restorer(net, precision="fp32")(image)
    half = Restorer(net, precision=precision)(image)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - exact).max() < 0.01


def test_half_precision_on_a_processor_without_it_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Restorer(gentle(), "cpu", "fp32")
    assert not caplog.records
    monkeypatch.setattr(module, "this_machine", lambda device: Machine("cpu"))
    Restorer(gentle(), "cpu", "bf16")
    assert "no instructions for bf16" in caplog.text


def test_local_pooling_is_used() -> None:
    image = picture(64, 520, 3, dtype=np.float32)
    assert not np.allclose(Restorer(network())(image), Restorer(network(), local_pooling=True)(image), atol=1e-5)


def test_device_and_memory() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda", "mps")
    assert available_memory(torch.device("cpu")) > 1 << 20


def test_memory_of_machine_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert available_memory(cpu) == 4 << 30
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert available_memory(cpu) == 8000 * 1024
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 1000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(cpu) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000000\n")
    assert available_memory(cpu) == 3_000_000
