"""One small recipe for both hosts: six pairs, patches of 16, thirty iterations."""

from __future__ import annotations

import pprint
from pathlib import Path
from typing import Any

from tests.helpers import TINY, write_options, write_pairs

ITERATIONS = 30
EPS = 1e-6
SET = "tiny-val"
ROOTS = {
    part: {"dataroot_lq": f"data/{part}/input", "dataroot_gt": f"data/{part}/target"} for part in ("train", "test")
}
TRAIN_SET: dict[str, Any] = {**ROOTS["train"], "gt_size": 16, "dtype": "uint8"}
SCHEDULE = {"warmup_epochs": 1, "eta_min": 1e-6}
"""An epoch of two iterations, and a cosine to the thirtieth, which each host finds out by itself."""
STEP: dict[str, dict[str, Any]] = {
    "deblur": {},
    "denoise": {"clamp_output": True, "mixup": {"alpha": 0.6, "start_iter": 4}},
}
AUGMENT = {"deblur": "geometric_saturation", "denoise": "geometric"}
PROTOCOL = {"deblur": "gopro", "denoise": "sidd"}
BATCH = 4


def write_data(folder: Path) -> Path:
    write_pairs(folder / "data" / "train", 6, (30, 36))
    write_pairs(folder / "data" / "test", 3, (30, 37))  # no side is a multiple of 8
    return folder


def basicsr_options(task: str) -> dict[str, Any]:
    """The recipe as BasicSR's options."""
    dataset = {"type": "PairedRestorationDataset"}
    edge = {"edge_opt": {"type": "EdgeLoss", "loss_weight": 0.05}} if task == "deblur" else {}
    return {
        "name": task,
        "model_type": "MPRNetModel",
        "manual_seed": 5,
        "datasets": {
            "train": {**dataset, **TRAIN_SET, "augment": AUGMENT[task], "batch_size": BATCH},
            "val": {**dataset, **ROOTS["test"], "name": SET, "dtype": "uint8", "protocol": PROTOCOL[task]},
        },
        "network_g": {"type": "MPRNet", **TINY},
        "train": {
            "total_iter": ITERATIONS,
            "optim_g": {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.999]},
            "scheduler": {"type": "WarmupCosineLR", **SCHEDULE},
            "pixel_opt": {"type": "CharbonnierLoss", "eps": EPS},
            **edge,
            **STEP[task],
        },
        "val": {"val_freq": 15},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 15},
    }


def config(task: str) -> dict[str, Any]:
    """The recipe as a config of mmengine."""
    edge = {"edge_loss": {"type": "EdgeLoss", "loss_weight": 0.05}} if task == "deblur" else {}
    dataset = {"type": "PairedRestorationDataset"}
    tested: dict[str, Any] = {**dataset, **ROOTS["test"], "name": SET, "dtype": "uint8"}
    loader: dict[str, Any] = {
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
    }
    metric = {"type": "RestorationMetric", "protocol": PROTOCOL[task]}
    return {
        "custom_imports": {"imports": ["mprnet_plugin.hosts.mmengine"], "allow_failed_imports": False},
        "randomness": {"seed": 5},
        "model": {
            "type": "MPRNetRestorer",
            "generator": {"type": "MPRNet", **TINY},
            "pixel_loss": {"type": "CharbonnierLoss", "eps": EPS},
            **edge,
            **STEP[task],
        },
        "train_dataloader": {
            "batch_size": BATCH,
            "num_workers": 0,
            "sampler": {"type": "EndlessSampler"},
            "collate_fn": {"type": "default_collate"},
            "dataset": {**dataset, **TRAIN_SET, "augment": AUGMENT[task]},
        },
        "train_cfg": {"type": "ResumableTrainLoop", "max_iters": ITERATIONS, "val_interval": 15},
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "Adam", "lr": 1e-3, "betas": (0.9, 0.999)}},
        "param_scheduler": {"type": "WarmupCosineLR", **SCHEDULE},
        "val_dataloader": {**loader, "dataset": {**tested, "phase": "val"}},
        "val_cfg": {"type": "ValLoop"},
        "val_evaluator": metric,
        "test_dataloader": [{**loader, "dataset": {**tested, "phase": "test"}}],
        "test_cfg": {"type": "MultiTestLoop"},
        "test_evaluator": [metric],
        "default_hooks": {
            "logger": {"type": "LoggerHook", "interval": 1},
            "checkpoint": {
                "type": "CheckpointHook",
                "by_epoch": False,
                "interval": 10,
                "save_best": f"{SET}/psnr",
                "rule": "greater",
            },
        },
        "custom_hooks": [{"type": "RestorationHook"}, {"type": "PicturesHook", "images": 2}],
        "visualizer": {
            "type": "Visualizer",
            "vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
        },
        "log_processor": {"by_epoch": False, "window_size": 1},
    }


def write_config(folder: Path, content: dict[str, Any], name: str) -> str:
    """Write a config and return its name."""
    lines = [f"{key} = {pprint.pformat(value, sort_dicts=False, width=110)}" for key, value in content.items()]
    (folder / name).write_text("\n".join(lines) + "\n")
    return name


def write_both(folder: Path, task: str) -> None:
    """Write ``TASK.yml`` and ``TASK.py``."""
    write_options(folder, basicsr_options(task), f"{task}.yml")
    write_config(folder, config(task), f"{task}.py")
