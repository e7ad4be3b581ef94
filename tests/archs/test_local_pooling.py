from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from mprnet_plugin.archs.blocks import CAB, BlockFactory, ChannelAttention
from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.local_pooling import LocalChannelAttention, MPRNetLocal, local_pooling, use_local_pooling
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from tests.helpers import TINY, VECTORS, fill, image_tensor


def image(height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tiny() -> MPRNet:
    return fill(MPRNet(**TINY)).double().eval()


@pytest.mark.slow
def test_equals_the_reference() -> None:
    with np.load(VECTORS / "tlc_deraining.npz") as vectors:
        train, base = int(vectors["train_size"]), int(vectors["base_size"])
        lq, expected = image_tensor(vectors["lq"]), vectors["stage3"]
    net = fill(MPRNetLocal(train, base, **PRESETS["Deraining"])).double()
    with torch.inference_mode():
        output = net(lq)[0].numpy()
    assert np.abs(output - expected).max() < 1e-9


def test_class_and_function_are_the_same() -> None:
    x = image(96, 96)
    local = fill(MPRNetLocal(64, 96, **TINY)).double()
    with torch.inference_mode():
        assert torch.equal(local(x)[0], use_local_pooling(tiny(), 64, 96)(x)[0])


def attention(channels: int = 8) -> ChannelAttention:
    torch.manual_seed(0)
    return ChannelAttention(channels, 2, bias=True).double()


def sliding_means(x: NDArray[np.float64], window: tuple[int, int]) -> NDArray[np.float64]:
    """By SciPy: means of the windows that fit, the outermost repeated outwards."""
    height, width = (min(size, extent) for size, extent in zip(window, x.shape[2:], strict=True))
    means = ndimage.uniform_filter(x, (0, 0, height, width), mode="constant")
    top, left = height // 2, width // 2
    rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
    inner = means[:, :, top : top + rows, left : left + columns]
    before = (height - 1) // 2, (width - 1) // 2
    pads = [(0, 0), (0, 0), (before[0], height - 1 - before[0]), (before[1], width - 1 - before[1])]
    return np.pad(inner, pads, mode="edge")


WINDOWS = [(4, 6), (5, 3), (1, 1), (20, 24), (19, 23), (100, 6), (4, 100), (20, 6), (100, 100)]


@pytest.mark.parametrize("window", WINDOWS)
def test_window_means_are_scipys(window: tuple[int, int]) -> None:
    x = torch.randn(2, 8, 20, 24, dtype=torch.float64)
    local = LocalChannelAttention(attention(), window)
    with torch.no_grad():
        expected = attention().conv_du(torch.from_numpy(sliding_means(x.numpy(), window)))
        torch.testing.assert_close(local(x).expand_as(x), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(local.gate(x, 2 * x), x + 2 * x * local(2 * x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_with_and_without_gradients_the_same(window: tuple[int, int]) -> None:
    local = LocalChannelAttention(attention(), window)
    x, features = torch.randn(2, 2, 8, 20, 24, dtype=torch.float64)
    with torch.inference_mode():
        expected = local.gate(x, features.clone())
    output = local.gate(x, features.requires_grad_())
    torch.testing.assert_close(output, expected.clone(), rtol=0, atol=1e-12)


def test_gradients() -> None:
    local = LocalChannelAttention(attention(4), (2, 3))
    x, features = torch.randn(2, 1, 4, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(local.gate, (x.requires_grad_(), features.requires_grad_()))


def test_window_of_the_whole_picture_is_global_pooling() -> None:
    x = image()
    with torch.inference_mode():
        expected = tiny()(x)
        outputs = use_local_pooling(tiny())(x)
    for output, reference in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, reference, rtol=0, atol=1e-12)


def test_small_windows_change_the_result() -> None:
    x = image(96, 96)
    with torch.inference_mode():
        difference = (use_local_pooling(tiny(), 32, 48)(x)[0] - tiny()(x)[0]).abs().max()
    assert difference > 1e-4


def test_windows_follow_stage_and_level() -> None:
    net = use_local_pooling(tiny(), 256, 384)
    windows = {name: block.CA.window for name, block in net.named_modules() if isinstance(block, CAB)}
    expected = {
        "shallow_feat1.1": (192, 192),
        "shallow_feat2.1": (192, 384),
        "shallow_feat3.1": (384, 384),
        "stage1_encoder.encoder_level1.0": (192, 192),
        "stage1_encoder.encoder_level3.1": (48, 48),
        "stage1_decoder.decoder_level1.0": (192, 384),
        "stage1_decoder.skip_attn2": (96, 192),
        "stage2_encoder.encoder_level2.1": (96, 192),
        "stage2_decoder.decoder_level3.0": (96, 96),
        "stage3_orsnet.orb3.body.0": (384, 384),
    }
    assert {name: windows[name] for name in expected} == expected


def test_sizes_can_be_changed_and_taken_back() -> None:
    net, x = tiny(), image(96, 96)
    keys = list(net.state_dict())
    with torch.inference_mode():
        before = net(x)[0]
        with local_pooling(net, 32, 48):
            inside = net(x)[0]
        after = net(x)[0]
        wide = use_local_pooling(net, 32, 4000)(x)[0]
        again = use_local_pooling(net, 32, 48)(x)[0]
    assert torch.equal(before, after)
    torch.testing.assert_close(wide, before, rtol=0, atol=1e-12)
    assert torch.equal(inside, again)
    assert not torch.equal(inside, before)
    assert list(net.state_dict()) == keys


def test_taken_back_after_an_error() -> None:
    net = tiny()
    with pytest.raises(RuntimeError), local_pooling(net, 32, 48):
        raise RuntimeError
    assert not any(isinstance(module, LocalChannelAttention) for module in net.modules())


def test_names_and_shared_slope_stay() -> None:
    local, plain = MPRNetLocal(**TINY), MPRNet(**TINY)
    assert list(local.state_dict()) == list(plain.state_dict())
    assert sum(isinstance(module, nn.PReLU) for module in local.modules()) == 1
    local.load_state_dict(plain.state_dict())


def test_base_size_is_for_patches_of_256() -> None:
    """As in the authors' code: 384 is 1.5 times the training extent whatever the patch."""
    net = use_local_pooling(tiny(), 128, 384)
    attentions = [
        net.get_submodule(f"{name}.CA") for name in ("stage3_orsnet.orb1.body.0", "stage1_encoder.encoder_level3.0")
    ]
    assert [module.window for module in attentions] == [(192, 192), (24, 24)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype: torch.dtype) -> None:
    x = image(96, 96)
    with torch.inference_mode():
        exact = use_local_pooling(tiny(), 32, 48)(x)[0]
        rough = use_local_pooling(tiny().to(dtype), 32, 48)(x.to(dtype))[0]
    assert rough.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(rough.double(), exact, rtol=0, atol=tolerance)


def test_single_precision_on_a_long_map() -> None:
    """Running sums over thousands of pixels that hardly differ keep their digits."""
    x = 100 + torch.rand(1, 4, 700, 1300, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = LocalChannelAttention(attention(4), (384, 384))
    single = LocalChannelAttention(attention(4).float(), (384, 384))
    with torch.inference_mode():
        difference = (single(x.float()).double() - exact(x)).abs().max()
    assert difference < 1e-5


@pytest.mark.slow
def test_export_gives_the_same() -> None:
    net, x = use_local_pooling(tiny(), 32, 48), image(96, 96)
    with torch.no_grad():
        exported = torch.export.export(net, (x,))
        torch.testing.assert_close(exported.module()(x)[0], net(x)[0], rtol=0, atol=1e-12)


def test_blocks_without_gradient_leave_their_input_alone() -> None:
    block = BlockFactory(3, 2, False, nn.PReLU()).cab(8).double()
    block.CA = LocalChannelAttention(block.CA, (4, 4))
    x = torch.randn(1, 8, 10, 12, dtype=torch.float64)
    copy = x.clone()
    with torch.no_grad():
        block(x)
    assert torch.equal(x, copy)


@pytest.mark.parametrize(
    ("train_size", "base_size", "message"),
    [
        (100, 150, "train_size=100 must be a positive multiple of 8"),
        (0, 384, "train_size=0 must be"),
        (256, 0, "base_size=0 must be positive"),
    ],
)
def test_sizes_out_of_range(train_size: int, base_size: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MPRNetLocal(train_size, base_size, **TINY)
