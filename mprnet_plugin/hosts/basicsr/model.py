"""The host's model for MPRNet: supervision of every stage, large batches in parts, sharded validation, whole files."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from mprnet_plugin.archs.any_size import restore_any_size
from mprnet_plugin.archs.local_pooling import MPRNetLocal, local_pooling
from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr import checkpoints
from mprnet_plugin.hosts.basicsr.metrics import scoring_of
from mprnet_plugin.hosts.basicsr.parts import optimizers, schedulers
from mprnet_plugin.metrics.protocols import Scores
from mprnet_plugin.training import grids, tables
from mprnet_plugin.training import validation as val
from mprnet_plugin.training.options import TrainOptions, ValOptions
from mprnet_plugin.training.step import TrainingStep, check_finite
from mprnet_plugin.weights.checkpoint import load_into, load_state_dict

HOST_KEYS = ("params", "params_ema")
"""Entries of a checkpoint that the host asks for of its own accord."""


class MPRNetModel(SRModel):  # type: ignore[misc]
    """Train and test a network that returns its stages' images, the final one first, or a single image.

    ``train`` and ``val`` take the options of :class:`~mprnet_plugin.training.options.TrainOptions` and
    :class:`~mprnet_plugin.training.options.ValOptions`; optimisers are any of ``torch.optim``.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self._best: dict[str, val.Best] = {}
        self._rows: list[tables.Row] = []
        self._iteration = 0
        super().__init__(opt)

    def print_network(self, net: nn.Module) -> None:
        """Log the network in one line, where the host prints every layer."""
        bare = self.get_bare_model(net)
        count = sum(parameter.numel() for parameter in bare.parameters())
        get_root_logger().info(f"Network {type(bare).__name__}: {count:,d} parameters, on {self.device}")

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load weights of any known form into ``net``, all or none.

        Raises:
            InputError: Not a checkpoint, or one of another network; names both.
        """
        if not strict:
            raise InputError("path:strict_load_g: false would leave layers untrained without a word: remove it")
        try:
            weights = load_state_dict(load_path, param_key)
        except InputError:
            if param_key not in HOST_KEYS:
                raise
            # The authors' files and safetensors have no such entry; a file that is broken says so again.
            weights = load_state_dict(load_path)
        load_into(self.get_bare_model(net), weights, load_path)
        get_root_logger().info(f"Loaded {load_path}")

    def init_training_settings(self) -> None:
        """Set up losses, optimiser, scheduler, the moving average and the optimisation step."""
        options = TrainOptions.read(self.opt["train"], "train")
        self._validated: dict[str, int] = {}
        super().init_training_settings()
        losses = {"l_pix": self.cri_pix}
        if options.edge_opt is not None:
            losses["l_edge"] = build_loss(options.edge_opt.model_dump()).to(self.device)
        self.step = TrainingStep(options, losses, self.opt["manual_seed"], self.opt["rank"], self.opt["world_size"])

    @property
    def val_options(self) -> ValOptions:
        """The options of validation and testing."""
        return ValOptions.read(self.opt.get("val") or {}, "val")

    def get_optimizer(self, optim_type: str, params: Any, lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Return an optimiser of ``torch.optim`` by name, where the host knows Adam only."""
        optimizer: torch.optim.Optimizer = optimizers()[optim_type](params, lr=lr, **kwargs)
        return optimizer

    def setup_schedulers(self) -> None:
        """Set up a schedule for each optimiser."""
        options = dict(self.opt["train"]["scheduler"])
        build = schedulers()[options.pop("type")]
        self.schedulers = [build(optimizer, **options) for optimizer in self.optimizers]

    def feed_data(self, data: dict[str, Any]) -> None:
        """Move a batch to the device; bytes become floats in [0, 1] there, a quarter of the traffic."""
        self.lq = self._to_device(data["lq"])
        if "gt" in data:
            self.gt = self._to_device(data["gt"])

    def _to_device(self, x: Tensor) -> Tensor:
        x = x.to(self.device, non_blocking=True)
        return x.float().div_(255) if x.dtype == torch.uint8 else x

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one optimiser step on the whole batch."""
        self._losses = self.step(self.net_g, self.optimizer_g, self.lq, self.gt, current_iter)
        self._iteration = current_iter
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Continue optimiser, schedule and best results; say so where the options ask for another schedule."""
        asked = [_settings(scheduler) for scheduler in self.schedulers]
        super().resume_training(resume_state)
        self._best = resume_state.get("best", {})
        for settings, scheduler in zip(asked, self.schedulers, strict=True):
            kept = {name: value for name, value in _settings(scheduler).items() if value != settings.get(name)}
            if kept:
                get_root_logger().warning(
                    f"The checkpoint's schedule goes on ({kept}), whatever the options say now; "
                    "path:pretrain_network_g starts another from its network"
                )

    def get_current_log(self) -> dict[str, float]:
        """Return the last step's losses, averaged over the processes, all of which call it when it is time to log.

        Raises:
            InputError: The loss is not finite, so nothing that follows would be of use.
        """
        log: dict[str, float] = self.reduce_loss_dict(self._losses)
        check_finite(log, self._iteration)
        return log

    def test(self) -> None:
        """Restore ``self.lq`` of any size into ``self.output``, by the moving average's network where there is one."""
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)
        training = net.training
        net.eval()
        options = self.val_options
        pooling = options.local_pooling
        local = local_pooling(net, **pooling.model_dump()) if pooling else contextlib.nullcontext()
        with torch.inference_mode(), local:
            self.output = restore_any_size(net, self.lq, options.self_ensemble)
        net.train(training)

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Restore and score a dataset, its images shared out over the processes.

        Args:
            dataloader: The host's loader; its dataset is read directly.
            current_iter: Iteration in training, the run's name in testing.
            tb_logger: TensorBoard writer, or None.
            save_img: Whether to write every restored image.
        """
        dataset, options = dataloader.dataset, self.val_options
        if self.is_train:
            # After the last iteration the host counts one more, and validates again what it has just validated.
            current_iter = min(current_iter, int(self.opt["train"]["total_iter"]))
            if self._validated.get(dataset.opt["name"]) == current_iter:
                return
            self._validated[dataset.opt["name"]] = current_iter
        scoring = scoring_of(dataset.opt, options)
        restore = functools.partial(self._restore, rounded=scoring.rounded)
        shown: list[val.Restored] = []

        def each(index: int, image: val.Restored) -> None:
            if len(shown) < options.grid_images:
                shown.append(image)
            if save_img:
                grids.write_png(image.result, self._picture_path(dataset.opt["name"], image.name, current_iter))
            if self._submits(dataset):
                dataset.write_result(index, image.result, self._submission_folder(dataset))

        rank, first = self.opt["rank"], self.opt["rank"] == 0
        scored = val.validate(dataset, restore, scoring, each, rank, self.opt["world_size"], first and options.pbar)
        if not first or not scored:
            return
        if self.is_train:
            self._log_validation(dataset, val.means(scored), scoring, current_iter, tb_logger)
        else:
            self._write_results(dataset, scoring, scored)
            chosen = tables.extremes(_first_metric(scored))
            shown = [restore(val.batch_of_one(dataset, index)) for index in chosen] or shown
        self._show(dataset, shown, current_iter, tb_logger)

    def _restore(self, sample: val.Sample, rounded: bool) -> val.Restored:
        self.feed_data(dict(sample))
        self.test()
        lq, result = val.to_picture(self.lq, rounded), val.to_picture(self.output, rounded)
        gt = val.to_picture(self.gt, rounded) if "gt" in sample else None
        return val.Restored(val.image_name(sample), lq, result, gt)

    def _submits(self, dataset: Any) -> bool:
        """Tell whether a dataset's benchmark scores the results itself, and this is the run that makes them."""
        return not self.is_train and isinstance(dataset, val.SubmissionDataset)

    def _submission_folder(self, dataset: Any) -> Path:
        return Path(self.opt["path"]["results_root"]) / f"{dataset.opt['name']}_submission"

    def _picture_path(self, dataset: str, name: str, current_iter: Any) -> Path:
        folder = Path(self.opt["path"]["visualization"])
        if self.is_train:
            return folder / name / f"{Path(name).name}_{current_iter}.png"
        return folder / dataset / f"{name}_{self.val_options.suffix or self.opt['name']}.png"

    def _log_validation(
        self, dataset: Any, means: Scores, scoring: val.Scoring, current_iter: int, tb_logger: Any
    ) -> None:
        name = dataset.opt["name"]
        best = val.update_best(self._best.setdefault(name, {}), means, scoring, current_iter)
        lines = [
            f"\t # {metric}: {means[metric]:.4f} (best {best[metric][0]:.4f} @ {best[metric][1]})" for metric in means
        ]
        get_root_logger().info("\n".join([f"Validation {name}", *lines]))
        for metric, value in means.items() if tb_logger else ():
            tb_logger.add_scalar(f"metrics/{name}/{metric}", value, current_iter)

    def _write_results(self, dataset: Any, scoring: val.Scoring, scored: dict[int, val.Scored]) -> None:
        """Log and write the tables of all datasets tested so far, or the files to submit."""
        if self._submits(dataset):
            folder = self._submission_folder(dataset)
            dataset.write_submission(folder)
            get_root_logger().info(f"The files to submit: {folder}")
            return
        name = dataset.opt["name"]
        self._rows += [
            tables.Row(name, scoring.protocol, one.name, one.scores) for one in scored.values() if one.scores
        ]
        if self._rows:
            local = self.val_options.local_pooling or isinstance(self.get_bare_model(self.net_g), MPRNetLocal)
            folder = Path(self.opt["path"]["results_root"])
            table = tables.write_tables(self._rows, folder, bool(local))
            get_root_logger().info(f"{folder / 'table.md'}, table.csv and images.csv:\n{table}")

    def _show(self, dataset: Any, images: list[val.Restored], current_iter: Any, tb_logger: Any) -> None:
        """Write a before/after picture, and put it into TensorBoard in training."""
        if not images:
            return
        name, picture = dataset.opt["name"], grids.draw_grid(images)
        path = Path(self.opt["path"]["visualization"]) / f"{name}_{current_iter}.png"
        grids.write_png(picture, path)
        if tb_logger is not None and self.is_train:
            tb_logger.add_image(f"val/{name}", picture[..., ::-1].copy(), current_iter, dataformats="HWC")
        get_root_logger().info(f"Degraded, restored and sharp, side by side: {path}")

    def save_network(self, net: Any, net_label: str, current_iter: int, param_key: Any = "params") -> None:
        """Write networks in the host's form, whole or not at all; a failure ends the run instead of being ignored."""
        if self.opt["rank"] != 0:
            return
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        name = "latest" if current_iter == -1 else current_iter
        content = {
            key: {k: v.detach().cpu() for k, v in self.get_bare_model(n).state_dict().items()}
            for n, key in zip(nets, keys, strict=True)
        }
        checkpoints.check_finite_weights(content, self._iteration)
        checkpoints.save(content, Path(self.opt["path"]["models"]) / f"{net_label}_{name}.pth")

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write what resuming needs; it comes after the network, so a state stands for a whole checkpoint."""
        if self.opt["rank"] != 0 or current_iter == -1:
            return
        state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "best": self._best,
        }
        checkpoints.save(state, Path(self.opt["path"]["training_states"]) / f"{current_iter}.state")


def _first_metric(scored: Mapping[int, val.Scored]) -> dict[int, float]:
    """Return each image's score by the first metric; nothing where there are none."""
    return {index: next(iter(one.scores.values())) for index, one in scored.items() if one.scores}


def _settings(scheduler: Any) -> dict[str, Any]:
    """Return what a scheduler was made with; the rest of its state counts iterations."""
    state: dict[str, Any] = scheduler.state_dict()
    return {name: value for name, value in state.items() if name != "last_epoch" and not name.startswith("_")}
