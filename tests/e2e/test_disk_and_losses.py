"""What people who train ask for, in one short run by the real command: files that stay, losses, an early end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mprnet_plugin.weights.checkpoint import load_state_dict
from tests.e2e.tiny_run import logged_numbers, models, options, same, weights
from tests.helpers import run, write_options

pytestmark = pytest.mark.slow

TRAIN = ("basicsr.train", "-opt", "run.yml")


def many_options() -> dict[str, Any]:
    content = options()
    del content["train"]["pixel_opt"], content["train"]["edge_opt"]
    content["train"] |= {
        "total_iter": 30,
        "losses": [
            {"type": "L1Loss", "weight": 2},
            {"type": "PSNRLoss", "weight": 0.01, "stages": [3]},
            {"type": "L1Loss", "weight": 0.5, "loss_weight": 2, "stages": [1, 2]},
        ],
        "perceptual_opt": {"type": "MSELoss"},  # VGG's weights are not here; any loss may stand there
        "ema_decay": 0.9,
        "ema_warmup": True,
        "scheduler": {"type": "OneCycleLR", "max_lr": 1e-3, "total_steps": 30},
    }
    # Nothing improves by 100 dB: the second validation and the third are no better than the first.
    content["val"] |= {"val_freq": 2, "early_stopping": {"patience": 2, "min_delta": 100}}
    content["logger"] |= {"save_checkpoint_freq": 2, "keep_checkpoints": 1, "keep_every": 4}
    content["logger"] |= {"save_best": "val/psnr", "safetensors": True}
    return content


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in models(folder).iterdir())


def psnr(folder: Path) -> dict[int, float]:
    lines = (models(folder).parent / "validations.jsonl").read_text().splitlines()
    return {(record := json.loads(line))["iter"]: record["scores"]["psnr"] for line in lines}


def test_a_run_with_many_options_ends_early_and_goes_on(folder: Path) -> None:
    write_options(folder, many_options())
    done = run(folder, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "of this run" in done.stderr
    assert "the newest 1 and every 4th iteration's stay, older ones are deleted" in done.stderr
    l1, second = logged_numbers(done, "l_L1Loss_stage1"), logged_numbers(done, "l_L1Loss_2_stage1")
    assert l1 == pytest.approx([2 * value for value in second], rel=1e-3)
    assert logged_numbers(done, "l_PSNRLoss_stage3")
    assert logged_numbers(done, "l_percep_stage1")
    for absent in ("l_PSNRLoss_stage1", "l_L1Loss_2_stage3", "l_pix"):
        assert absent not in done.stderr
    ended = [line for line in done.stderr.splitlines() if "Stopped early" in line]
    assert len(ended) == 1
    assert (
        f"at iteration 6 of 30: the last 2 validations of val were not better than psnr {psnr(folder)[2]:.4f} of"
        in ended[0]
    )
    best = ["net_g_best.pth", "net_g_best.safetensors"]
    latest = ["net_g_latest.pth", "net_g_latest.safetensors"]
    assert left(folder) == sorted([*best, *latest, "net_g_4.pth", "net_g_6.pth"])
    states = models(folder).parent / "training_states"
    assert sorted(path.name for path in states.iterdir()) == ["4.state", "6.state"]
    assert same(models(folder) / "net_g_latest.pth", models(folder) / "net_g_6.pth")

    again = run(folder, *TRAIN, "--auto_resume")  # nothing more is trained
    assert again.returncode == 0, again.stderr
    assert [line.partition("Stopped")[2] for line in again.stderr.splitlines() if "Stopped early" in line] == [
        ended[0].partition("Stopped")[2]
    ]
    assert left(folder) == sorted([*best, *latest, "net_g_4.pth", "net_g_6.pth"])
    assert "l_total" not in again.stderr

    more = ("val:early_stopping=~", "train:total_iter=10")
    assert run(folder, *TRAIN, "--auto_resume", "--force_yml", *more).returncode == 0
    straight = run(
        folder, *TRAIN, "--force_yml", *more, "name=straight", "logger:keep_checkpoints=~", "logger:keep_every=~"
    )
    assert straight.returncode == 0, straight.stderr
    reference = models(folder, "straight")
    assert left(folder) == sorted([*best, *latest, "net_g_10.pth", "net_g_4.pth", "net_g_8.pth"])
    for name in ("net_g_10.pth", "net_g_latest.pth"):  # schedule, average and deletions: to the last bit
        assert same(models(folder) / name, reference / name)
    check_best(folder, reference)


def check_best(folder: Path, reference: Path) -> None:
    found = torch.load(models(folder) / "net_g_best.pth", weights_only=True)
    scores = psnr(folder)
    iteration = max(scores, key=scores.__getitem__)
    assert found.pop("best") == {
        "dataset": "val",
        "metric": "psnr",
        "value": scores[iteration],
        "iter": iteration,
        "lower_is_better": False,
    }
    expected = weights(reference / f"net_g_{iteration}.pth")
    flat = {f"{group}/{key}": value for group, values in found.items() for key, value in values.items()}
    assert flat.keys() == expected.keys()
    assert all(torch.equal(flat[key], expected[key]) for key in flat)
    shared = load_state_dict(models(folder) / "net_g_best.safetensors")
    assert all(torch.equal(value, expected[f"params_ema/{key}"]) for key, value in shared.items())
