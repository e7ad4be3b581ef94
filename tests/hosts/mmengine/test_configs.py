"""The configs for mmengine's runner are the recipes for BasicSR: every number of the one against the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from torch import nn
from torch.optim import Adam

from mprnet_plugin.hosts.mmengine import registry
from mprnet_plugin.shipped_options import shipped
from mprnet_plugin.tasks import TASKS
from tests.helpers import ROOT, VECTORS
from tests.test_recipes import options

CONFIGS = {
    "Deblurring": "mprnet_deblur_gopro.py",
    "Denoising": "mprnet_denoise_sidd.py",
    "Deraining": "mprnet_derain_rain13k.py",
}
tasks = pytest.mark.parametrize("task", TASKS)


def config(task: str) -> Any:
    return Config.fromfile(ROOT / "options" / "mmengine" / CONFIGS[task])


def plain(section: Any) -> dict[str, Any]:
    """Return a section with lists for tuples, as YAML has them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dict(section).items()}


def test_every_config_ships_and_reads() -> None:
    names = {name for name in shipped() if name.endswith(".py")}
    assert names == {*CONFIGS.values(), "quickstart_deblur.py", "quickstart_denoise.py", "quickstart_derain.py"}
    for name in names:
        assert Config.fromfile(shipped()[name]).default_scope == "mprnet"


@tasks
def test_network_and_step(task: str) -> None:
    model, recipe = config(task).model, options(task)
    train = recipe["train"]
    assert plain(model.generator) == recipe["network_g"]
    assert plain(model.pixel_loss) == train["pixel_opt"]
    assert (plain(model.edge_loss) if "edge_loss" in model else None) == train.get("edge_opt")
    for name, default in (("clamp_output", False), ("mixup", None), ("micro_batch_size", None), ("precision", "fp32")):
        assert model.get(name, default) == train.get(name, default), name


@tasks
def test_optimiser_schedule_and_length(task: str) -> None:
    content, train = config(task), options(task)["train"]
    optimizer = {"eps": 1e-8, "weight_decay": 0}
    assert {**optimizer, **plain(content.optim_wrapper.optimizer)} == {**optimizer, **train["optim_g"]}
    assert content.optim_wrapper.type == "OptimWrapper"
    assert "clip_grad" not in content.optim_wrapper
    assert content.train_cfg.max_iters == train["total_iter"]
    assert plain(content.param_scheduler) == train["scheduler"]
    assert content.train_cfg.val_interval == options(task)["val"]["val_freq"]


@tasks
def test_learning_rate_of_every_epoch(task: str) -> None:
    section = config(task).param_scheduler
    optimizer = Adam(nn.Linear(1, 1).parameters(), lr=config(task).optim_wrapper.optimizer.lr)
    scheduler = registry.PARAM_SCHEDULERS.build(dict(section), default_args={"optimizer": optimizer})

    def rate(step: int) -> float:
        scheduler.last_step = step
        (value,) = scheduler._get_value()
        return float(value)

    with np.load(VECTORS / "lr_per_epoch.npz") as vectors:
        expected = vectors[task.lower()]
    rates = [rate(epoch * section.iters_per_epoch) for epoch in range(len(expected))]
    np.testing.assert_allclose(rates, expected, rtol=2e-4)


@tasks
def test_data(task: str) -> None:
    content, datasets = config(task), options(task)["datasets"]
    loader, train = content.train_dataloader, datasets["train"]
    assert loader.batch_size == train["batch_size"]
    for name in ("dataroot_lq", "dataroot_gt", "gt_size", "augment", "dtype"):
        assert loader.dataset[name] == train[name], name
    (validated,) = (section for name, section in datasets.items() if name.startswith("val"))
    for name in ("dataroot_lq", "dataroot_gt", "center_crop"):
        assert content.val_dataloader.dataset[name] == validated[name], name
    assert content.val_evaluator.protocol == TASKS[task].protocol
