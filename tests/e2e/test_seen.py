"""What a run lets see, in one short training with every option of it, gone on with by two processes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.e2e.tiny_run import make_folder, models, options
from tests.helpers import Done, run, write_options
from tests.stand_ins import write_stand_ins

pytestmark = pytest.mark.slow
AUTO = {"type": "WarmupCosineLR", "warmup_epochs": 1, "eta_min": 1e-6}


def seen_options() -> dict[str, Any]:
    content = options()
    content["train"] |= {"scheduler": AUTO, "ema_decay": 0}
    content["datasets"]["val"] |= {
        "protocol": "gopro",
        "metrics": {"lpips": {"type": "pyiqa", "name": "lpips"}, "niqe": {"type": "pyiqa", "name": "darkness"}},
    }
    content["val"] = {"val_freq": 3, "grid_names": ["2", "1", "nobody"], "tile": 64, "tile_overlap": 16}
    content["logger"]["wandb"] = {"project": "seen"}
    return content


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = make_folder(tmp_path_factory.mktemp("seen"))
    write_options(folder, seen_options())
    done = run(folder, "basicsr.train", "-opt", "run.yml", PYTHONPATH=write_stand_ins(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


def rates(done: Done) -> list[str]:
    return re.findall(r"lr:\(([-+.e\d]+)", done.stderr)


def inputs(done: Done) -> list[tuple[str, str]]:
    return re.findall(r"# (\w+): .*input ([-\d.]+):", done.stderr)


def test_the_log_says_how_it_begins_and_how_it_goes(seen: tuple[Path, Done]) -> None:
    folder, done = seen
    assert "(1 epochs of 2) to 0.001, then a cosine to 1e-06 at iteration 6, with the run" in done.stderr
    assert rates(done)[:3] == ["1.000e-03"] * 3  # a warm-up of one epoch has one rate, the full one
    assert float(rates(done)[-1]) < 6e-4  # 7e-4 and less: it follows the run of six iterations
    assert re.search(
        r"settings differ from the shipped recipe \S+\.yml:\n(    .*\n)*    train:total_iter: 6 ", done.stderr
    )
    for name in ("images_per_s", "wait_s", "memory_gb"):
        assert len(re.findall(rf"{name}: \d", done.stderr)) == 6
    (row,) = re.findall(r"# psnr: ([\d.]+) \(best [\d.]+ @ 6\), input ([\d.]+): ([-+][\d.]+)", done.stderr)
    assert float(row[0]) - float(row[1]) == pytest.approx(float(row[2]), abs=2e-4)
    assert [name for name, _ in inputs(done)] == ["psnr", "ssim", "lpips", "niqe"] * 2
    assert inputs(done)[:4] == inputs(done)[4:]
    assert done.stderr.count("val:grid_names: val has no nobody") == 1
    assert json.loads((folder / "wandb.json").read_text()) == {
        "project": "seen",
        "name": "tiny",
        "sync_tensorboard": True,
    }


def test_the_degraded_pictures_score_is_theirs(seen: tuple[Path, Done]) -> None:
    folder, done = seen
    errors = []
    for number in range(3):
        pair = [cv2.imread(str(folder / "data" / "test" / side / f"{number}.png")) for side in ("input", "target")]
        errors.append(float(np.mean((pair[0].astype(float) - pair[1]) ** 2)))  # type: ignore[union-attr]
    psnr = np.mean([10 * np.log10(255**2 / error) for error in errors])
    assert float(dict(inputs(done))["psnr"]) == pytest.approx(psnr, abs=1e-4)
    records = [json.loads(line) for line in (folder / "experiments/tiny/validations.jsonl").read_text().splitlines()]
    assert [record["iter"] for record in records] == [3, 6]
    assert records[0]["input"] == records[1]["input"]
    assert records[0]["lower_is_better"] == ["lpips", "niqe"]


def test_tensorboard_has_the_curves(seen: tuple[Path, Done]) -> None:
    folder, done = seen
    events = EventAccumulator(str(folder / "tb_logger" / "tiny")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"lr", "images_per_s", "wait_s", "memory_gb", "metrics/val/psnr", "metrics/val/psnr_gain"} <= tags
    assert [f"{event.value:.3e}" for event in events.Scalars("lr")] == rates(done)
    assert "val/val" in events.Tags()["images"]


def test_two_processes_go_on_with_the_rates_and_show_the_same_pictures(seen: tuple[Path, Done], tmp_path: Path) -> None:
    folder, done = seen
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (models(tmp_path) / "net_g_6.pth").unlink()
    grid = tmp_path / "experiments" / "tiny" / "visualization" / "val_6.png"
    before = cv2.imread(str(grid))
    grid.unlink()
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    train = ("basicsr.train", "-opt", "run.yml", "--launcher", "pytorch", "--auto_resume")
    two = run(tmp_path, *train, launcher=launcher, PYTHONPATH=str(tmp_path / "packages"))
    assert two.returncode == 0, two.stderr[-3000:]
    assert rates(two) == rates(done)[3:]
    assert inputs(two) == inputs(done)[4:]
    after = cv2.imread(str(grid))
    assert before is not None
    assert after is not None
    assert before.shape == after.shape == (2 * (60 + 4), 3 * 70, 3)  # the two that are named
    assert np.array_equal(before[:, :70], after[:, :70])  # the degraded ones, in the order of the set
    second = cv2.imread(str(tmp_path / "data" / "test" / "input" / "2.png"))
    assert second is not None
    assert np.array_equal(after[64:124, :70], second)
