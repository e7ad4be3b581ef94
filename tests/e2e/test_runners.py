"""The host's own commands, in processes of their own, on small real files."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

from mprnet_plugin.archs.mprnet_arch import MPRNet
from tests.e2e.tiny_run import assert_same_descent, logged, logged_numbers, make_folder, models, options, same
from tests.helpers import TINY, Done, run, torchrun, write_options

pytestmark = pytest.mark.slow


class Trained(NamedTuple):
    """A folder with a finished training, which tests copy before they change it, and what the command said."""

    folder: Path
    done: Done

    def copy(self, target: Path) -> Path:
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        return target


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = make_folder(tmp_path_factory.mktemp("trained"))
    before = site_packages()
    done = run(folder, "basicsr.train", "-opt", "run.yml")
    assert done.returncode == 0, done.stderr
    assert site_packages() == before
    return Trained(folder, done)


def descent_options() -> dict[str, Any]:
    """Plain gradient descent: Adam would hide a wrong scale, and make steps out of the rounding of small gradients."""
    content = options()
    content["train"] |= {"optim_g": {"type": "SGD", "lr": 0.1}, "ema_decay": 0}
    return content


@pytest.fixture(scope="module")
def descent(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One process, the whole batch at a time: what every other way of taking the batch must equal."""
    folder = make_folder(tmp_path_factory.mktemp("descent"))
    done = run(folder, "basicsr.train", "-opt", write_options(folder, descent_options()))
    assert done.returncode == 0, done.stderr
    return Trained(folder, done)


def site_packages() -> set[str]:
    return {path.name for path in Path(np.__file__).parents[1].iterdir()}


def learning_rates(done: Done) -> list[str]:
    return re.findall(r"lr:\(([-+.e\d]+)", done.stderr)


def iterations(done: Done) -> list[str]:
    return re.findall(r"iter: +(\d+), lr", done.stderr)


def test_training(trained: Trained) -> None:
    folder, done = trained
    assert (folder / "experiments" / "tiny" / "visualization" / "val_6.png").is_file()
    assert list((folder / "tb_logger" / "tiny").glob("events*"))
    for loss in ("l_total", "l_pix_stage1", "l_pix_stage3", "l_edge_stage2"):
        assert len(logged(done, loss)) == 6
    assert float(logged(done, "l_total")[-1]) < float(logged(done, "l_total")[0])
    assert iterations(done) == ["1", "2", "3", "4", "5", "6"]
    assert "found in sys.modules" not in done.stderr


def test_resumed_training_is_the_same_to_the_last_bit(trained: Trained, tmp_path: Path) -> None:
    """As if it had been stopped in the middle of the second epoch."""
    found = models(trained.copy(tmp_path))
    for name in ("net_g_6.pth", "net_g_latest.pth"):
        (found / name).unlink()
    resumed = run(tmp_path, "basicsr.train", "-opt", "run.yml", "--auto_resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "skipping" in resumed.stderr  # the newest state has lost its network
    assert "Resuming training from epoch: 1, iter: 3" in resumed.stderr
    assert iterations(resumed) == ["4", "5", "6"]
    assert learning_rates(resumed) == learning_rates(trained.done)[3:]
    assert same(found / "net_g_6.pth", models(trained.folder) / "net_g_6.pth")


def test_a_fast_run_goes_on_to_the_last_bit(folder: Path) -> None:
    content = options()
    fast = {"channels_last": True, "gradient_checkpointing": True, "grad_clip": 0.5}
    content["train"] |= {**fast, "total_iter": 4, "optim_g": {"type": "AdamW", "lr": 1e-3, "fused": True}}
    content["val"]["val_freq"] = 4
    content["logger"]["save_checkpoint_freq"] = 2
    write_options(folder, content)
    arguments = ("basicsr.train", "-opt", "run.yml")
    whole = run(folder, *arguments)
    assert whole.returncode == 0, whole.stderr
    found = models(folder)
    last = (found / "net_g_4.pth").rename(folder / "whole.pth")
    resumed = run(folder, *arguments, "--auto_resume")
    assert resumed.returncode == 0, resumed.stderr
    assert iterations(resumed) == ["3", "4"]
    for name in ("l_total", "grad_norm"):
        assert logged(resumed, name) == logged(whole, name)[2:]
    assert same(found / "net_g_4.pth", last)


def test_testing(trained: Trained, tmp_path: Path) -> None:
    trained.copy(tmp_path)
    content = options()
    validated = content["datasets"]["val"]
    del content["train"], content["logger"]
    content["datasets"] = {"test_1": {"name": "held-out", **validated}}
    content["path"] = {"pretrain_network_g": "experiments/tiny/models/net_g_latest.pth", "param_key_g": "params_ema"}
    content["val"] |= {"save_img": True}
    tested = run(tmp_path, "basicsr.test", "-opt", write_options(tmp_path, content, "test.yml"))
    assert tested.returncode == 0, tested.stderr
    pictures = tmp_path / "results" / "tiny" / "visualization"
    assert sorted(p.name for p in (pictures / "held-out").iterdir()) == ["0_tiny.png", "1_tiny.png", "2_tiny.png"]
    restored = cv2.imread(str(pictures / "held-out" / "0_tiny.png"))
    assert restored is not None
    assert restored.shape == (60, 70, 3)
    rows = list(csv.DictReader((tmp_path / "results" / "tiny" / "images.csv").open()))
    assert [row["image"] for row in rows] == ["0", "1", "2"]
    table = (tmp_path / "results" / "tiny" / "table.md").read_text()
    assert table in tested.stderr
    assert f"| {float(logged(trained.done, '# psnr')[-1]):.4f} |" in table
    assert (pictures / "held-out_tiny.png").is_file()

    launch = ("--launcher", "pytorch", "--force_yml", "name=shared")
    shared = torchrun(tmp_path, "basicsr.test", "-opt", "test.yml", *launch)
    assert shared.returncode == 0, shared.stderr
    assert (tmp_path / "results" / "shared" / "table.md").read_text() == table
    assert len(list((tmp_path / "results" / "shared" / "visualization" / "held-out").iterdir())) == 3


def test_two_processes_are_one_run_on_the_joined_batch(descent: Trained, folder: Path) -> None:
    write_options(folder, descent_options())
    launch = ("--launcher", "pytorch", "--force_yml", "name=double")
    double = torchrun(folder, "basicsr.train", "-opt", "run.yml", *launch)
    assert double.returncode == 0, double.stderr
    assert_same_descent(models(folder, "double"), models(descent.folder))
    # Five digits are logged, and rounding may turn the last.
    for name in ("l_total", "grad_norm"):
        assert logged_numbers(double, name) == pytest.approx(logged_numbers(descent.done, name), rel=2e-4)
    psnr = logged_numbers(double, "# psnr")
    assert len(psnr) == 2  # sharded, reported once
    # In dB: a pixel that rounds the other way changes less.
    assert psnr == pytest.approx(logged_numbers(descent.done, "# psnr"), abs=2e-3)


def test_gradients_accumulate_to_the_whole_batch(descent: Trained, folder: Path) -> None:
    content = descent_options()
    content["train"] |= {"micro_batch_size": 3, "total_iter": 3}
    done = run(folder, "basicsr.train", "-opt", write_options(folder, content))
    assert done.returncode == 0, done.stderr
    assert_same_descent(models(folder), models(descent.folder))


def test_batch_that_does_not_divide(folder: Path) -> None:
    arguments = ["basicsr.train", "-opt", "run.yml", "--launcher", "pytorch"]
    done = torchrun(folder, *arguments, "--force_yml", "datasets:train:batch_size=5")
    assert done.returncode != 0
    assert "batch_size 5 must be a multiple of the 2 processes" in done.stderr
    assert "use 4 or 6" in done.stderr


def test_torchrun_without_launcher(folder: Path) -> None:
    done = torchrun(folder, "basicsr.train", "-opt", "run.yml")
    assert done.returncode != 0
    assert "need --launcher pytorch" in done.stderr
    assert not (folder / "experiments").exists()


def test_bad_options_are_one_line_and_create_nothing(folder: Path) -> None:
    done = run(folder, "basicsr.train", "-opt", "run.yml", "--force_yml", "train:optim_g:type=Adan")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: run.yml: train:optim_g:type: 'Adan' is not known")
    assert "Traceback" not in done.stderr
    assert not (folder / "experiments").exists()


def test_no_such_file(folder: Path) -> None:
    done = run(folder, "basicsr.train", "-opt", "nowhere.yml")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: options file nowhere.yml: No such file")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_breaks_in_mid_training_is_named(trained: Trained, tmp_path: Path, workers: int) -> None:
    network = models(trained.copy(tmp_path)) / "net_g_3.pth"
    (tmp_path / "experiments" / "tiny" / "training_states" / "6.state").unlink()
    content = network.read_bytes()
    broken = tmp_path / "data" / "train" / "input" / "4.png"
    broken.write_bytes(broken.read_bytes()[:-300])
    opt = options()
    opt["datasets"]["train"]["num_worker_per_gpu"] = workers
    done = run(tmp_path, "basicsr.train", "-opt", write_options(tmp_path, opt), "--auto_resume")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "4.png" in last
    assert network.read_bytes() == content


def test_checkpoints_that_do_not_fit(folder: Path) -> None:
    other = MPRNet(**{**TINY, "n_feat": 12})
    torch.save({"params": other.state_dict()}, folder / "other.pth")
    (folder / "text.pth").write_text("not a checkpoint")
    for name, message in {"other.pth": "n_feat=12", "text.pth": "expected weights"}.items():
        content = options() | {"path": {"pretrain_network_g": name}}
        done = run(folder, "basicsr.train", "-opt", write_options(folder, content))
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 2, done.stderr
        assert last.startswith("error: ")
        assert name in last
        assert message in last


def test_a_broken_newest_checkpoint_is_passed_over(trained: Trained, tmp_path: Path) -> None:
    state = trained.copy(tmp_path) / "experiments" / "tiny" / "training_states" / "6.state"
    state.write_bytes(state.read_bytes()[:100])
    done = run(tmp_path, "basicsr.train", "-opt", "run.yml", "--auto_resume")
    assert done.returncode == 0
    assert "skipping 6.state: training state" in done.stderr
    assert "iter: 3." in done.stderr
