"""The host's own commands, in processes of their own, on small real files."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from mprnet_plugin.archs.mprnet_arch import MPRNet
from tests.helpers import TINY, Done, run, torchrun

pytestmark = pytest.mark.slow


def options() -> dict[str, Any]:
    dataset = {"type": "PairedRestorationDataset"}
    return {
        "name": "tiny",
        "model_type": "MPRNetModel",
        "manual_seed": 5,
        "datasets": {
            "train": {
                **dataset,
                "dataroot_lq": "data/train/input",
                "dataroot_gt": "data/train/target",
                "gt_size": 32,
                "augment": "geometric_saturation",
                "dtype": "uint8",
                "batch_size": 4,
            },
            "val": {**dataset, "dataroot_lq": "data/test/input", "dataroot_gt": "data/test/target"},
        },
        "network_g": {"type": "MPRNet", **TINY},
        "train": {
            "total_iter": 6,
            "ema_decay": 0.9,
            "optim_g": {"type": "AdamW", "lr": 1e-3},
            "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [6], "eta_min": 1e-6},
            "pixel_opt": {"type": "CharbonnierLoss", "eps": 1e-6},
            "edge_opt": {"type": "EdgeLoss", "loss_weight": 0.05},
        },
        "val": {"val_freq": 3, "metrics": {"psnr": {"type": "calculate_psnr_rgb"}}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 3},
    }


def write_options(folder: Path, content: dict[str, Any], name: str = "run.yml") -> str:
    (folder / name).write_text(yaml.safe_dump(content))
    return name


def make_data(folder: Path) -> None:
    for split, count in (("train", 6), ("test", 3)):
        for number in range(count):
            rng = np.random.default_rng(number)
            coarse = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
            sharp = cv2.resize(coarse, (70, 60), interpolation=cv2.INTER_CUBIC)  # no multiple of 8
            noisy = np.clip(sharp + rng.normal(0, 25, sharp.shape), 0, 255).astype(np.uint8)
            for kind, image in (("input", noisy), ("target", sharp)):
                path = folder / "data" / split / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_data(tmp_path)
    write_options(tmp_path, options())
    return tmp_path


def site_packages() -> set[str]:
    return {path.name for path in Path(np.__file__).parents[1].iterdir()}


def weights(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, dict[str, torch.Tensor]] = torch.load(path, weights_only=True)
    return {f"{group}/{key}": value for group, values in content.items() for key, value in values.items()}


def same(one: Path, two: Path, atol: float = 0.0) -> bool:
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.allclose(first[k], second[k], rtol=0, atol=atol) for k in first)


def logged(done: Done, key: str) -> list[str]:
    return re.findall(rf"{re.escape(key)}: *\(?([-+.e\d]+)", done.stderr)


def learning_rates(done: Done) -> list[str]:
    return re.findall(r"lr:\(([-+.e\d]+)", done.stderr)


def iterations(done: Done) -> list[str]:
    return re.findall(r"iter: +(\d+), lr", done.stderr)


def test_train_resume_and_test(folder: Path) -> None:
    before = site_packages()
    trained = run(folder, "basicsr.train", "-opt", "run.yml")
    assert trained.returncode == 0, trained.stderr
    assert site_packages() == before
    experiment = folder / "experiments" / "tiny"
    assert (experiment / "visualization" / "val_6.png").is_file()
    assert list((folder / "tb_logger" / "tiny").glob("events*"))
    for loss in ("l_total", "l_pix_stage1", "l_pix_stage3", "l_edge_stage2"):
        assert len(logged(trained, loss)) == 6
    assert float(logged(trained, "l_total")[-1]) < float(logged(trained, "l_total")[0])
    assert "found in sys.modules" not in trained.stderr

    # As if it had been stopped in the middle of the second epoch: the rest is the same to the last bit.
    straight = folder / "straight.pth"
    (experiment / "models" / "net_g_6.pth").rename(straight)
    (experiment / "models" / "net_g_latest.pth").unlink()
    resumed = run(folder, "basicsr.train", "-opt", "run.yml", "--auto_resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "skipping" in resumed.stderr  # the newest state has lost its network
    assert "Resuming training from epoch: 1, iter: 3" in resumed.stderr
    assert iterations(trained) == ["1", "2", "3", "4", "5", "6"]
    assert iterations(resumed) == ["4", "5", "6"]
    assert learning_rates(resumed) == learning_rates(trained)[3:]
    assert same(experiment / "models" / "net_g_6.pth", straight)

    content = options()
    del content["train"], content["logger"], content["datasets"]["train"]
    content["datasets"] = {"test_1": {"name": "held-out", **content["datasets"]["val"]}}
    content["path"] = {"pretrain_network_g": "experiments/tiny/models/net_g_latest.pth", "param_key_g": "params_ema"}
    content["val"] |= {"save_img": True}
    tested = run(folder, "basicsr.test", "-opt", write_options(folder, content, "test.yml"))
    assert tested.returncode == 0, tested.stderr
    pictures = folder / "results" / "tiny" / "visualization"
    assert sorted(p.name for p in (pictures / "held-out").iterdir()) == ["0_tiny.png", "1_tiny.png", "2_tiny.png"]
    assert cv2.imread(str(pictures / "held-out" / "0_tiny.png")).shape == (60, 70, 3)
    rows = list(csv.DictReader((folder / "results" / "tiny" / "images.csv").open()))
    assert [row["image"] for row in rows] == ["0", "1", "2"]
    table = (folder / "results" / "tiny" / "table.md").read_text()
    assert table in tested.stderr
    assert f"| {float(logged(resumed, '# psnr')[-1]):.4f} |" in table
    assert (pictures / "held-out_tiny.png").is_file()

    shared = torchrun(folder, "basicsr.test", "-opt", "test.yml", "--launcher", "pytorch", "--force_yml", "name=shared")
    assert shared.returncode == 0, shared.stderr
    assert (folder / "results" / "shared" / "table.md").read_text() == table
    assert len(list((folder / "results" / "shared" / "visualization" / "held-out").iterdir())) == 3


def test_two_processes_are_one_run_on_the_joined_batch(folder: Path) -> None:
    single = run(folder, "basicsr.train", "-opt", "run.yml")
    double = torchrun(folder, "basicsr.train", "-opt", "run.yml", "--launcher", "pytorch", "--force_yml", "name=double")
    assert double.returncode == 0, double.stderr
    one, two = (folder / "experiments" / name / "models" / "net_g_3.pth" for name in ("tiny", "double"))
    assert same(one, two, atol=5e-6)
    assert logged(single, "l_total")[:3] == logged(double, "l_total")[:3]
    assert len(logged(double, "# psnr")) == 2  # sharded, reported once
    assert logged(single, "# psnr")[0] == logged(double, "# psnr")[0]


def test_gradients_accumulate_to_the_whole_batch(folder: Path) -> None:
    content = options()
    content["train"] |= {"micro_batch_size": 3, "ema_decay": 0}
    content["val"]["val_freq"] = 100
    # Plain gradient descent: Adam would hide a wrong scale.
    content["train"]["optim_g"] = {"type": "SGD", "lr": 0.1}
    write_options(folder, content, "parts.yml")
    content["train"].pop("micro_batch_size")
    write_options(folder, content | {"name": "whole"}, "whole.yml")
    for name in ("parts.yml", "whole.yml"):
        assert run(folder, "basicsr.train", "-opt", name).returncode == 0
    one, two = (folder / "experiments" / name / "models" / "net_g_3.pth" for name in ("tiny", "whole"))
    assert same(one, two, atol=1e-6)


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
def test_a_picture_that_breaks_in_mid_training_is_named(folder: Path, workers: int) -> None:
    assert run(folder, "basicsr.train", "-opt", "run.yml", "--force_yml", "train:total_iter=3").returncode == 0
    network = folder / "experiments" / "tiny" / "models" / "net_g_3.pth"
    content = network.read_bytes()
    picture = folder / "data" / "train" / "input" / "4.png"
    picture.write_bytes(picture.read_bytes()[:-300])
    opt = options()
    opt["datasets"]["train"]["num_worker_per_gpu"] = workers
    done = run(folder, "basicsr.train", "-opt", write_options(folder, opt), "--auto_resume")
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


def test_a_broken_newest_checkpoint_is_passed_over(folder: Path) -> None:
    assert run(folder, "basicsr.train", "-opt", "run.yml").returncode == 0
    state = folder / "experiments" / "tiny" / "training_states" / "6.state"
    state.write_bytes(state.read_bytes()[:100])
    done = run(folder, "basicsr.train", "-opt", "run.yml", "--auto_resume")
    assert done.returncode == 0
    assert "6.state cannot be read" in done.stderr
    assert "iter: 3." in done.stderr
