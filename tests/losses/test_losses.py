from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from torch import Tensor

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.losses.charbonnier import charbonnier_loss
from mprnet_plugin.losses.edge import EdgeLoss, edge_loss, laplacian
from mprnet_plugin.losses.psnr import PSNRLoss, psnr_loss
from tests.helpers import TASKS, fill, image_tensor, vectors


def relative(value: Tensor, reference: Any) -> float:
    return abs(value.item() / float(reference) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_losses_and_gradients_equal_the_reference(task: str) -> None:
    reference = vectors(task)
    net = fill(MPRNet(**PRESETS[task])).double()
    outputs, gt = net(image_tensor(reference["lq"])), image_tensor(reference["gt"])
    char = torch.stack([charbonnier_loss(o, gt) for o in outputs]).sum()
    edge = torch.stack([edge_loss(o, gt) for o in outputs]).sum()
    clamped = torch.stack([charbonnier_loss(o.clamp(0, 1), gt) for o in outputs]).sum()
    total = char + 0.05 * edge
    total.backward()
    assert relative(char, reference["loss_char"]) < 1e-6
    assert relative(edge, reference["loss_edge"]) < 1e-6
    assert relative(total, reference["loss_deblur"]) < 1e-6
    assert relative(clamped, reference["loss_denoise"]) < 1e-6
    parameters = dict(net.named_parameters())
    norms = {k.partition("/")[2]: v for k, v in reference.items() if k.startswith("gradnorm/")}
    assert norms
    for name, norm in norms.items():
        gradient = parameters[name].grad
        assert gradient is not None
        assert relative(gradient.norm(), norm) < 1e-6, name


@pytest.mark.parametrize("size", [(16, 16), (15, 18), (7, 9)])
def test_laplacian_equals_scipy(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((2, 3, *size))
    taps = np.array([0.05, 0.25, 0.4, 0.25, 0.05])

    def blur(a: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = convolve1d(
            convolve1d(a, taps, axis=2, mode="nearest"), taps, axis=3, mode="nearest"
        )
        return blurred

    coarse = np.zeros_like(x)
    coarse[:, :, ::2, ::2] = blur(x)[:, :, ::2, ::2] * 4
    assert np.allclose(laplacian(torch.from_numpy(x)).numpy(), x - blur(coarse), atol=1e-12, rtol=0)


def test_charbonnier_of_known_values() -> None:
    pred, target = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.0])
    assert charbonnier_loss(pred, target, eps=4.0).item() == pytest.approx((5.0 + 4.0) / 2)


def test_host_charbonnier_takes_the_square_of_our_eps() -> None:
    host = pytest.importorskip("basicsr.losses.basic_loss")
    pred, target = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    ours = charbonnier_loss(pred, target, eps=1e-3)
    assert host.CharbonnierLoss(eps=1e-6)(pred, target).item() == pytest.approx(ours.item(), rel=1e-6)


def test_edge_loss_module_weighs_and_keeps_the_device_and_dtype() -> None:
    pred = torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    target = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    loss = EdgeLoss(loss_weight=0.05)(pred, target)
    assert loss.dtype == torch.float64
    assert torch.allclose(loss, 0.05 * edge_loss(pred, target))
    assert torch.autograd.gradcheck(lambda p: edge_loss(p, target[..., :6, :6]), (pred[..., :6, :6],))


def test_psnr_loss_is_the_negative_mean_psnr() -> None:
    pred, target = torch.rand(3, 3, 16, 16).double(), torch.rand(3, 3, 16, 16).double()
    values = [-10 * np.log10(((p - t) ** 2).mean()) for p, t in zip(pred.numpy(), target.numpy(), strict=True)]
    assert psnr_loss(pred, target).item() == pytest.approx(-np.mean(values), abs=1e-5)  # eps of 1e-8
    assert psnr_loss(pred, target, reduction="sum").item() == pytest.approx(-np.sum(values), abs=1e-5)
    assert psnr_loss(target, target).item() == pytest.approx(-80)
    assert PSNRLoss(loss_weight=0.5)(pred, target).item() == pytest.approx(-np.mean(values) / 2, abs=1e-5)
    with pytest.raises(InputError, match="reduction 'none' is not known"):
        PSNRLoss(reduction="none")
    assert torch.autograd.gradcheck(psnr_loss, (pred[:1, :, :4, :4].clone().requires_grad_(), target[:1, :, :4, :4]))
