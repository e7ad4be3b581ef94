from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils.data import DataLoader

from mprnet_plugin.data import paired_dataset
from mprnet_plugin.data.paired_dataset import PairedRestorationDataset, shares
from mprnet_plugin.data.sampler import Draw, ResumableSampler
from mprnet_plugin.data.samples import center_crop, pad_to
from mprnet_plugin.errors import InputError
from tests.helpers import picture, write_picture

Roots = tuple[Path, Path]


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for number in range(4):
        write_picture(tmp_path / "input" / "sub" / f"a.{number}.png", picture(number))
        write_picture(tmp_path / "target" / "sub" / f"a.{number}.png", picture(number + 100))
    return tmp_path / "input", tmp_path / "target"


def options(roots: Roots, **extra: Any) -> dict[str, Any]:
    lq, gt = roots
    return {"dataroot_lq": str(lq), "dataroot_gt": str(gt), "phase": "train", "gt_size": 16, **extra}


def pack_as_host(folder: Path, path: Path) -> None:
    """Write the host's LMDB format by lmdb itself."""
    environment = lmdb.open(str(path), map_size=2**24)
    lines = []
    with environment.begin(write=True) as transaction:
        for number, file in enumerate(sorted(folder.rglob("*.png"))):
            transaction.put(f"{number:04d}".encode(), file.read_bytes())
            lines.append(f"{number:04d}.png (40,48,3) 1\n")
    environment.close()
    (path / "meta_info.txt").write_text("".join(lines))


def test_whole_pictures_outside_training(roots: Roots) -> None:
    dataset = PairedRestorationDataset(options(roots, phase="val"))
    sample = dataset[2]
    assert sample["key"] == "sub/a.2"
    assert sample["lq_path"].endswith("a.2.png")
    expected = torch.from_numpy(picture(2)).permute(2, 0, 1).float() / 255
    assert torch.equal(sample["lq"], expected)
    assert sample["gt"].dtype == torch.float32


def test_equals_the_hosts_dataset(roots: Roots) -> None:
    paired = pytest.importorskip("basicsr.data.paired_image_dataset")
    lq, gt = (root / "sub" for root in roots)
    ours = PairedRestorationDataset(options((lq, gt), phase="val"))
    host = paired.PairedImageDataset({**options((lq, gt), phase="val", scale=1), "io_backend": {"type": "disk"}})
    theirs = {sample["lq_path"]: sample for sample in host}
    for sample in (ours[i] for i in range(len(ours))):
        assert torch.equal(sample["lq"], theirs[sample["lq_path"]]["lq"])
        assert torch.equal(sample["gt"], theirs[sample["lq_path"]]["gt"])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_folder_and_lmdb_give_identical_tensors(roots: Roots, tmp_path: Path, dtype: str) -> None:
    packed = tmp_path / "input.lmdb", tmp_path / "target.lmdb"
    for root, path in zip(roots, packed, strict=True):
        pack_as_host(root, path)
    extra = {"augment": "geometric_saturation", "dtype": dtype}
    disk = PairedRestorationDataset(options(roots, **extra, io_backend={"type": "disk"}))
    mapped = PairedRestorationDataset(options(packed, **extra, io_backend={"type": "lmdb"}))
    for position in range(50):
        draw = Draw(position % 4, 0, position)
        assert torch.equal(disk[draw]["lq"], mapped[draw]["lq"])
        assert torch.equal(disk[draw]["gt"], mapped[draw]["gt"])


def test_uint8_and_float32_hold_the_same_values(roots: Roots) -> None:
    bytes_, floats = (PairedRestorationDataset(options(roots, dtype=d)) for d in ("uint8", "float32"))
    draw = Draw(1, 2, 3)
    assert bytes_[draw]["lq"].dtype == torch.uint8
    assert torch.equal(bytes_[draw]["lq"].float() / 255, floats[draw]["lq"])


def test_16_bit_pictures_keep_their_precision(tmp_path: Path) -> None:
    image = picture(0, dtype=np.uint16)
    for side in ("input", "target"):
        write_picture(tmp_path / side / "a.png", image)
    roots = tmp_path / "input", tmp_path / "target"
    sample = PairedRestorationDataset(options(roots, phase="val"))[0]
    assert torch.allclose(sample["lq"], torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)) / 65535)
    with pytest.raises(InputError, match="dtype: float32"):
        PairedRestorationDataset(options(roots, phase="val", dtype="uint8"))[0]


def test_crops_of_a_pair_match_and_cover_the_picture(tmp_path: Path) -> None:
    image = np.zeros((24, 24, 3), np.uint8)
    image[..., 0], image[..., 1] = np.mgrid[:24, :24]
    for side in ("input", "target"):
        write_picture(tmp_path / side / "a.png", image)
    dataset = PairedRestorationDataset(options((tmp_path / "input", tmp_path / "target"), dtype="uint8"))
    corners = set()
    for position in range(600):
        sample = dataset[Draw(0, 0, position)]
        assert torch.equal(sample["lq"], sample["gt"])
        corners.add((int(sample["lq"][0, 0, 0]), int(sample["lq"][1, 0, 0])))
    tops, lefts = zip(*corners, strict=True)
    assert set(tops) == set(lefts) == set(range(9))


def test_augmentation_is_drawn_uniformly(tmp_path: Path) -> None:
    image = picture(0, 16, 16)
    for side in ("input", "target"):
        write_picture(tmp_path / side / "a.png", image)
    dataset = PairedRestorationDataset(
        options((tmp_path / "input", tmp_path / "target"), augment="geometric", dtype="uint8")
    )
    counts: dict[bytes, int] = {}
    for position in range(3600):
        key = dataset[Draw(0, 0, position)]["lq"].numpy().tobytes()
        counts[key] = counts.get(key, 0) + 1
    observed = sorted(counts.values())
    assert len(observed) == 8
    assert stats.chisquare(observed, [400] * 7 + [800]).pvalue > 1e-3


def test_samples_depend_on_seed_epoch_and_position_only(roots: Roots) -> None:
    schedule = {"seed": 7, "batch_size": 2, "start_iter": 0}

    def take(workers: int, epoch: int, seed: int = 7) -> torch.Tensor:
        dataset = PairedRestorationDataset(
            options(roots, augment="geometric", dtype="uint8", schedule={**schedule, "seed": seed})
        )
        sampler = ResumableSampler(dataset, 1, 0)
        sampler.set_epoch(epoch)
        loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers)
        return torch.cat([batch["lq"] for batch in loader])

    dataset = PairedRestorationDataset(options(roots, schedule=schedule))
    crops = [dataset[draw]["lq"] for draw in (Draw(0, 0, 0), Draw(0, 1, 0), Draw(0, 0, 1))]
    assert not any(torch.equal(one, two) for one, two in itertools.combinations(crops, 2))
    assert torch.equal(take(0, 0), take(2, 0))
    assert not torch.equal(take(0, 0), take(0, 1))
    assert not torch.equal(take(0, 0), take(0, 0, seed=8))


def test_plain_indices_follow_torchs_generator(roots: Roots) -> None:
    dataset = PairedRestorationDataset(options(roots))
    torch.manual_seed(0)
    first, second = dataset[0]["lq"], dataset[0]["lq"]
    torch.manual_seed(0)
    assert torch.equal(dataset[0]["lq"], first)
    assert not torch.equal(first, second)


def test_small_pictures_are_reflected_right_and_below(tmp_path: Path) -> None:
    image = picture(0, 5, 20)
    assert np.array_equal(pad_to(image, 8), np.pad(image, ((0, 3), (0, 0), (0, 0)), mode="reflect"))
    for side in ("input", "target"):
        write_picture(tmp_path / side / "a.png", image)
    dataset = PairedRestorationDataset(options((tmp_path / "input", tmp_path / "target")))
    assert dataset[0]["lq"].shape == (3, 16, 16)


def test_center_crop(roots: Roots) -> None:
    assert np.array_equal(center_crop(picture(0), 16), picture(0)[12:28, 16:32])
    dataset = PairedRestorationDataset(options(roots, phase="val", center_crop=16))
    assert dataset[0]["lq"].shape == (3, 16, 16)


def spoil_orphan(lq: Path, gt: Path) -> None:
    write_picture(lq / "sub" / "extra.png", picture(0))


def spoil_size(lq: Path, gt: Path) -> None:
    write_picture(gt / "sub" / "a.1.png", picture(0, 8, 8))


def spoil_empty(lq: Path, gt: Path) -> None:
    for file in lq.rglob("*.png"):
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_orphan, r"extra"),
        (spoil_size, r"1 of 4 pairs differ .*sub/a\.1 \(40x48 and 8x8\)"),
        (spoil_empty, r"input"),
    ],
)
def test_unfit_folders_are_one_clear_error(roots: Roots, spoil: Callable[[Path, Path], None], message: str) -> None:
    spoil(*roots)
    with pytest.raises(InputError, match=message) as caught:
        PairedRestorationDataset(options(roots))
    assert "\n" not in str(caught.value)


def test_a_corrupt_file_is_named_when_it_is_read(roots: Roots) -> None:
    file = roots[0] / "sub" / "a.1.png"
    file.write_bytes(file.read_bytes()[:200])
    dataset = PairedRestorationDataset(options(roots))
    assert dataset[0]["lq"].shape == (3, 16, 16)
    with pytest.raises(InputError, match=r"a\.1\.png"):
        dataset[1]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"augment": "geometrik"}, "did you mean 'geometric'"),
        ({"dtype": "float16"}, "dtype: 'float16'"),
        ({"gt_size": "256"}, "gt_size: '256'"),
        ({"gt_size": None}, "gt_size is missing"),
        ({"io_backend": {"type": "lmdb"}}, "does not fit"),
        ({"io_backend": {"type": "petrel"}}, "'petrel' is not known, known are disk, lmdb"),
        ({"dataroot_lq": None}, "dataroot_lq is missing: a folder or an LMDB"),
        ({"dataroot_lq": "nowhere"}, "nowhere"),
    ],
)
def test_bad_options_are_named(roots: Roots, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PairedRestorationDataset(options(roots, **extra))


def source(folder: Path, count: int, level: int, size: int = 16) -> dict[str, Any]:
    """Write pairs of one level, which tells them from those of other sets."""
    for number in range(count):
        image = np.full((size, size, 3), level + number, np.uint8)
        for side in ("input", "target"):
            write_picture(folder / side / f"{number:02d}.png", image)
    return {"dataroot_lq": str(folder / "input"), "dataroot_gt": str(folder / "target")}


def levels(dataset: PairedRestorationDataset, epochs: int, **schedule: int) -> list[list[int]]:
    """Return the level of every sample, epoch by epoch."""
    dataset.schedule = dataset.schedule._replace(**schedule)
    sampler = ResumableSampler(dataset, 1, 0)
    drawn = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        drawn.append([int(dataset[draw]["lq"][0, 0, 0]) for draw in sampler])
    return drawn


def several(tmp_path: Path, weights: tuple[float, float] | None, **extra: Any) -> PairedRestorationDataset:
    mine, theirs = source(tmp_path / "mine", 3, 0), source(tmp_path / "theirs", 9, 100)
    if weights is not None:
        mine["weight"], theirs["weight"] = weights
    return PairedRestorationDataset({"sources": [mine, theirs], "gt_size": 16, "dtype": "uint8", **extra})


def test_several_sets_without_weights_are_one_set(tmp_path: Path) -> None:
    dataset = several(tmp_path, None)
    for epoch in levels(dataset, 2):
        assert sorted(epoch) == [0, 1, 2, *range(100, 109)]


def test_weights_are_shares_and_every_pair_comes_equally_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(paired_dataset.logger, "info", lambda text, *values: said.append(text % values))
    dataset = several(tmp_path, (1, 1))
    assert said == [
        f"Training set {tmp_path}/mine/input: 3 pairs, 6 of the 12 samples of an epoch (50.0 %)",
        f"Training set {tmp_path}/theirs/input: 9 pairs, 6 of the 12 samples of an epoch (50.0 %)",
    ]
    drawn = levels(dataset, 3)
    for epoch in drawn:
        assert sorted(level for level in epoch if level < 100) == [0, 0, 1, 1, 2, 2]
        assert len({level for level in epoch if level >= 100}) == 6
    assert sorted(level for epoch in drawn for level in epoch if level >= 100) == sorted([*range(100, 109)] * 2)


def test_sources_resume_in_mid_epoch(tmp_path: Path) -> None:
    dataset = several(tmp_path, (3, 1), augment="geometric")
    whole = levels(dataset, 2, batch_size=4)
    rest = levels(dataset, 2, batch_size=4, start_iter=4)  # an epoch is 3 iterations
    assert rest == [[], whole[1][4:]]


def test_sources_without_our_sampler_give_every_pair(tmp_path: Path) -> None:
    dataset = several(tmp_path, (11, 1))
    seen = {int(dataset[11]["lq"][0, 0, 0]) for _ in range(200)}
    assert seen == set(range(100, 109))


def test_shares_add_up() -> None:
    assert shares(12, [1, 1]) == [6, 6]
    assert shares(7, [0.1, 0.1, 0.1]) == [3, 2, 2]
    assert shares(1000, [999, 1]) == [999, 1]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"sources": []}, r"sources: \[\] must be a list"),
        ({"sources": [{"dataroot_lq": "a"}]}, "option dataset:sources:0:dataroot_gt is missing"),
        ({"sources": [{"dataroot_lq": "a", "dataroot_gt": "b", "weigth": 1}]}, "sources:0:weigth is read by nobody"),
        ({"sources": [{"dataroot_lq": "a", "dataroot_gt": "b", "weight": 0}]}, "sources:0:weight: 0 must be a number"),
        ({"dataroot_lq": "a", "sources": [{"dataroot_lq": "a", "dataroot_gt": "b"}]}, "exclude each other"),
        ({"phase": "val", "sources": [{"dataroot_lq": "a", "dataroot_gt": "b"}]}, "sources are for training"),
        (
            {"io_backend": {"type": "lmdb"}, "sources": [{"dataroot_lq": "a", "dataroot_gt": "b"}]},
            "does not fit dataroot_lq a",
        ),
    ],
)
def test_bad_sources_are_named(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PairedRestorationDataset({"gt_size": 16, **extra})


def test_weights_of_some_sources_and_shares_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gives it no sample of 12: raise it"):
        several(tmp_path, (1000, 1))
    mine, theirs = source(tmp_path / "a", 1, 0), source(tmp_path / "b", 1, 0)
    with pytest.raises(InputError, match="give each a weight, or none of them"):
        PairedRestorationDataset({"gt_size": 16, "sources": [{**mine, "weight": 1}, theirs]})


def test_patches_follow_their_schedule(roots: Roots) -> None:
    later = [{"start_iter": 3, "gt_size": 24}, {"start_iter": 5, "gt_size": 32}]
    dataset = PairedRestorationDataset(options(roots, patch_schedule=later, schedule={"batch_size": 2}))
    sampler = ResumableSampler(dataset, 1, 0)
    sides = []
    for epoch in range(3):  # two iterations each
        sampler.set_epoch(epoch)
        for batch in DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=2):
            sides.append(tuple(batch["lq"].shape[2:]))
    assert sides == [(16, 16), (16, 16), (24, 24), (24, 24), (32, 32), (32, 32)]
    with pytest.raises(InputError, match="patch_schedule needs a sampler that tells iterations"):
        dataset[0]
    with pytest.raises(InputError, match=r"start_iter is \[5, 3\], each must be above"):
        PairedRestorationDataset(options(roots, patch_schedule=later[::-1]))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_grey_is_the_luma_in_one_channel(roots: Roots, dtype: str) -> None:
    sample = PairedRestorationDataset(options(roots, phase="val", grey=True, dtype=dtype))[0]
    expected = np.rint(picture(0) @ np.array([0.299, 0.587, 0.114], np.float32))
    scale = 1 if dtype == "uint8" else 255
    assert sample["lq"].shape == (1, 40, 48)
    assert np.allclose(sample["lq"][0].numpy() * scale, expected, atol=1e-4)


def test_grey_files_come_as_they_are(tmp_path: Path) -> None:
    image = picture(0)[..., :1]
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
        assert cv2.imwrite(str(tmp_path / side / "a.png"), image)
    roots = tmp_path / "input", tmp_path / "target"
    grey = PairedRestorationDataset(options(roots, phase="val", grey=True, dtype="uint8"))[0]["lq"]
    colour = PairedRestorationDataset(options(roots, phase="val", dtype="uint8"))[0]["lq"]
    assert np.array_equal(grey.numpy(), image.transpose(2, 0, 1))
    assert torch.equal(colour, grey.expand(3, -1, -1))
