"""The host's model for MPRNet: supervision of every stage, large batches in parts, sharded validation, whole files."""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.metrics import calculate_metric
from basicsr.models import lr_scheduler as host_schedulers
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mprnet_plugin.archs.ensemble import self_ensemble
from mprnet_plugin.archs.local_pooling import MPRNetLocal, local_pooling
from mprnet_plugin.archs.padding import pad_to_multiple
from mprnet_plugin.data.dnd import DNDDataset
from mprnet_plugin.data.mixup import mixup
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file
from mprnet_plugin.metrics import published, report
from mprnet_plugin.models import validation as val
from mprnet_plugin.models.schedules import WarmupCosineLR
from mprnet_plugin.weights.checkpoint import load_into, load_state_dict

TRAIN_OPTIONS = frozenset(
    [
        "total_iter",
        "warmup_iter",
        "optim_g",
        "scheduler",
        "ema_decay",
        "pixel_opt",
        "edge_opt",
        "clamp_output",
        "mixup",
        "micro_batch_size",
        "precision",
    ]
)
PRECISIONS = ("fp32", "bf16")
HOST_KEYS = ("params", "params_ema")
"""Entries of a checkpoint that the host asks for of its own accord."""


def schedulers() -> dict[str, type]:
    """Return the learning rate schedulers by the name that YAML gives them: the host's and ours."""
    return {
        "MultiStepLR": host_schedulers.MultiStepRestartLR,
        "MultiStepRestartLR": host_schedulers.MultiStepRestartLR,
        "CosineAnnealingRestartLR": host_schedulers.CosineAnnealingRestartLR,
        "WarmupCosineLR": WarmupCosineLR,
    }


class MPRNetModel(SRModel):  # type: ignore[misc]
    """Train and test a network that returns its stages' images, last stage first.

    On top of the host's options, ``train`` takes ``edge_opt`` (a second loss), ``clamp_output`` (losses of outputs
    clamped to [0, 1], the denoising recipe), ``mixup`` (``{alpha, start_iter}``), ``micro_batch_size`` (samples per
    forward pass; gradients accumulate to the whole batch) and ``precision`` (``fp32`` or ``bf16``); optimisers are any
    of ``torch.optim``. ``val`` takes ``grid_images`` (rows of the before/after picture), ``round_to_uint8`` (false:
    metrics see floats), ``local_pooling`` (``{train_size, base_size}``, TLC) and ``self_ensemble``.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self._best: dict[str, val.Best] = {}
        self._rows: list[report.Row] = []
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
        """Set up losses, optimiser, scheduler and the moving average."""
        train = self.opt["train"]
        self.cri_edge = build_loss(train["edge_opt"]).to(self.device) if train.get("edge_opt") else None
        self.precision = train.get("precision", "fp32")
        self._validated: dict[str, int] = {}
        super().init_training_settings()

    def get_optimizer(self, optim_type: str, params: Any, lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Return an optimiser of ``torch.optim`` by name, where the host knows Adam only."""
        optimizer: torch.optim.Optimizer = getattr(torch.optim, optim_type)(params, lr=lr, **kwargs)
        return optimizer

    def setup_schedulers(self) -> None:
        """Set up one of :func:`schedulers` for each optimiser."""
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
        """Take one optimiser step on the whole batch, in as many parts as ``micro_batch_size`` asks for."""
        lq, gt = self._mixed(current_iter)
        part = self.opt["train"].get("micro_batch_size") or len(lq)
        losses: dict[str, Tensor] = OrderedDict()
        self.optimizer_g.zero_grad(set_to_none=True)
        parts = list(zip(lq.split(part), gt.split(part), strict=True))
        for number, (lq_part, gt_part) in enumerate(parts, 1):
            # Processes exchange gradients once a step, with the last part.
            with self._without_exchange() if number < len(parts) else contextlib.nullcontext():
                share = len(lq_part) / len(lq)
                for name, loss in self._step_losses(lq_part, gt_part, share).items():
                    losses[name] = losses.get(name, torch.zeros_like(loss)) + loss
        self.optimizer_g.step()
        self._losses = losses
        self._iteration = current_iter
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def _without_exchange(self) -> Any:
        return self.net_g.no_sync() if isinstance(self.net_g, DistributedDataParallel) else contextlib.nullcontext()

    def _mixed(self, current_iter: int) -> tuple[Tensor, Tensor]:
        options = self.opt["train"].get("mixup")
        if not options or current_iter < options.get("start_iter", 0):
            return self.lq, self.gt
        # A generator of its own, so that a resumed run mixes as the uninterrupted one would have.
        seed = (self.opt["manual_seed"] * self.opt["world_size"] + self.opt["rank"]) * 1_000_003 + current_iter
        generator = torch.Generator().manual_seed(seed)
        lq, gt = mixup(self.lq, self.gt, generator, options.get("alpha", 0.6))
        return lq, gt

    def _step_losses(self, lq: Tensor, gt: Tensor, share: float) -> dict[str, Tensor]:
        """Add the gradient of a part that is ``share`` of the batch; return its share of the losses, for the log."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            stages = self.net_g(lq)
        losses: dict[str, Tensor] = OrderedDict()
        for number, output in zip(range(len(stages), 0, -1), stages, strict=True):
            image = output.float()
            if self.opt["train"].get("clamp_output"):
                image = image.clamp(0, 1)
            losses[f"l_pix_stage{number}"] = self.cri_pix(image, gt) * self._factor(self.cri_pix, share)
            if self.cri_edge is not None:
                losses[f"l_edge_stage{number}"] = self.cri_edge(image, gt) * self._factor(self.cri_edge, share)
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        return OrderedDict({"l_total": total.detach(), **{name: loss.detach() for name, loss in losses.items()}})

    def _factor(self, loss: nn.Module, share: float) -> float:
        """Return what makes the parts and the processes, whose gradients are averaged, give the whole batch's loss."""
        summed = getattr(loss, "reduction", "mean") == "sum"
        return float(self.opt["world_size"]) if summed else share

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
        if not math.isfinite(log["l_total"]):
            raise InputError(
                f"the loss is {log['l_total']} at iteration {self._iteration}: training diverged; lower "
                "train:optim_g:lr and start from an earlier checkpoint with path:pretrain_network_g (resuming would "
                "bring the old rate back)"
            )
        return log

    def test(self) -> None:
        """Restore ``self.lq`` of any size into ``self.output``, by the moving average's network where there is one."""
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)
        training = net.training
        net.eval()
        options = self.opt.get("val") or {}

        def restore(x: Tensor) -> Tensor:
            result: Tensor = net(pad_to_multiple(x))[0]
            return result[..., : x.shape[-2], : x.shape[-1]]

        pooling = options.get("local_pooling")
        with torch.inference_mode(), local_pooling(net, **pooling) if pooling else contextlib.nullcontext():
            self.output = self_ensemble(restore, self.lq) if options.get("self_ensemble") else restore(self.lq)
        net.train(training)

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Restore and score a dataset, its images shared out over the processes.

        Args:
            dataloader: The host's loader; its dataset is read directly.
            current_iter: Iteration in training, the run's name in testing.
            tb_logger: TensorBoard writer, or None.
            save_img: Whether to write every restored image.
        """
        options = self.opt["val"]
        dataset = dataloader.dataset
        metrics = self._metrics(dataset)
        if self.is_train:
            # After the last iteration the host counts one more, and validates again what it has just validated.
            current_iter = min(current_iter, int(self.opt["train"]["total_iter"]))
            if self._validated.get(dataset.opt["name"]) == current_iter:
                return
            self._validated[dataset.opt["name"]] = current_iter
        first = self.opt["rank"] == 0
        scored: dict[int, val.Scored] = {}
        shown: list[val.Restored] = []
        for index, sample in val.shard(dataset, self.opt["rank"], self.opt["world_size"], first and _bar(options)):
            image = self._restore(sample)
            scored[index] = val.Scored(image.name, val.score(image, metrics, calculate_metric))
            if len(shown) < options.get("grid_images", 4):
                shown.append(image)
            if save_img:
                val.write_picture(image.result, self._picture_path(dataset.opt["name"], image.name, current_iter))
            if isinstance(dataset, DNDDataset) and not self.is_train:
                dataset.write_result(index, image.result, self._submission_folder(dataset))
        scored = val.gather(scored)
        if not first or not scored:
            return
        means = val.means(scored, metrics) if all(one.scores for one in scored.values()) else {}
        if self.is_train:
            self._log_validation(dataset, means, current_iter, tb_logger)
        else:
            self._write_tables(dataset, scored)
            shown = self._extremes(dataset, scored) or shown
        if shown:
            path = Path(self.opt["path"]["visualization"]) / f"{dataset.opt['name']}_{current_iter}.png"
            tag = f"val/{dataset.opt['name']}"
            val.show_grid(shown, path, tag, current_iter if self.is_train else None, tb_logger)
            get_root_logger().info(f"Degraded, restored and sharp, side by side: {path}")

    def _submission_folder(self, dataset: Any) -> Path:
        """Return where the files for a benchmark that scores them itself go."""
        return Path(self.opt["path"]["results_root"]) / f"{dataset.opt['name']}_submission"

    def _metrics(self, dataset: Any) -> dict[str, Any]:
        """Return a dataset's metrics: its own, else those of ``val``."""
        metrics: dict[str, Any] = dataset.opt.get("metrics") or self.opt["val"].get("metrics") or {}
        return metrics

    def _restore(self, sample: dict[str, Any]) -> val.Restored:
        rounded = self.opt["val"].get("round_to_uint8", True)
        self.feed_data(sample)
        self.test()
        gt = val.to_picture(self.gt, rounded) if "gt" in sample else None
        name = val.image_name(sample)
        return val.Restored(name, val.to_picture(self.lq, rounded), val.to_picture(self.output, rounded), gt)

    def _picture_path(self, dataset: str, name: str, current_iter: Any) -> Path:
        folder = Path(self.opt["path"]["visualization"])
        if self.is_train:
            return folder / name / f"{Path(name).name}_{current_iter}.png"
        return folder / dataset / f"{name}_{self.opt['val'].get('suffix') or self.opt['name']}.png"

    def _log_validation(self, dataset: Any, means: val.Scores, current_iter: int, tb_logger: Any) -> None:
        name = dataset.opt["name"]
        best = val.update_best(self._best.setdefault(name, {}), means, self._metrics(dataset), current_iter)
        lines = [
            f"\t # {metric}: {means[metric]:.4f} (best {best[metric][0]:.4f} @ {best[metric][1]})" for metric in means
        ]
        get_root_logger().info("\n".join([f"Validation {name}", *lines]))
        for metric, value in means.items() if tb_logger else ():
            tb_logger.add_scalar(f"metrics/{name}/{metric}", value, current_iter)

    def _write_tables(self, dataset: Any, scored: dict[int, val.Scored]) -> None:
        """Log and write the tables of all datasets tested so far, and the files for DND, which has no table."""
        if isinstance(dataset, DNDDataset):
            dataset.write_submission(self._submission_folder(dataset))
            get_root_logger().info(f"The files to submit: {self._submission_folder(dataset)}")
            return
        name, protocol = dataset.opt["name"], dataset.opt.get("protocol", "")
        self._rows += [report.Row(name, protocol, image, scores) for image, scores in scored.values() if scores]
        if self._rows:
            local = self.opt["val"].get("local_pooling") or isinstance(self.get_bare_model(self.net_g), MPRNetLocal)
            figures = published.WITH_LOCAL_POOLING if local else published.MPRNET
            folder = Path(self.opt["path"]["results_root"])
            table = report.write_tables(self._rows, folder, figures)
            get_root_logger().info(f"{folder / 'table.md'}, table.csv and images.csv:\n{table}")

    def _extremes(self, dataset: Any, scored: dict[int, val.Scored]) -> list[val.Restored]:
        """Restore the worst, the median and the best image by the first metric once more, to show them."""
        first = next(iter(self._metrics(dataset)), None)
        if first is None or not all(one.scores for one in scored.values()):
            return []
        indices = report.extremes({index: one.scores[first] for index, one in scored.items()})
        return [self._restore(val.batch_of_one(dataset, index)) for index in indices]

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
        if not all(bool(value.isfinite().all()) for values in content.values() for value in values.values()):
            raise InputError(
                f"the network has values that are not finite at iteration {self._iteration}: training diverged, and "
                "nothing was saved; lower train:optim_g:lr and start from an earlier checkpoint with "
                "path:pretrain_network_g"
            )
        _save(content, Path(self.opt["path"]["models"]) / f"{net_label}_{name}.pth")

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
        _save(state, Path(self.opt["path"]["training_states"]) / f"{current_iter}.state")


def _bar(options: dict[str, Any]) -> bool:
    return bool(options.get("pbar", True))


def _settings(scheduler: Any) -> dict[str, Any]:
    """Return what a scheduler was made with; the rest of its state counts iterations."""
    state: dict[str, Any] = scheduler.state_dict()
    return {name: value for name, value in state.items() if name != "last_epoch" and not name.startswith("_")}


def _save(content: object, path: Path) -> None:
    """``torch.save``, whole or not at all.

    Raises:
        InputError: The disk is full, or the like; an older file of that name is as it was.
    """
    with whole_file(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's writer does not pass the system's error on
            raise OSError(str(error).partition("\n")[0]) from error
