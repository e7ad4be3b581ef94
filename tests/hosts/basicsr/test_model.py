from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference import engines, winograd
from mprnet_plugin.training import validation as val
from tests.helpers import TINY

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.current_run import RUN
from mprnet_plugin.hosts.basicsr.model import MPRNetModel


def build(folder: Path, **train: Any) -> MPRNetModel:
    options: dict[str, Any] = {
        "name": "x",
        "is_train": True,
        "num_gpu": 0,
        "dist": False,
        "rank": 0,
        "world_size": 1,
        "manual_seed": 3,
        "network_g": {"type": "MPRNet", **TINY},
        "path": {
            "experiments_root": str(folder / "records"),
            "models": str(folder),
            "training_states": str(folder),
            "resume_state": "state",
        },
        "val": {},
        "train": {
            "total_iter": 10,
            "optim_g": {"type": "SGD", "lr": 0.0},
            "scheduler": {"type": "MultiStepLR", "milestones": [5]},
            "pixel_opt": {"type": "CharbonnierLoss", "eps": 1e-6},
            **train,
        },
    }
    torch.manual_seed(0)
    return MPRNetModel(options)


class Constant(torch.nn.Module):
    """Returns its three parameters as pictures."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.stages = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(value)) for _ in range(3)])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [stage.expand_as(x) for stage in self.stages]


@pytest.mark.parametrize(("clamp", "value", "trained"), [(True, 1.5, False), (True, 0.4, True), (False, 1.5, True)])
def test_clamped_outputs_have_no_gradient_outside_of_the_range(
    tmp_path: Path, clamp: bool, value: float, trained: bool
) -> None:
    model = build(tmp_path, clamp_output=clamp)
    model.net_g = Constant(value)
    model.feed_data({"lq": torch.rand(1, 3, 8, 8), "gt": torch.full((1, 3, 8, 8), 0.9)})
    model.optimize_parameters(1)
    for stage in model.net_g.stages:
        assert bool(stage.grad != 0) is trained


def test_losses_are_the_sum_over_the_stages(tmp_path: Path) -> None:
    model = build(tmp_path, edge_opt={"type": "EdgeLoss", "loss_weight": 0.05})
    model.net_g = Constant(0.4)
    model.feed_data({"lq": torch.rand(2, 3, 8, 8), "gt": torch.full((2, 3, 8, 8), 0.9)})
    model.optimize_parameters(1)
    whole = model.get_current_log()
    assert whole["grad_norm"] > 0
    log = {name: value for name, value in whole.items() if name.startswith("l_")}
    assert log["l_pix_stage1"] == pytest.approx(0.5, rel=1e-4)
    assert len(log) == 7
    assert log["l_total"] == pytest.approx(sum(value for name, value in log.items() if name != "l_total"))


@pytest.mark.parametrize(("iteration", "mixed"), [(1, False), (4, False), (5, True), (9, True)])
def test_mixup_starts_with_its_iteration(tmp_path: Path, iteration: int, mixed: bool) -> None:
    model = build(tmp_path, mixup={"alpha": 0.6, "start_iter": 5})
    x = torch.rand(4, 3, 8, 8)
    model.feed_data({"lq": x, "gt": x})
    lq, gt = model.step.mixed(x, x, iteration)
    assert torch.equal(lq, x) is not mixed
    assert torch.allclose(lq, gt)  # one lambda and one partner for both
    assert torch.equal(model.step.mixed(x, x, iteration)[0], lq)  # a resumed run mixes the same
    if mixed:
        assert not torch.equal(model.step.mixed(x, x, iteration + 1)[0], lq)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(tmp_path: Path, reduction: str) -> None:
    gradients, totals = [], []
    losses = {
        "pixel_opt": {"type": "CharbonnierLoss", "eps": 1e-6, "reduction": reduction},
        "edge_opt": {"type": "EdgeLoss", "loss_weight": 0.05, "reduction": reduction},
    }
    for part in (None, 2, 3):
        model = build(tmp_path, micro_batch_size=part, **losses)
        torch.manual_seed(1)
        model.feed_data({"lq": torch.rand(5, 3, 16, 16), "gt": torch.rand(5, 3, 16, 16)})
        model.optimize_parameters(1)
        gradients.append(torch.cat([p.grad.flatten() for p in model.net_g.parameters()]))
        totals.append(model.get_current_log()["l_total"])
    assert totals[1:] == pytest.approx([totals[0]] * 2)
    tolerance = float(gradients[0].abs().max()) * 1e-5
    assert torch.allclose(gradients[0], gradients[1], atol=tolerance)
    assert torch.allclose(gradients[0], gradients[2], atol=tolerance)
    if reduction == "sum":  # 5 x 3 x 16 x 16 values, all stages
        assert totals[0] == pytest.approx(mean_total(tmp_path) * 5 * 3 * 16 * 16, rel=1e-4)


def mean_total(folder: Path) -> float:
    model = build(folder, edge_opt={"type": "EdgeLoss", "loss_weight": 0.05})
    torch.manual_seed(1)
    model.feed_data({"lq": torch.rand(5, 3, 16, 16), "gt": torch.rand(5, 3, 16, 16)})
    model.optimize_parameters(1)
    return model.get_current_log()["l_total"]


def test_resuming_says_that_the_old_schedule_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = build(tmp_path, optim_g={"type": "SGD", "lr": 0.1})
    first.reports.best = {"set": {"psnr": (30.0, 3)}}
    first.save(0, 3)
    state = torch.load(tmp_path / "3.state", weights_only=True)
    same = build(tmp_path, optim_g={"type": "SGD", "lr": 0.1})
    other = build(tmp_path, optim_g={"type": "SGD", "lr": 0.01})
    with caplog.at_level("WARNING", "basicsr"):
        same.resume_training(copy.deepcopy(state))
        assert not caplog.records
        assert same.reports.best == {"set": {"psnr": (30.0, 3)}}
        other.resume_training(state)
    assert "base_lrs" in caplog.text
    assert "path:pretrain_network_g starts another" in caplog.text
    assert other.get_current_learning_rate() == [0.1]


def test_a_run_that_ends_short_of_its_last_iteration_is_an_error(tmp_path: Path) -> None:
    """As with a loader that gives fewer iterations an epoch than the host counts."""
    model = build(tmp_path)
    model.iteration = 9
    with pytest.raises(InputError, match="the run ended at iteration 9, short of train:total_iter 10"):
        model.save(-1, -1)
    model.iteration = 10
    model.save(-1, -1)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = build(tmp_path)
    model.save(0, 3)
    before = (tmp_path / "net_g_3.pth").read_bytes()
    with torch.no_grad():
        model.net_g.tail.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"not finite .* nothing was saved"):
        model.save(0, 3)
    assert (tmp_path / "net_g_3.pth").read_bytes() == before


def test_bf16_trains_near_fp32(tmp_path: Path) -> None:
    gradients = []
    for precision in ("fp32", "bf16"):
        model = build(tmp_path, precision=precision)
        torch.manual_seed(1)
        model.feed_data({"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 16, 16)})
        model.optimize_parameters(1)
        gradients.append(torch.cat([p.grad.flatten() for p in model.net_g.parameters()]))
    assert gradients[1].dtype == torch.float32
    assert not torch.equal(*gradients)
    assert torch.nn.functional.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.98


def test_bytes_become_floats(tmp_path: Path) -> None:
    model = build(tmp_path)
    model.feed_data({"lq": torch.full((1, 3, 8, 8), 51, dtype=torch.uint8)})
    assert torch.equal(model.lq, torch.full((1, 3, 8, 8), 0.2))


@pytest.mark.parametrize("size", [(8, 8), (13, 21), (1, 3)])
def test_pictures_of_any_size_are_restored(tmp_path: Path, size: tuple[int, int]) -> None:
    model = build(tmp_path)
    model.feed_data({"lq": torch.rand(1, 3, *size)})
    model.test()
    assert model.output.shape == (1, 3, *size)
    assert model.net_g.training


def test_validation_options_change_the_result(tmp_path: Path) -> None:
    model = build(tmp_path)
    model.feed_data({"lq": torch.rand(1, 3, 32, 40)})
    outputs = []
    for options in ({}, {"self_ensemble": True}, {"local_pooling": {"train_size": 16, "base_size": 64}}, {}):
        model.opt["val"] = options
        model.test()
        outputs.append(model.output)
    model.feed_data({"lq": torch.rand(1, 3, 72, 80)})
    for windows in ({}, {"tile": 64}, {"tile": 80}):
        model.opt["val"] = windows
        model.test()
        outputs.append(model.output)
    assert [torch.equal(outputs[4], one) for one in outputs[5:]] == [False, True]
    assert torch.equal(outputs[0], outputs[3])  # nothing is left behind
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_steps_that_are_not_finite_are_skipped_then_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = build(tmp_path, max_skipped_steps=1, optim_g={"type": "SGD", "lr": 0.1}, ema_decay=0.5)
    good = {"lq": torch.rand(1, 3, 8, 8), "gt": torch.rand(1, 3, 8, 8)}
    bad = {**good, "gt": torch.full((1, 3, 8, 8), float("nan"))}

    def weights() -> list[Tensor]:
        return [p.clone() for net in (model.net_g, model.net_g_ema) for p in net.parameters()]

    before = weights()
    model.feed_data(dict(bad))
    model.optimize_parameters(6)
    assert all(torch.equal(one, two) for one, two in zip(before, weights(), strict=True))
    assert "iteration 6 is skipped (1 in a row, 1 in all)" in caplog.text
    model.feed_data(dict(good))
    model.optimize_parameters(7)
    assert not torch.equal(before[0], weights()[0])
    assert model.get_current_log()["skipped_steps"] == 1
    model.feed_data(dict(bad))
    model.optimize_parameters(8)  # one in a row again
    with pytest.raises(InputError, match=r"2 steps in a row were not finite, the last at iteration 9: training div"):
        model.optimize_parameters(9)


def test_a_failed_save_is_an_error_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(tmp_path)
    model.save(0, 3)
    before = (tmp_path / "net_g_3.pth").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3.state", "net_g_3.pth"]

    def full(*_: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left"):
        model.save(0, 3)
    assert (tmp_path / "net_g_3.pth").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3.state", "net_g_3.pth"]


@pytest.mark.parametrize("engine", ["torch", "ncnn"])
def test_validation_runs_by_the_engine_and_notices_new_weights(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ncnn")
    calls = []
    extract = winograd._extract

    def counted(found: Any, x: Tensor) -> Tensor:
        calls.append(x.shape)
        return extract(found, x)

    monkeypatch.setattr(winograd, "_extract", counted)
    model = build(tmp_path)
    model.opt["val"] = {"engine": engine}
    wide = MPRNet(n_feat=32, scale_unetfeats=8, scale_orsnetfeats=8, num_cab=1)
    model.net_g = wide
    for _ in range(2):
        model.feed_data({"lq": torch.rand(1, 3, 64, 72)})
        model.test()
        with torch.no_grad():
            expected = wide.eval()(model.lq)[0]
            for parameter in wide.parameters():
                parameter.data.mul_(0.9)  # as a step does
        torch.testing.assert_close(model.output, expected, rtol=0, atol=1e-5)
    assert bool(calls) is (engine == "ncnn")


@pytest.mark.parametrize(
    ("micro_batch_size", "checkpointing", "fix"),
    [
        (None, False, "set train:micro_batch_size: 2"),
        (3, False, "set train:micro_batch_size: 1"),
        (1, False, "set train:gradient_checkpointing: true"),
        (1, True, "use precision: bf16 or a"),
    ],
)
def test_too_little_gpu_memory_names_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batch_size: int | None, checkpointing: bool, fix: str
) -> None:
    model = build(tmp_path, micro_batch_size=micro_batch_size, gradient_checkpointing=checkpointing)

    def forward(_: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.net_g, "forward", forward)
    model.feed_data({"lq": torch.rand(4, 3, 8, 8), "gt": torch.rand(4, 3, 8, 8)})
    with pytest.raises(InputError, match=f"out of GPU memory with {micro_batch_size or 4} samples at once: {fix}"):
        model.optimize_parameters(1)


def build_fast(folder: Path, **train: Any) -> MPRNetModel:
    optimizer = {"type": "Adam", "lr": 1e-3, "fused": True}
    return build(folder, channels_last=True, gradient_checkpointing=True, optim_g=optimizer, **train)


def train(model: MPRNetModel, iterations: range) -> None:
    for iteration in iterations:
        generator = torch.Generator().manual_seed(iteration)
        model.feed_data({name: torch.rand(2, 3, 16, 16, generator=generator) for name in ("lq", "gt")})
        model.optimize_parameters(iteration)


def learnt(model: MPRNetModel) -> dict[str, float]:
    """Return what is logged but for speed and memory."""
    log = model.get_current_log()
    return {name: log[name] for name in log if name.startswith("l_") or name in ("grad_norm", "loss_scale")}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_fast_training_resumes_to_the_last_bit(tmp_path: Path, precision: str) -> None:
    whole = build_fast(tmp_path, precision=precision)
    train(whole, range(1, 4))
    if precision == "fp16":
        whole.step.scaler.update(2.0**9)
    whole.save(0, 3)
    train(whole, range(4, 6))
    resumed = build_fast(tmp_path, precision=precision)
    resumed.load_network(resumed.net_g, str(tmp_path / "net_g_3.pth"))
    resumed.resume_training(torch.load(tmp_path / "3.state", weights_only=True))
    train(resumed, range(4, 6))
    assert learnt(whole) == learnt(resumed)
    assert learnt(whole).get("loss_scale", 512) == 512
    states = (whole.net_g.state_dict(), resumed.net_g.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_files_of_a_channels_last_training_are_like_any_others(tmp_path: Path) -> None:
    build(tmp_path / "plain").save(0, 1)
    build_fast(tmp_path / "fast").save(0, 1)
    plain, fast = (
        torch.load(tmp_path / name / "net_g_1.pth", weights_only=True)["params"] for name in ("plain", "fast")
    )
    assert list(fast) == list(plain)
    assert all(torch.equal(fast[key], value) and fast[key].is_contiguous() for key, value in plain.items())


@pytest.mark.parametrize("engine", ["torch", "ncnn"])
def test_validation_is_the_same_in_channels_last(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "ncnn":
        pytest.importorskip("ncnn")
    monkeypatch.setattr(winograd, "_NARROWEST", 4)
    outputs = []
    for model in (build(tmp_path), build_fast(tmp_path)):
        model.opt["val"] = {"engine": engine}
        model.feed_data({"lq": torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))})
        model.test()
        outputs.append(model.output)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)


def test_a_precision_that_the_processor_lacks_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_processor", frozenset)
    build(tmp_path, precision="bf16")
    assert caplog.text.count("this processor has no instructions for bf16: it may take 100 times as long") == 1
    caplog.clear()
    build(tmp_path)
    assert "no instructions" not in caplog.text


def test_auto_is_counted_from_data_and_batch_and_a_resumed_run_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    section = {"scheduler": {"type": "WarmupCosineLR", "warmup_epochs": 1, "eta_min": 1e-6}}
    monkeypatch.setattr(RUN, "samples", 0)
    with pytest.raises(InputError, match="auto is counted from the training set, which is not known here"):
        build(tmp_path, **section)
    monkeypatch.setattr(RUN, "samples", 7)
    monkeypatch.setattr(RUN, "iterations_per_epoch", lambda opt: 2)  # as 7 samples, 4 at a time
    with caplog.at_level("INFO", "basicsr"):
        model = build(tmp_path, **section)
    assert "2 iterations of warm-up (1 epochs of 2) to 0, then a cosine to 1e-06 at iteration 10, with" in caplog.text
    assert (model.schedulers[0].iters_per_epoch, model.schedulers[0].cosine_epochs) == (2, 4.0)
    model.save(0, 3)
    monkeypatch.setattr(RUN, "iterations_per_epoch", lambda opt: 1)  # other data
    caplog.clear()
    with caplog.at_level("INFO", "basicsr"):
        other = build(tmp_path, **section)
        other.resume_training(torch.load(tmp_path / "3.state", weights_only=True))
    assert (other.schedulers[0].iters_per_epoch, other.schedulers[0].cosine_epochs) == (2, 4.0)
    assert "The checkpoint's schedule goes on ({'cosine_epochs': 4.0, 'iters_per_epoch': 2})" in caplog.text
    assert "(1 epochs of 2)" in caplog.records[-1].message or "(1 epochs of 2)" in caplog.records[-2].message


def test_records_without_scores_of_the_input_are_read(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    record = {"iter": 3, "dataset": "set", "scores": {"psnr": 30.0}, "lower_is_better": []}
    (tmp_path / "records" / "validations.jsonl").write_text(json.dumps(record) + "\n")
    reports = build(tmp_path).reports
    assert reports.resume(5, {}) == set()
    reports.validated("set", {0: val.Scored("a", {"psnr": 29.0}, {"psnr": 29.5})}, val.Scoring({}), 6, None)
    assert reports.best == {"set": {"psnr": (30.0, 3)}}
    lines = (tmp_path / "records" / "validations.jsonl").read_text().splitlines()
    assert [json.loads(line).get("input") for line in lines] == [None, {"psnr": 29.5}]
