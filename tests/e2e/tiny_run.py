"""A training of six iterations on small pictures, for the tests of the host's commands, and what it leaves behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from tests.helpers import TINY, Done, write_options, write_pairs


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


def make_folder(folder: Path) -> Path:
    write_pairs(folder / "data" / "train", 6)
    write_pairs(folder / "data" / "test", 3)  # no side is a multiple of 8
    write_options(folder, options())
    return folder


def weights(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, dict[str, torch.Tensor]] = torch.load(path, weights_only=True)
    return {f"{group}/{key}": value for group, values in content.items() for key, value in values.items()}


def same(one: Path, two: Path) -> bool:
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def distance(one: Path, two: Path) -> float:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    return float(torch.stack([(first[k].double() - second[k].double()).square().sum() for k in first]).sum().sqrt())


def assert_same_descent(models: Path, reference: Path, iteration: int = 3) -> None:
    """Weights after some steps differ by a thousandth, at most, of what three steps of the reference change.

    Rounding, different on every processor and for every batch size, explains some 1e-5 of that; a gradient of
    another scale, or of other pictures, gives more than a tenth.
    """
    learnt = distance(reference / "net_g_3.pth", reference / "net_g_6.pth")
    assert learnt > 0
    assert distance(models / f"net_g_{iteration}.pth", reference / f"net_g_{iteration}.pth") < 1e-3 * learnt


def models(folder: Path, name: str = "tiny") -> Path:
    return folder / "experiments" / name / "models"


def logged(done: Done, key: str) -> list[str]:
    return re.findall(rf"{re.escape(key)}: *\(?([-+.e\d]+)", done.stderr)


def logged_numbers(done: Done, key: str) -> list[float]:
    return [float(text) for text in logged(done, key)]
