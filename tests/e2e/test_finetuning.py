"""Data of one's own, by the host's command: several sets, growing patches, clean photographs alone, grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.tiny_run import make_folder, models, options, same
from tests.helpers import ROOT, run, write_options, write_pairs

pytestmark = pytest.mark.slow


def resume_from_the_middle(folder: Path, name: str, *command: str) -> str:
    """Run to the end, then again from iteration 3 alone, and compare every weight; return what the first run said."""
    whole = run(folder, *command)
    assert whole.returncode == 0, whole.stderr
    last = models(folder, name) / "net_g_6.pth"
    kept = last.rename(folder / "whole.pth")
    resumed = run(folder, *command[:3], "--auto_resume", *command[3:])
    assert resumed.returncode == 0, resumed.stderr
    assert "iter: 3." in resumed.stderr
    assert same(last, kept)
    return whole.stderr


def test_several_sets_and_growing_patches_resume_to_the_last_bit(tmp_path: Path) -> None:
    make_folder(tmp_path)
    write_pairs(tmp_path / "data" / "more", 3)
    content: dict[str, Any] = options()
    train = content["datasets"]["train"]
    sources = [
        {"dataroot_lq": f"data/{name}/input", "dataroot_gt": f"data/{name}/target", "weight": weight}
        for name, weight in (("train", 1), ("more", 2))
    ]
    del train["dataroot_lq"], train["dataroot_gt"]
    train |= {
        "sources": sources,
        "patch_schedule": [{"start_iter": 3, "gt_size": 40}, {"start_iter": 5, "gt_size": 48}],
    }
    train |= {"num_worker_per_gpu": 2, "persistent_workers": True}
    content["val"]["local_pooling"] = {}
    write_options(tmp_path, content)
    said = resume_from_the_middle(tmp_path, "tiny", "basicsr.train", "-opt", "run.yml")
    assert "Training set data/more/input: 3 pairs, 6 of the 9 samples of an epoch (66.7 %)" in said
    assert "val:local_pooling:train_size is 48, the patches of datasets:train" in said


def test_clean_photographs_alone_from_the_demo_weights(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_pairs(tmp_path / split, 2)
        (tmp_path / "datasets" / "photographs").mkdir(parents=True, exist_ok=True)
        (tmp_path / split / "target").rename(tmp_path / "datasets" / "photographs" / split)
    overrides = ("train:total_iter=6", "val:val_freq=6", "logger:save_checkpoint_freq=3", "datasets:val:center_crop=32")
    file = str(ROOT / "options" / "finetune_demo_denoise_clean.yml")
    command = ("basicsr.train", "-opt", file, "--force_yml", "datasets:train:gt_size=32", *overrides)
    said = resume_from_the_middle(tmp_path, "finetune_demo_denoise_clean", *command)
    assert "Loaded mprnet://demo/Denoising" in said
    assert "datasets/photographs/train: 2 photographs, degraded by noise, jpeg" in said


def test_grey_networks_train_and_validate(tmp_path: Path) -> None:
    make_folder(tmp_path)
    content: dict[str, Any] = options()
    content["network_g"] |= {"in_c": 1, "out_c": 1}
    content["train"]["total_iter"] = 3
    for section in content["datasets"].values():
        section["grey"] = True
    done = run(tmp_path, "basicsr.train", "-opt", write_options(tmp_path, content))
    assert done.returncode == 0, done.stderr
    assert "# psnr" in done.stderr
