"""The optimisation step by itself: no host, a network of three numbers whose gradients are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mprnet_plugin.errors import InputError
from mprnet_plugin.losses.charbonnier import charbonnier_loss
from mprnet_plugin.training.options import TrainOptions
from mprnet_plugin.training.step import TrainingStep, part_factor

SECTION: dict[str, Any] = {
    "total_iter": 10,
    "optim_g": {"type": "SGD"},
    "scheduler": {"type": "x"},
    "pixel_opt": {"type": "y"},
}


class Charbonnier(nn.Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        return charbonnier_loss(pred, target, reduction=self.reduction)


class Stages(nn.Module):
    """Adds a number of its own to the input for each stage."""

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.offsets = nn.ParameterList([nn.Parameter(torch.tensor(0.1 * number)) for number in range(count)])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x + offset for offset in self.offsets]


class Single(Stages):
    """Returns one image, as most networks do."""

    def forward(self, x: Tensor) -> Any:
        return x + self.offsets[0]


class Odd(Stages):
    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output(x)


def step_of(world_size: int = 1, reduction: str = "mean", **options: Any) -> TrainingStep:
    losses = {"l_pix": Charbonnier(reduction)}
    return TrainingStep(TrainOptions.read({**SECTION, **options}), losses, seed=3, world_size=world_size)


def batch(count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 8, 8, generator=generator), torch.rand(count, 3, 8, 8, generator=generator)


def test_a_network_of_one_image_trains_as_one_stage() -> None:
    """Not as one stage for each sample of the batch, which iterating over the tensor would make of it."""
    net = Single(1)
    losses = step_of().accumulate(net, *batch(), 1)
    assert list(losses) == ["l_total", "l_pix_stage1"]
    lq, gt = batch()
    assert float(losses["l_total"]) == pytest.approx(float(charbonnier_loss(lq + net.offsets[0], gt).detach()))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: {"image": x}, "network Odd returns a dict, expected an image"),
        (lambda x: [], "network Odd returns an empty list"),
        (lambda x: [x, None], "network Odd returns a NoneType"),
        (lambda x: [x[0], x[1]], r"network Odd makes \(3, 8, 8\) of \(4, 3, 8, 8\)"),
        (lambda x: nn.functional.interpolate(x, scale_factor=2.0), r"makes \(4, 3, 16, 16\) of \(4, 3, 8, 8\)"),
        (lambda x: (x[:2], x[2:]), r"makes \(2, 3, 8, 8\) of \(4, 3, 8, 8\)"),
    ],
)
def test_a_network_that_returns_no_images_is_refused_by_name(output: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        step_of().accumulate(Odd(output), *batch(), 1)


def test_the_step_is_the_optimisers_with_the_gradient_of_the_sum_over_stages() -> None:
    net = Stages()
    before = [float(offset.detach()) for offset in net.offsets]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    losses = step_of()(net, optimizer, *batch(), 1)
    lq, gt = batch()
    for offset, old, number in zip(net.offsets, before, (3, 2, 1), strict=True):
        copy = torch.tensor(old, requires_grad=True)
        loss = charbonnier_loss(lq + copy, gt)
        loss.backward()
        assert copy.grad is not None
        assert float(offset.detach()) == pytest.approx(old - 0.5 * float(copy.grad), rel=1e-6)
        assert float(losses[f"l_pix_stage{number}"]) == pytest.approx(float(loss.detach()), rel=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("part", [1, 2, 3])
def test_parts_add_up_to_the_whole_batch(reduction: str, part: int) -> None:
    whole, parts = Stages(), Stages()
    expected = step_of(reduction=reduction).accumulate(whole, *batch(5), 1)
    found = step_of(reduction=reduction, micro_batch_size=part).accumulate(parts, *batch(5), 1)
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-5)
    for one, two in zip(whole.parameters(), parts.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        assert float(two.grad) == pytest.approx(float(one.grad), rel=1e-4)  # sums in another order


def test_factors_of_parts_and_processes() -> None:
    assert part_factor(Charbonnier("mean"), 0.5, 4) == 0.5
    assert part_factor(Charbonnier("sum"), 0.5, 4) == 4  # makes up for the mean over the processes' gradients
    assert part_factor(nn.L1Loss(), 0.25, 1) == 0.25


def gradients_of(net: nn.Module) -> Tensor:
    return torch.stack([parameter.grad for parameter in net.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("part", [None, 3])
def test_the_gradient_of_the_whole_batch_is_clipped_by_its_norm(part: int | None) -> None:
    free, clipped = Stages(), Stages()
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.5) for net in (free, clipped)]
    expected = step_of()(free, optimizers[0], *batch(), 1)["grad_norm"]
    assert float(expected) == pytest.approx(float(gradients_of(free).norm()), rel=1e-5)
    losses = step_of(grad_clip=0.01, micro_batch_size=part)(clipped, optimizers[1], *batch(), 1)
    assert float(losses["grad_norm"]) == pytest.approx(float(expected), rel=1e-4)  # as it was
    assert float(expected) > 0.1
    assert float(gradients_of(clipped).norm()) == pytest.approx(0.01, rel=1e-3)
    cosine = nn.functional.cosine_similarity(gradients_of(free), gradients_of(clipped), dim=0)
    assert float(cosine) == pytest.approx(1, rel=1e-5)


def test_a_gradient_below_the_limit_stays_to_the_last_digit() -> None:
    free, limited = Stages(), Stages()
    for net, limit in ((free, None), (limited, 10.0)):
        step_of(grad_clip=limit)(net, torch.optim.SGD(net.parameters(), lr=0.5), *batch(), 1)
    assert torch.equal(gradients_of(free), gradients_of(limited))


@pytest.mark.parametrize("limit", [0, -1.0, float("inf"), True])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(InputError, match=r"grad_clip: .* must be a number, above 0"):
        step_of(grad_clip=limit)


def test_the_forks_name_for_it_is_answered_with_the_line_to_write() -> None:
    with pytest.raises(InputError, match=r"option train:use_grad_clip: write grad_clip: 0\.01"):
        TrainOptions.read({**SECTION, "use_grad_clip": True}, "train")
