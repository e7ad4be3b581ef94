"""The shipped configs are the recipes of the YAML files, read by mmengine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper

from mprnet_plugin.hosts.basicsr.command_line import read_options
from mprnet_plugin.hosts.mmengine.registry import MODELS, PARAM_SCHEDULERS
from mprnet_plugin.hosts.mmengine.schedule import tell_length
from mprnet_plugin.shipped_options import main, shipped
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.training.options import StepOptions
from tests.helpers import ROOT, VECTORS

RECIPES = {
    "Deblurring": "mprnet_deblur_gopro",
    "Denoising": "mprnet_denoise_sidd",
    "Deraining": "mprnet_derain_rain13k",
}
PAIRS = {
    **{RECIPES[task.name]: (f"train_MPRNet_{task.recipe}", f"test_MPRNet_{task.recipe}") for task in TASKS.values()},
    **{
        f"quickstart_{task.short}": (f"quickstart_{task.short}", f"quickstart_{task.short}_test")
        for task in TASKS.values()
    },
}
"""Config to the options files, for training and testing, of the same recipe."""
LENGTH = {"Deblurring": 132, "Denoising": 6000, "Deraining": 857}
"""Iterations in which 16 at a time go through 2,103 pairs, 96,000 patches, 13,712 pairs."""
configs = pytest.mark.parametrize("name", PAIRS)
STEP = tuple(StepOptions.model_fields)
SET = ("dataroot_lq", "dataroot_gt", "gt_size", "augment", "center_crop", "dtype", "type")


@contextlib.contextmanager
def hub_that_knows(iters_per_epoch: int, total_iter: int) -> Iterator[None]:
    hub = MessageHub.get_current_instance()
    tell_length(hub, iters_per_epoch, total_iter)
    yield
    for name in ("iters_per_epoch", "total_iter"):
        hub.pop_info(name)


def config(name: str) -> Any:
    return Config.fromfile(ROOT / "options" / "mmengine" / f"{name}.py").to_dict()


def yaml(name: str) -> dict[str, Any]:
    return read_options(str(ROOT / "options" / f"{name}.yml"))


def picked(section: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: section[name] for name in names if section.get(name) is not None}


def test_each_config_has_a_recipe_and_each_recipe_a_config() -> None:
    assert {path.stem for path in (ROOT / "options" / "mmengine").glob("*.py")} == set(PAIRS)


@configs
def test_training_is_that_of_the_options_file(name: str) -> None:
    ours, theirs = config(name), yaml(PAIRS[name][0])
    model, train = ours["model"], theirs["train"]
    assert model["generator"] == theirs["network_g"]
    assert model["pixel_loss"] == train["pixel_opt"]
    assert model.get("edge_loss") == train.get("edge_opt")
    assert {"precision": "fp32", **picked(model, STEP)} == {"precision": "fp32", **picked(train, STEP)}
    assert ours["train_cfg"]["max_iters"] == train["total_iter"]
    optimizer = ours["optim_wrapper"]["optimizer"]
    assert {**optimizer, "betas": list(optimizer["betas"])} == train["optim_g"]
    assert ours["param_scheduler"] == train["scheduler"]
    assert ours["randomness"]["seed"] == theirs["manual_seed"]
    loader, section = ours["train_dataloader"], theirs["datasets"]["train"]
    assert (loader["batch_size"], loader["num_workers"]) == (section["batch_size"], section["num_worker_per_gpu"])
    assert loader["dataset"]["name"] == section["name"]
    assert picked(loader["dataset"], SET) == picked(section, SET)


@configs
def test_validation_is_that_of_the_options_file(name: str) -> None:
    ours, theirs = config(name), yaml(PAIRS[name][0])
    dataset, section = ours["val_dataloader"]["dataset"], theirs["datasets"]["val"]
    assert dataset["phase"] == "val"
    assert picked(dataset, (*SET, "name")) == picked(section, (*SET, "name"))
    assert ours["val_evaluator"] == {"type": "RestorationMetric", "protocol": section["protocol"]}
    assert ours["train_cfg"]["val_interval"] == theirs["val"]["val_freq"]
    saved = ours["default_hooks"]["checkpoint"]
    assert saved["interval"] == theirs["logger"]["save_checkpoint_freq"]
    assert saved["save_best"] == f"{section['name']}/psnr"
    assert saved["max_keep_ckpts"] == theirs["logger"].get("keep_checkpoints", 3)
    assert ours["default_hooks"]["logger"]["interval"] == theirs["logger"]["print_freq"]


@configs
def test_test_sets_are_those_of_the_options_file(name: str) -> None:
    ours, sections = config(name), list(yaml(PAIRS[name][1])["datasets"].values())
    loaders, metrics = ours["test_dataloader"], ours["test_evaluator"]
    loaders, metrics = (one if isinstance(one, list) else [one] for one in (loaders, metrics))
    names = ("name", "optional", *SET)
    assert [picked(loader["dataset"], names) for loader in loaders] == [picked(section, names) for section in sections]
    assert [metric["protocol"] for metric in metrics] == [section["protocol"] for section in sections]


@configs
def test_the_model_is_built(name: str) -> None:
    model = MODELS.build(config(name)["model"])
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("task", TASKS)
def test_learning_rate_of_every_epoch(task: str) -> None:
    content = config(RECIPES[task])
    section = content["param_scheduler"]
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    wrapper = OptimWrapper(torch.optim.Adam(parameters, lr=content["optim_wrapper"]["optimizer"]["lr"]))
    # One step an epoch stands for all of an epoch, in which the rate is constant.
    epochs, rest = divmod(content["train_cfg"]["max_iters"], LENGTH[task])
    assert rest == 0
    with hub_that_knows(1, epochs):
        scheduler = PARAM_SCHEDULERS.build({**section, "optimizer": wrapper})
    rates = []
    with np.load(VECTORS / "lr_per_epoch.npz") as vectors:
        expected = vectors[task.lower()]
    for _ in expected:
        rates += wrapper.get_lr()["lr"]
        wrapper.step()
        scheduler.step()
    # As in the recipes' test: the vector was stepped through chained schedules.
    np.testing.assert_allclose(rates, expected, rtol=2e-4)
    assert epochs == len(expected)


def test_a_copy_finds_its_base_and_says_how_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mprnet_deblur_gopro"]) == 0
    assert "python -m mprnet_plugin.hosts.mmengine.train mprnet_deblur_gopro.py" in capsys.readouterr().out
    copied = Config.fromfile("mprnet_deblur_gopro.py")
    assert copied.to_dict() == Config.fromfile(shipped()["mprnet_deblur_gopro.py"]).to_dict()
