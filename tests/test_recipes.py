"""The shipped recipes are the published ones: every number of options/train_MPRNet_*.yml against the paper's.

Figures: Zamir et al., CVPR 2021, and the configuration that the authors trained with.
"""

from __future__ import annotations

import copy
import inspect
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from lmdb_tools import realblur
from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.hosts.basicsr.command_line import read_options
from mprnet_plugin.losses.edge import EdgeLoss
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.training import schedules
from mprnet_plugin.training.schedules import WarmupCosineLR
from tests.helpers import ROOT, VECTORS

Yaml = dict[str, Any]


class Published(NamedTuple):
    """A task's row of the paper's table; what all three share stands in the tests."""

    pairs: int
    epochs: int
    patch: int
    cosine_epochs: int
    augment: str
    weight_decay: float
    edge: bool
    clamp: bool
    mixup: tuple[float, int] | None
    """Alpha, and the epoch that begins it, counted from 1."""
    validation: tuple[float, int]
    """Epochs between validations, and the side of the centre crop."""


RECIPES = {
    "Deblurring": Published(2_103, 3_000, 256, 2_997, "geometric_saturation", 0, True, False, None, (20, 256)),
    # 300 random patches of each of SIDD's 320 pictures.
    "Denoising": Published(320 * 300, 80, 128, 117, "geometric", 1e-8, False, True, (0.6, 6), (1 / 3, 256)),
    "Deraining": Published(13_712, 250, 256, 247, "geometric", 0, True, False, None, (5, 128)),
}
BATCH = 16


def options(task: str, kind: str = "") -> Yaml:
    return read_options(str(ROOT / "options" / f"train_MPRNet_{TASKS[task].recipe}{kind}.yml"))


def iterations_per_epoch(task: str, batch: int = BATCH) -> int:
    """As the authors' loader counts them: the last, smaller batch is one too."""
    return math.ceil(RECIPES[task].pairs / batch)


def schedule(task: str) -> Yaml:
    """The recipe's schedule, with the numbers that a run over the published data puts in for auto."""
    train = options(task)["train"]
    section = {name: value for name, value in train["scheduler"].items() if name != "type"}
    assert train["scheduler"]["type"] == "WarmupCosineLR"
    assert section["iters_per_epoch"] == "auto"
    return schedules.with_numbers(section, train["total_iter"], iterations_per_epoch(task))


def build(section: Yaml, where: object, *arguments: object) -> Any:
    """Build a part as the host does: by its type's name, from everything else in the section."""
    return getattr(where, section["type"])(
        *arguments, **{key: value for key, value in section.items() if key != "type"}
    )


tasks = pytest.mark.parametrize("task", TASKS)


VARIANTS: dict[str, Yaml] = {
    "Deblur_light": {"network_g": {"type": "MPRNet", **PRESETS["Deblurring-light"]}, "micro_batch_size": 4},
    "RealBlur": {"total_iter": 36_700},
}
"""Recipes that are another one's but for this, and for their data."""


def test_there_is_a_recipe_for_each_task_and_a_fast_one_and_no_other() -> None:
    assert RECIPES.keys() == TASKS.keys()
    tasks = [f"{task.recipe}{kind}" for task in TASKS.values() for kind in ("", "_fast", "_robust")]
    names = {f"train_MPRNet_{name}.yml" for name in [*tasks, *VARIANTS]}
    assert {path.name for path in (ROOT / "options").glob("train_*.yml")} == names


@pytest.mark.parametrize("name", list(VARIANTS))
def test_variants_differ_from_deblurring_in_what_they_say_only(name: str) -> None:
    def flat(value: object, path: str = "") -> Yaml:
        if path == "network_g" or not isinstance(value, dict):
            return {path: value}
        return {key: one for inner, section in value.items() for key, one in flat(section, inner).items()}

    variant = read_options(str(ROOT / "options" / f"train_MPRNet_{name}.yml"))
    ours, theirs = (flat({key: one[key] for key in ("network_g", "train")}) for one in (variant, options("Deblurring")))
    assert {key: value for key, value in ours.items() if value != theirs.get(key)} == VARIANTS[name]
    assert theirs.keys() == ours.keys()
    train, base = variant["datasets"]["train"], options("Deblurring")["datasets"]["train"]
    assert [train[key] for key in ("gt_size", "augment", "batch_size")] == [
        base[key] for key in ("gt_size", "augment", "batch_size")
    ]


def test_realblur_is_a_hundred_epochs_of_what_its_converter_counts() -> None:
    pairs = {part.name: part.published for part in realblur.PARTS}["RealBlur_J_train"] + RECIPES["Deblurring"].pairs
    assert VARIANTS["RealBlur"]["total_iter"] == 100 * math.ceil(pairs / BATCH)


@tasks
def test_the_fast_recipe_differs_in_speed_alone(task: str) -> None:
    exact, fast = options(task), options(task, "_fast")
    assert fast.pop("name") == exact.pop("name") + "_fast"
    assert fast["train"].pop("channels_last") is True
    assert fast["train"]["optim_g"].pop("fused") is True
    assert fast == exact
    text = (ROOT / "options" / f"train_MPRNet_{TASKS[task].recipe}_fast.yml").read_text(encoding="utf-8")
    assert f"basicsr.train -opt options/train_MPRNet_{TASKS[task].recipe}_fast.yml" in text


@tasks
def test_network_is_the_preset(task: str) -> None:
    assert options(task)["network_g"] == {"type": "MPRNet", **TASKS[task].widths}


@tasks
def test_length_is_the_epochs_of_the_data(task: str) -> None:
    train, per_epoch = options(task)["train"], iterations_per_epoch(task)
    assert train["total_iter"] == RECIPES[task].epochs * per_epoch
    assert schedule(task)["iters_per_epoch"] == per_epoch


@tasks
def test_learning_rate_of_every_epoch(task: str) -> None:
    """The YAML's own scheduler and optimiser, set to the first and the last iteration of each epoch."""
    train = options(task)["train"]
    optimizer = build(train["optim_g"], torch.optim, nn.Linear(1, 1).parameters())
    scheduler = WarmupCosineLR(optimizer, **schedule(task))
    per_epoch = iterations_per_epoch(task)

    def rate(step: int) -> float:
        scheduler.last_epoch = step  # torch's name for the number of steps
        (value,) = scheduler.get_lr()
        return float(value)

    with np.load(VECTORS / "lr_per_epoch.npz") as vectors:
        expected = vectors[task.lower()]
    epochs = RECIPES[task].epochs
    assert len(expected) == epochs
    # The vector was stepped through chained schedules, whose recursive cosine starts up to 1.8e-4 of it too high.
    np.testing.assert_allclose([rate(epoch * per_epoch) for epoch in range(epochs)], expected, rtol=2e-4)
    assert all(rate(epoch * per_epoch) == rate((epoch + 1) * per_epoch - 1) for epoch in range(epochs))
    assert schedule(task)["cosine_epochs"] == RECIPES[task].cosine_epochs
    assert train.get("warmup_iter", -1) == -1  # the host's own warm-up would come on top


@tasks
def test_optimiser(task: str) -> None:
    common = {"type": "Adam", "lr": 2e-4, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}
    section = {"weight_decay": 0, **options(task)["train"]["optim_g"]}
    assert section == {**common, "weight_decay": RECIPES[task].weight_decay}


@tasks
def test_losses(task: str) -> None:
    train, recipe = options(task)["train"], RECIPES[task]
    # The host does not square its eps: 1e-6 is the paper's 1e-3.
    assert train["pixel_opt"] == {"type": "CharbonnierLoss", "loss_weight": 1.0, "reduction": "mean", "eps": 1e-3**2}
    assert train.get("edge_opt") == ({"type": "EdgeLoss", "loss_weight": 0.05} if recipe.edge else None)
    assert train.get("clamp_output", False) is recipe.clamp
    assert {name for name in train if name.endswith("_opt")} <= {"pixel_opt", "edge_opt"}
    assert inspect.signature(EdgeLoss).parameters["eps"].default == 1e-3


@tasks
def test_mixup(task: str) -> None:
    mixup, published = options(task)["train"].get("mixup"), RECIPES[task].mixup
    if published is None:
        assert mixup is None
    else:
        alpha, epoch = published
        first = (epoch - 1) * iterations_per_epoch(task) + 1  # iterations count from 1
        assert mixup == {"alpha": alpha, "start_iter": first}


@tasks
def test_batches(task: str) -> None:
    train, recipe = options(task)["datasets"]["train"], RECIPES[task]
    assert train["batch_size"] == BATCH
    assert train["gt_size"] == recipe.patch
    assert train["augment"] == recipe.augment
    assert train.get("dataset_enlarge_ratio", 1) == 1
    assert options(task)["train"].get("ema_decay", 0) == 0
    assert not {"grad_clip", "losses", "perceptual_opt"} & options(task)["train"].keys()


@tasks
def test_validation(task: str) -> None:
    content, (epochs, crop) = options(task), RECIPES[task].validation
    assert content["val"]["val_freq"] == round(epochs * iterations_per_epoch(task))
    (validated,) = (section for name, section in content["datasets"].items() if name.startswith("val"))
    assert validated["center_crop"] == crop
    assert validated["protocol"] == TASKS[task].protocol


@tasks
def test_checkpoints_do_not_fill_the_disk(task: str) -> None:
    """With the options for the disk a run ends with the same weights: tests/e2e/test_disk_and_losses.py."""
    logger = options(task)["logger"]
    assert (logger["keep_checkpoints"], logger["save_best"]) == (3, "psnr")
    assert (
        logger["save_checkpoint_freq"] == options(task)["val"]["val_freq"]
    )  # else the best would be of another iteration


@tasks
def test_the_robust_recipe_is_the_published_one_but_for_what_it_says(task: str) -> None:
    """Gradients clipped as its authors advise, a moving average, and batches of 4 with all that follows from them."""
    batch, epochs = 4, RECIPES[task].epochs
    expected, per_epoch = copy.deepcopy(options(task)), iterations_per_epoch(task, batch)
    expected["name"] += "_robust"
    expected["datasets"]["train"]["batch_size"] = batch
    train = expected["train"]
    train |= {"grad_clip": 0.01, "ema_decay": 0.999, "ema_warmup": True}
    train |= {"total_iter": epochs * per_epoch, "micro_batch_size": min(train["micro_batch_size"], batch)}
    share = math.sqrt(batch / BATCH)  # Adam's rate for another batch (Malladi et al., NeurIPS 2022)
    train["optim_g"]["lr"] *= share
    train["scheduler"]["eta_min"] *= share
    if "mixup" in train:
        first_epoch = train["mixup"]["start_iter"] // iterations_per_epoch(task)
        train["mixup"]["start_iter"] = first_epoch * per_epoch + 1
    frequency = round(RECIPES[task].validation[0] * per_epoch)
    expected["val"]["val_freq"] = expected["logger"]["save_checkpoint_freq"] = frequency
    assert options(task, "_robust") == expected
