"""The parts that mmengine's users put together themselves."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS as PARENT
from mmengine.runner import CheckpointLoader
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.mmengine.hooks import PicturesHook, RestorationHook
from mprnet_plugin.hosts.mmengine.inferencer import MPRNetInferencer
from mprnet_plugin.hosts.mmengine.loops import _iterations_per_epoch
from mprnet_plugin.hosts.mmengine.metric import RestorationMetric
from mprnet_plugin.hosts.mmengine.registry import DATA_SAMPLERS, DATASETS, MODELS
from mprnet_plugin.hosts.mmengine.sampler import EndlessSampler
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import TINY, fill, picture, write_pairs, write_picture

GENERATOR = {"type": "MPRNet", **TINY}


def restorer(**options: Any) -> Any:
    section = {"type": "MPRNetRestorer", "generator": GENERATOR, "pixel_loss": {"type": "CharbonnierLoss"}}
    return MODELS.build({**section, **options})


def batch(height: int = 16, width: int = 24) -> dict[str, Any]:
    images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
    return {"lq": images, "gt": images.flip(0), "key": ["a", "b"]}


def test_the_modes_of_a_model() -> None:
    model = restorer(edge_loss={"type": "EdgeLoss", "loss_weight": 0.05})
    data = model.data_preprocessor(batch(), True)
    stages = model(data["inputs"], mode="tensor")
    assert [tuple(stage.shape) for stage in stages] == [(2, 3, 16, 24)] * 3
    losses = model(**data, mode="loss")
    assert len(losses) == 6
    total, logged = model.parse_losses(losses)
    torch.testing.assert_close(total, sum(losses.values()))  # parse_losses leaves out what is not called a loss
    assert logged.keys() == {"loss", *losses}
    with pytest.raises(InputError, match="mode 'losses' is not known: use tensor, loss or predict"):
        model(**data, mode="losses")
    with pytest.raises(InputError, match="give data_samples with gt"):
        model(data["inputs"], mode="loss")


def test_pictures_are_padded_by_reflection_and_cropped_again() -> None:
    model = restorer().eval()
    data = model.data_preprocessor(batch(17, 21))
    assert tuple(data["inputs"].shape) == (2, 3, 24, 24)
    torch.testing.assert_close(data["inputs"][..., :17, 21], data["inputs"][..., :17, 19])
    samples = model.test_step(batch(17, 21))
    assert [tuple(sample.pred.shape) for sample in samples] == [(3, 17, 21)] * 2


@pytest.mark.parametrize("ours", [True, False])
def test_bf16_on_a_cpu_and_gradient_clipping(ours: bool) -> None:
    model = restorer(precision="bf16", **({"grad_clip": 0.01} if ours else {}))
    clip_grad = None if ours else {"max_norm": 0.01}
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), clip_grad=clip_grad)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    logged = model.train_step(batch(), wrapper)
    assert torch.isfinite(logged["loss"])
    assert ("grad_norm" in logged) is ours  # the wrapper logs its own
    moved = {
        name: value - before[name] for name, value in model.state_dict().items() if not name.endswith("act.weight")
    }
    length = float(torch.stack([value.double().square().sum() for value in moved.values()]).sum().sqrt())
    assert 0 < length <= 0.0101  # the clipped gradient, at a rate of 1


def test_what_would_count_parts_as_iterations_is_refused() -> None:
    model = restorer()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=2)
    with pytest.raises(InputError, match="leave it out and set micro_batch_size"):
        model.train_step(batch(), wrapper)
    with pytest.raises(InputError, match="micro_batchsize"):
        restorer(micro_batchsize=2)


@pytest.mark.parametrize(("dtype", "precision"), [(None, "fp16"), ("float16", "fp16"), ("bfloat16", "bf16")])
def test_the_hosts_amp_is_answered_with_the_line_to_write(dtype: str | None, precision: str) -> None:
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)  # whose constructor wants a GPU
    wrapper.cast_dtype = None if dtype is None else getattr(torch, dtype)
    with pytest.raises(InputError, match=f"write OptimWrapper, and in the model precision='{precision}'"):
        restorer().train_step(batch(), wrapper)


def test_fp16_and_its_scale_through_a_checkpoint() -> None:
    model = restorer(precision="fp16", channels_last=True, gradient_checkpointing=True)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    losses = model.train_step(batch(), wrapper)
    assert losses["loss_scale"] == 2**16
    runner = SimpleNamespace(model=model, iter=0)
    checkpoint = {"state_dict": model.state_dict(), "message_hub": {}}
    RestorationHook().before_save_checkpoint(runner, checkpoint)
    assert all(value.is_contiguous() for value in checkpoint["state_dict"].values())
    assert checkpoint["step"]["scaler"]["scale"] == 2**16


def test_two_clippings_are_refused() -> None:
    model = restorer(grad_clip=0.5)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), clip_grad={"max_norm": 0.01})
    with pytest.raises(InputError, match=r"clipped twice: .*clip_grad \(\{'max_norm': 0.01\}\).*grad_clip \(0.5\)"):
        model.train_step(batch(), wrapper)


def test_our_scope_is_a_child_of_the_hosts() -> None:
    assert MODELS.parent is PARENT
    assert isinstance(PARENT.build({"type": "mprnet.MPRNet", **TINY}), MPRNet)
    assert issubclass(MODELS.get("MPRNetRestorer"), BaseModel)


@pytest.mark.parametrize("protocol", ["gopro", "sidd", "rain"])
def test_a_metric_scores_by_its_protocol(protocol: str) -> None:
    metric = RestorationMetric(protocol)
    images = [torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    for name, image in zip("ab", images, strict=True):
        sample = BaseDataElement(metainfo={"key": name})
        sample.pred, sample.gt = image, (image + 0.1).clamp(0, 1)
        metric.process(None, [sample.to_dict() | {"key": name}])
    scores = metric.evaluate(2)
    assert scores.keys() == {f"{protocol}/psnr", f"{protocol}/ssim"}
    assert 15 < scores[f"{protocol}/psnr"] < 30
    with pytest.raises(InputError, match="goproo"):
        RestorationMetric("goproo")


def test_the_degraded_picture_is_scored_beside_the_restored_one_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = RestorationMetric("gopro", prefix="set")
    gt = torch.full((3, 24, 24), 0.5)
    bytes_off_by_51 = torch.full((3, 24, 24), 76.5).round().to(torch.uint8)
    scored = []
    original = RestorationMetric._score

    def counted(self: RestorationMetric, image: torch.Tensor, target: torch.Tensor) -> Any:
        scored.append(1)
        return original(self, image, target)

    monkeypatch.setattr(RestorationMetric, "_score", counted)
    for calls in (2, 3):
        metric.process({"lq": [bytes_off_by_51]}, [{"key": "a", "pred": gt + 0.1, "gt": gt}])
        scores = metric.evaluate(1)
        assert len(scored) == calls
        assert scores["set/psnr"] == pytest.approx(20, abs=0.2)
        assert scores["set/input_psnr"] == pytest.approx(20 - 20 * math.log10(2), abs=0.2)
    assert metric.rows[0].before["psnr"] == scores["set/input_psnr"]


def test_the_pictures_that_are_named_are_shown() -> None:
    shown = []
    runner = SimpleNamespace(
        rank=0,
        iter=7,
        visualizer=SimpleNamespace(add_image=lambda name, picture, step: shown.append((name, picture.shape, step))),
        logger=SimpleNamespace(warning=shown.append),
        val_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo={"dataset_name": "s"}))),
    )
    hook = PicturesHook(images=4, names=["c", "b", "z"])
    for key in "abcd":
        sample = BaseDataElement(metainfo={"key": key})
        sample.pred = sample.gt = torch.rand(3, 16, 24)
        hook.after_val_iter(runner, 0, {"lq": [torch.rand(3, 16, 24)]}, [sample])
    hook.after_val_epoch(runner)
    assert shown == ["PicturesHook: s has no z", ("val_s", (2 * 20, 3 * 24, 3), 7)]


def test_validation_in_windows_is_near_the_whole() -> None:
    torch.manual_seed(0)
    whole = restorer().eval()
    tiled = restorer(tile=64, tile_overlap=32).eval()
    tiled.load_state_dict(whole.state_dict())
    image = batch(72, 88)
    results = [torch.stack([sample.pred for sample in model.test_step(image)]) for model in (whole, tiled)]
    assert not torch.equal(*results)
    assert float((results[0] - results[1]).detach().abs().mean()) < 0.05
    with pytest.raises(InputError, match="tile=60 must be a multiple of 8"):
        restorer(tile=60)


@pytest.mark.parametrize(("sampler", "ratio"), [("EndlessSampler", 1), ("EndlessSampler", 2), ("InfiniteSampler", 1)])
def test_an_epoch_is_counted_by_the_sampler(sampler: str, ratio: int, tmp_path: Path) -> None:
    write_pairs(tmp_path, 7, (24, 24))
    dataset = DATASETS.build(
        {
            "type": "PairedRestorationDataset",
            "phase": "train",
            "dataroot_lq": str(tmp_path / "input"),
            "dataroot_gt": str(tmp_path / "target"),
            "gt_size": 16,
        }
    )
    dataset.schedule = dataset.schedule._replace(batch_size=4)
    drawn = EndlessSampler(dataset, ratio=ratio) if sampler == "EndlessSampler" else InfiniteSampler(dataset)
    loader = DataLoader(dataset, batch_size=4, sampler=drawn)
    assert _iterations_per_epoch(loader) == {1: 2, 2: 4}[ratio]  # 7 or 14 samples, 4 at a time


def test_weights_of_any_origin_by_their_scheme(tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    save_weights(net.state_dict(), tmp_path / "w.safetensors", "safetensors")
    loaded = CheckpointLoader.load_checkpoint(f"mprnet://{tmp_path}/w.safetensors")
    model = restorer()
    model.load_state_dict(loaded["state_dict"])
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match="nowhere"):
        CheckpointLoader.load_checkpoint("mprnet://nowhere")


def test_an_inferencer_is_the_restorer(tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    net.tail.weight.data *= 0.02
    weights = tmp_path / "w.pth"
    save_weights(net.state_dict(), weights, "host")
    image = picture(3)
    write_picture(tmp_path / "photos" / "a.png", image)
    infer = MPRNetInferencer(weights=str(weights), device="cpu", precision="fp32")
    result = infer(str(tmp_path / "photos"), out_dir=str(tmp_path / "out"))["predictions"]
    expected = Restorer(net, "cpu", precision="fp32")(image)
    np.testing.assert_array_equal(result[0], expected)
    written = cv2.imread(str(tmp_path / "out" / "a.png"))
    assert written is not None
    np.testing.assert_array_equal(written[..., ::-1], expected)


def test_clean_photographs_and_several_sets_as_keywords(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / "a" / f"{number}.png", picture(number))
    root = str(tmp_path / "a")
    options = {"gt_size": 16, "patch_schedule": [{"start_iter": 3, "gt_size": 24}]}
    sources = [{"dataroot_lq": root, "dataroot_gt": root, "weight": weight} for weight in (1, 3)]
    for section in (
        {"type": "SyntheticDegradationDataset", "dataroot_gt": root, "noise": {"electrons": (30, 60)}},
        {"type": "PairedRestorationDataset", "sources": sources},
    ):
        dataset = DATASETS.build({**section, **options})
        dataset.schedule = dataset.schedule._replace(batch_size=2)
        sampler = DATA_SAMPLERS.build({"type": "EndlessSampler", "dataset": dataset, "seed": 1})
        length = len(dataset) // 2
        sides = [dataset[draw]["lq"].shape[1] for draw in itertools.islice(sampler, 4 * length)]
        assert sides == [16] * 4 + [24] * (4 * length - 4)


def test_neither_host_imports_the_other() -> None:
    code = "import sys, mprnet_plugin.hosts.{}; print(sorted({{name.partition('.')[0] for name in sys.modules}}))"
    for host, other in (("mmengine", "basicsr"), ("basicsr", "mmengine")):
        done = subprocess.run(
            [sys.executable, "-c", code.format(host)], capture_output=True, text=True, check=True, timeout=120
        )
        assert f"'{host}'" in done.stdout
        assert f"'{other}'" not in done.stdout
