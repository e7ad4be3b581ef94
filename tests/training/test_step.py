"""The optimisation step by itself: no host, a network of three numbers whose gradients are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.losses.charbonnier import charbonnier_loss
from mprnet_plugin.training.options import TrainOptions
from mprnet_plugin.training.step import TrainingStep, match_layout, part_factor, prepare_network
from tests.helpers import TINY

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


class Half(Stages):
    """Computes in fp16, as convolutions do under autocast."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x.half() + offset.half() for offset in self.offsets]


class Steep(Stages):
    """Has a gradient that is not finite, whatever the loss is multiplied by."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x + (offset - offset.detach()).sqrt() for offset in self.offsets]


def test_fp16_takes_the_step_of_fp32_where_nothing_is_rounded() -> None:
    exact, scaled = Stages(), Stages()
    results = [
        step_of(precision=precision, grad_clip=0.01)(net, torch.optim.SGD(net.parameters(), lr=0.5), *batch(), 1)
        for net, precision in ((exact, "fp32"), (scaled, "fp16"))
    ]
    assert results[1].pop("loss_scale") == 2**16
    assert results[0] == results[1]
    assert all(torch.equal(one, two) for one, two in zip(exact.parameters(), scaled.parameters(), strict=True))


def test_gradients_beyond_fp16_lower_the_scale_and_are_no_divergence(caplog: pytest.LogCaptureFixture) -> None:
    net, step = Half(), step_of(precision="fp16", max_skipped_steps=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    bright, dark = torch.full((4, 3, 8, 8), 0.9), torch.zeros(4, 3, 8, 8)  # a gradient of 1, which is 65536 then
    before = [float(offset.detach()) for offset in net.offsets]
    step(net, optimizer, bright, dark, 1)
    assert (step.stepped, step.skipped, step.skipped_in_a_row) == (False, 1, 0)
    assert [float(offset.detach()) for offset in net.offsets] == before
    assert "iteration 1 is skipped (1 in all): its gradients, scaled by 65536, leave the range of fp16" in caplog.text
    assert step(net, optimizer, bright, dark, 2)["loss_scale"] == 2**15
    assert step.stepped
    assert [float(offset.detach()) for offset in net.offsets] == pytest.approx([old - 0.01 for old in before], rel=1e-3)

    resumed = step_of(precision="fp16")
    resumed.load_state_dict(step.state_dict())
    assert resumed(net, optimizer, bright, dark, 3)["loss_scale"] == 2**15
    assert resumed.skipped == 1
    step_of(precision="fp16").load_state_dict(step_of().state_dict())  # of a run in another precision


def test_gradients_that_no_scale_makes_finite_end_the_run() -> None:
    net, step = Steep(), step_of(precision="fp16", max_skipped_steps=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for iteration in range(1, 18):
        step(net, optimizer, *batch(), iteration)
    assert (step.skipped, step.skipped_in_a_row) == (17, 1)  # sixteen halvings lead to a scale of 1
    with pytest.raises(InputError, match="2 steps in a row were not finite, the last at iteration 18"):
        step(net, optimizer, *batch(), 18)


def test_a_loss_that_is_not_finite_is_divergence_in_fp16_too() -> None:
    net, step = Stages(), step_of(precision="fp16", max_skipped_steps=0)
    lq, gt = batch()
    with pytest.raises(InputError, match="1 steps in a row were not finite"):
        step(net, torch.optim.SGD(net.parameters(), lr=0.01), lq, gt * float("inf"), 1)


def gradients_and_kept(**options: Any) -> tuple[dict[str, Tensor], int]:
    """Return MPRNet's gradients, and how many bytes were kept for them."""
    torch.manual_seed(0)
    net, step = MPRNet(**TINY), step_of(**options)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    prepare_network(net, step.options)
    lq, gt = (image.repeat(1, 1, 2, 2) for image in batch(2))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step.accumulate(net, lq, gt, 1)
    gradients = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    return gradients, sum(kept.values())


def test_checkpointing_keeps_less_and_changes_no_digit() -> None:
    plain, much = gradients_and_kept()
    found, little = gradients_and_kept(gradient_checkpointing=True)
    assert little < 0.6 * much
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    with pytest.raises(InputError, match="gradient_checkpointing: is for MPRNet, the network is Stages: leave it out"):
        prepare_network(Stages(), step_of(gradient_checkpointing=True).options)


def test_channels_last_changes_rounding_alone() -> None:
    plain, _ = gradients_and_kept()
    found, _ = gradients_and_kept(channels_last=True)
    assert found.keys() == plain.keys()
    assert found["stage3_orsnet.orb1.body.0.body.0.weight"].is_contiguous(memory_format=torch.channels_last)
    for name in plain:
        torch.testing.assert_close(found[name], plain[name], rtol=1e-3, atol=float(plain[name].abs().max()) * 1e-4)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("before", [torch.contiguous_format, torch.channels_last])
def test_a_state_of_another_layout_stays_with_its_elements(fused: bool, before: torch.memory_format) -> None:
    """Fused optimisers go through memory, and would give each weight the state of another."""
    after = torch.channels_last if before is torch.contiguous_format else torch.contiguous_format
    results = []
    for layouts in ((before, before), (before, after)):
        torch.manual_seed(0)
        first = nn.Conv2d(4, 8, 3).to(memory_format=layouts[0])
        optimizer = torch.optim.Adam(first.parameters(), lr=0.1, fused=fused)
        descend(first, optimizer)
        second = nn.Conv2d(4, 8, 3).to(memory_format=layouts[1])
        second.load_state_dict(first.state_dict())
        resumed = torch.optim.Adam(second.parameters(), lr=0.1, fused=fused)
        resumed.load_state_dict(optimizer.state_dict())
        match_layout(resumed)
        assert all(state["exp_avg"].stride() == parameter.stride() for parameter, state in resumed.state.items())
        descend(second, resumed)
        results.append(second.weight.detach())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def descend(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for seed in range(3):
        optimizer.zero_grad()
        net(torch.rand(1, 4, 6, 6, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
        optimizer.step()


@pytest.mark.slow
def test_a_compiled_network_trains_alike_and_stays_itself() -> None:
    plain, compiled = Stages(), Stages()
    step = step_of(compile=True)
    for number in (1, 2):
        expected = step_of()(plain, torch.optim.SGD(plain.parameters(), lr=0.5), *batch(), number)
        found = step(compiled, torch.optim.SGD(compiled.parameters(), lr=0.5), *batch(), number)
        assert float(found["l_total"]) == pytest.approx(float(expected["l_total"]), rel=1e-5)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    frames = torch._dynamo.utils.counters["frames"]["total"]
    assert frames > 0
    compiled(torch.rand(1, 3, 16, 24))  # as validation does
    assert torch._dynamo.utils.counters["frames"]["total"] == frames


def test_what_torch_cannot_compile_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise torch._dynamo.exc.TorchDynamoException("No working C++ compiler found\nin the configuration")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    with pytest.raises(InputError, match=r"compile: torch cannot .* \(No working C\+\+ compiler found in the conf"):
        step_of(compile=True).accumulate(Stages(), *batch(), 1)
