from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mprnet_plugin.data import degradations
from mprnet_plugin.data.linear_light import to_linear, to_srgb
from mprnet_plugin.data.sampler import Draw, ResumableSampler
from mprnet_plugin.data.synthetic_dataset import STEPS, SyntheticDegradationDataset
from mprnet_plugin.errors import InputError
from tests.data.test_paired_dataset import pack_as_host
from tests.helpers import write_picture

EVERYTHING: dict[str, Any] = {"rain": {}, "blur": {}, "noise": {}, "jpeg": {}}


def smooth(seed: int, height: int = 90, width: int = 110) -> Any:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        write_picture(tmp_path / "photographs" / f"{number}.png", smooth(number))
    return tmp_path / "photographs"


def dataset(root: Path, **options: Any) -> SyntheticDegradationDataset:
    return SyntheticDegradationDataset({"dataroot_gt": str(root), "gt_size": 32, "dtype": "uint8", **options})


def test_a_patch_is_a_window_of_the_photograph_and_what_the_camera_made_of_it(root: Path) -> None:
    made = dataset(root, noise={"electrons": (30, 60)})
    sample = made[Draw(1, 0, 0)]
    gt = sample["gt"].permute(1, 2, 0).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(smooth(1), (32, 32, 3))[:, :, 0]
    assert (windows == gt).all(axis=(2, 3, 4)).sum() == 1
    error = sample["lq"].float() - sample["gt"].float()
    assert 5 < error.std() < 60
    assert abs(float(error.mean())) < 8  # the sRGB curve bends noise down
    assert sample["key"] == "1"


def test_everything_drawn_depends_on_seed_epoch_and_position_only(root: Path) -> None:
    def take(workers: int, epoch: int, seed: int = 7) -> torch.Tensor:
        schedule = {"seed": seed, "batch_size": 3}
        made = dataset(root, **EVERYTHING, augment="geometric", shrink=[1, 2], schedule=schedule)
        sampler = ResumableSampler(made, 1, 0, 2)
        sampler.set_epoch(epoch)
        return torch.cat(
            [batch["lq"] for batch in DataLoader(made, batch_size=3, sampler=sampler, num_workers=workers)]
        )

    assert torch.equal(take(0, 0), take(2, 0))
    assert not torch.equal(take(0, 0), take(0, 1))
    assert not torch.equal(take(0, 0), take(0, 0, seed=8))


def test_validation_is_the_same_every_time_and_whole(root: Path) -> None:
    one, two = (dataset(root, phase="val", **EVERYTHING)[2] for _ in range(2))
    assert torch.equal(one["lq"], two["lq"])
    assert np.array_equal(one["gt"].permute(1, 2, 0).numpy(), smooth(2))
    assert dataset(root, phase="val", noise={}, center_crop=16)[0]["lq"].shape == (3, 16, 16)
    assert dataset(root, phase="val", noise={}, shrink=[2, 2])[0]["lq"].shape == (3, 45, 55)


def test_steps_come_in_their_order_with_their_options(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, dict[str, Any]]] = []

    def note(name: str) -> Any:
        def step(image: Any, rng: np.random.Generator, **options: Any) -> Any:
            called.append((name, options))
            return image

        return step

    monkeypatch.setattr("mprnet_plugin.data.synthetic_dataset.STEPS", {name: note(name) for name in STEPS})
    dataset(root, **EVERYTHING)[Draw(0, 0, 0)]
    assert [name for name, _ in called] == ["rain", "blur", "noise", "jpeg"]
    called.clear()
    dataset(root, jpeg={"quality": [30, 30]}, noise={}, order=["jpeg", "noise"])[Draw(0, 0, 0)]
    noise = {"electrons": [60, 400], "read_noise": [1, 3], "grain": [0, 0]}
    assert called == [("jpeg", {"quality": [30, 30], "full_colour": 0}), ("noise", noise)]
    called.clear()
    rare = dataset(root, noise={"probability": 0.25})
    for position in range(400):
        rare[Draw(0, 0, position)]
    assert 70 < len(called) < 130


def test_blur_at_the_border_of_a_patch_is_that_of_the_photograph(root: Path) -> None:
    """The patch with its margin cut off equals the patch of the whole photograph blurred along the same path."""
    options = {"blur": {"length": [10, 14], "turn": [0, 0]}, "gt_size": 32}
    made = dataset(root, **options)
    sample = made[Draw(0, 0, 5)]
    rng = made.rng(Draw(0, 0, 5))
    rng.uniform()  # the factor
    top, left = (int(rng.integers(length - 32 + 1)) for length in (90, 110))
    rng.random()  # whether it happens
    blurred = to_srgb(degradations.shake(to_linear(smooth(0)), rng, (10, 14), (0, 0)))[top : top + 32, left : left + 32]
    far = min(top, left, 90 - top - 32, 110 - left - 32)
    assert far > 0
    difference = np.abs(blurred.astype(int) - sample["lq"].permute(1, 2, 0).numpy())
    assert difference.max() <= (1 if far > 14 else 40)
    assert np.median(difference) <= 1


def test_photographs_smaller_than_the_patch_are_mirrored(tmp_path: Path) -> None:
    image = smooth(0, 12, 20)
    write_picture(tmp_path / "a.png", image)
    gt = dataset(tmp_path, noise={})[Draw(0, 0, 0)]["gt"].permute(1, 2, 0).numpy()
    expected = np.pad(image, ((0, 20), (0, 12), (0, 0)), mode="reflect")
    assert np.array_equal(gt, expected)


def test_lmdb_and_16_bits(root: Path, tmp_path: Path) -> None:
    pack_as_host(root, tmp_path / "photographs.lmdb")
    (tmp_path / "photographs.lmdb" / "meta_info.txt").write_text(
        "".join(f"{n:04d}.png (90,110,3) 1\n" for n in range(3))
    )
    draw = Draw(1, 0, 3)
    packed = dataset(tmp_path / "photographs.lmdb", noise={})[draw]
    assert torch.equal(packed["lq"], dataset(root, noise={})[draw]["lq"])
    write_picture(tmp_path / "deep" / "1.png", smooth(1).astype(np.uint16) * 257)
    deep = dataset(tmp_path / "deep", noise={}, phase="val")[0]["gt"]
    assert np.array_equal(deep.permute(1, 2, 0).numpy(), smooth(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing degrades the photographs: give some of rain, blur, noise, jpeg"),
        ({"noise": {"electrons": [400, 60]}}, r"noise:electrons: \[400.*, 60.*\] must be \[low, high\], low first"),
        ({"noise": {"electrons": [60]}}, r"noise:electrons: \[60\] must be \[low, high\], each a number"),
        ({"noise": {"electron": [60, 400]}}, "noise:electron is read by nobody, did you mean 'electrons'"),
        ({"jpeg": {"quality": [0, 90]}}, "jpeg:quality:0: 0 must be .*at least 1 and at most 100"),
        ({"blur": {"length": [1, 900]}}, "blur:length:1: 900 must be"),
        ({"blur": {"probability": 0}}, "blur:probability: 0 must be a number, above 0 and at most 1"),
        ({"noise": {}, "jpeg": {}, "order": ["jpeg"]}, r"order: is \['jpeg'\], must name each of noise, jpeg once"),
        ({"noise": {}, "order": ["noise", "fog"]}, "order:1: 'fog'"),
        ({"noise": {}, "gt_size": None}, "gt_size is missing"),
    ],
)
def test_bad_options_are_named(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        dataset(root, **options)
    assert "\n" not in str(caught.value)


def test_what_is_out_of_focus_is_so_on_both_sides(root: Path) -> None:
    def detail(pixels: torch.Tensor) -> float:
        return float(pixels.float().diff(dim=2).abs().mean())

    nothing = {"length": (0, 0), "turn": (0, 0)}  # so both sides are alike but for the focus
    sharp = dataset(root, blur=nothing)
    soft = dataset(root, blur=nothing, soft={"size": (5, 5), "probability": 1})
    some = dataset(root, blur=nothing, soft={"size": (5, 5), "probability": 0.5})
    for item in range(3):
        sample = soft[Draw(item, 0, 0)]
        assert (sample["lq"].int() - sample["gt"].int()).abs().max() <= 1
        assert detail(sample["gt"]) < 0.8 * detail(sharp[Draw(item, 0, 0)]["gt"])
    share = np.mean([detail(some[Draw(0, 0, n)]["gt"]) < 0.8 * detail(sharp[Draw(0, 0, n)]["gt"]) for n in range(40)])
    assert 0.25 < share < 0.75
