"""A model that can be interrupted at any moment: what is saved, where it stops, how it goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from basicsr.data import build_dataset
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr import checkpoints
from mprnet_plugin.hosts.basicsr.current_run import RUN
from mprnet_plugin.hosts.basicsr.disk import Disk, Validated, optimizer_bytes, weight_bytes
from mprnet_plugin.hosts.basicsr.metrics import scoring_of, watched
from mprnet_plugin.hosts.basicsr.parts import check_schedule, describe_schedule
from mprnet_plugin.hosts.basicsr.reports import Reports
from mprnet_plugin.metrics.protocols import Scores
from mprnet_plugin.training.options import ValOptions
from mprnet_plugin.training.pace import Pace
from mprnet_plugin.training.processes import any_process, from_first_process
from mprnet_plugin.training.step import TrainingStep, match_layout
from mprnet_plugin.training.validation import Scoring

__all__ = ["ResumableModel"]


class ResumableModel(SRModel):  # type: ignore[misc]
    """The host's model with checkpoints that are whole and runs that go on from them as if never interrupted.

    Attributes:
        reports: What validation and testing leave behind.
        disk: The files of weights of a training.
        iteration: The last one that is complete.
        in_step: Whether the weights are between two iterations.
        step: The optimisation step, once training is set up.
    """

    step: TrainingStep

    def __init__(self, opt: dict[str, Any]) -> None:
        self.pace = Pace()
        self.reports = Reports(opt, opt["is_train"])
        self.iteration = 0
        self.in_step = False
        self._resumed: set[str] | None = None  # after resuming: the sets whose validation need not be repeated
        self.disk = Disk(opt) if opt["is_train"] else None
        super().__init__(opt)
        RUN.model = self if self.is_train else None
        if self.disk is not None and opt["rank"] == 0:
            networks = 2 if hasattr(self, "net_g_ema") else 1
            self.disk.announce(networks * weight_bytes(self.net_g), optimizer_bytes(self.optimizers[0]))

    @property
    def val_options(self) -> ValOptions:
        """The options of validation and testing."""
        return ValOptions.read(self.opt.get("val") or {}, "val")

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Continue optimiser, schedule and best results, whatever batch and number of processes there are now.

        Raises:
            InputError: The state does not fit the options, or lies beyond their last iteration.
        """
        iteration, total = resume_state["iter"], self.opt["train"]["total_iter"]
        if iteration > total:
            raise InputError(
                f"{self.opt['path']['resume_state']} is of iteration {iteration}, beyond train:total_iter {total}: "
                "raise total_iter, or choose another state"
            )
        asked = [_settings(scheduler) for scheduler in self.schedulers]
        try:
            super().resume_training(resume_state)
            match_layout(self.optimizer_g)
            self.step.load_state_dict(resume_state.get("step", {}))
        except Exception as error:  # whatever torch does with a state of another optimiser or of odd content
            reason = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
            raise InputError(
                f"{self.opt['path']['resume_state']} does not fit the options ({reason}): continue with those that it "
                "was trained with, or start anew with path:pretrain_network_g"
            ) from error
        best = resume_state.get("best", {})
        self._resumed = from_first_process(lambda: self.reports.resume(iteration, best))
        self.iteration = iteration
        for settings, scheduler in zip(asked, self.schedulers, strict=True):
            check_schedule(scheduler, total)
            kept = {name: value for name, value in _settings(scheduler).items() if value != settings.get(name)}
            if kept:
                get_root_logger().warning(
                    f"The checkpoint's schedule goes on ({kept}), whatever the options say now; "
                    "path:pretrain_network_g starts another from its network"
                )
                self.say_schedule()
        self._set_epoch(resume_state)

    def say_schedule(self) -> None:
        """Log how the learning rate goes, in one line."""
        for line in dict.fromkeys(describe_schedule(one, self.opt["train"]["total_iter"]) for one in self.schedulers):
            if line:
                get_root_logger().info(line[0].upper() + line[1:])

    def _set_epoch(self, resume_state: dict[str, Any]) -> None:
        """Count the epoch in the present length of one, on which the number of iterations that are left depends."""
        length = RUN.iterations_per_epoch(self.opt)
        if not length:
            return
        epoch = resume_state["iter"] // length
        if (resume_state["iter"] - 1) // length != resume_state["epoch"]:  # the epoch that iteration was in
            get_root_logger().warning(
                f"An epoch is {length} iterations now, so iteration {resume_state['iter']} is in epoch {epoch}, not "
                f"{resume_state['epoch']}: batch, data or number of processes have changed"
            )
        resume_state["epoch"] = epoch

    def save(self, epoch: int, current_iter: int) -> None:
        """Write network and training state.

        Raises:
            InputError: The host takes the run for finished, but it has not reached its last iteration.
        """
        total = self.opt["train"]["total_iter"]
        if current_iter == -1 and self.iteration < total:
            raise InputError(
                f"the run ended at iteration {self.iteration}, short of train:total_iter {total}: the data give fewer "
                "iterations an epoch than the host counts; use PairedRestorationDataset, or a larger "
                "dataset_enlarge_ratio, and --auto_resume"
            )
        self._write(epoch, current_iter)

    def _write(self, epoch: int, current_iter: int) -> None:
        super().save(epoch, current_iter)
        self.pace.waiting()
        if self.opt["rank"] != 0 or self.disk is None:
            return
        if current_iter == -1:
            self.disk.share(self.networks(), "latest")
        else:
            self.disk.prune(current_iter)

    def networks(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights by the entries that the host has for them."""
        nets = {"params": self.net_g, **({"params_ema": self.net_g_ema} if hasattr(self, "net_g_ema") else {})}
        return {key: self._weights_of(net) for key, net in nets.items()}

    def _weights_of(self, net: Any) -> dict[str, Tensor]:
        state = self.get_bare_model(net).state_dict()
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    def keep_best(self, dataset: str, means: Scores, scoring: Scoring, iteration: int) -> None:
        """Keep the network that a validation has just scored, where it is the best so far by ``logger:save_best``."""
        if self.disk is None or not self.disk.options.save_best:
            return
        watched_set, metric = watched(self.disk.options.save_best, self.scorings())
        if dataset == watched_set and metric in means:
            result = Validated(dataset, metric, means[metric], iteration, metric in scoring.lower_is_better)
            self.disk.keep_best(self.networks(), result)

    def scorings(self) -> dict[str, Scoring]:
        """Return how each validation set is scored, in the order of the options."""
        sets = [section for phase, section in self.opt["datasets"].items() if phase.split("_")[0] == "val"]
        return {section["name"]: scoring_of(section, self.val_options) for section in sets}

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the rate of the iteration that begins; between two iterations is also where a run stops.

        The host calls it first in each iteration, when log, checkpoint and validation of the last one are done.
        """
        self.pace.working()
        self.stop_if_asked(current_iter - 1)
        self._validate_what_was_lost(current_iter - 1)
        self._stop_early(current_iter - 1)
        self.pace.working()
        super().update_learning_rate(current_iter, warmup_iter)

    def stopping(self) -> bool:
        """Tell whether a signal has asked this process's training to stop."""
        return self.is_train and RUN.stop.signal is not None

    def stop_if_asked(self, iteration: int) -> None:
        """Write a checkpoint of an iteration that is complete, and exit, where a signal has asked for it.

        Raises:
            SystemExit: With 128 + the signal.
        """
        if not self.is_train or not any_process(self.stopping(), self.device):
            return
        if iteration > 0:
            self._save_once(iteration)
        what = f"iteration {iteration} is saved; --auto_resume continues" if iteration else "nothing was trained yet"
        get_root_logger().info(f"Stopped by a signal: {what}")
        raise SystemExit(RUN.stop.status or 1)

    def _save_once(self, iteration: int) -> None:
        path = Path(self.opt["path"]["training_states"]) / f"{iteration}.state"
        if not from_first_process(path.exists):
            self.save((iteration - 1) // (RUN.iterations_per_epoch(self.opt) or iteration), iteration)

    def _stop_early(self, iteration: int) -> None:
        """End the run, with a checkpoint, where validation has not improved for as long as the options allow.

        The records of validation decide, so a run that is resumed ends where it ended.

        Raises:
            SystemExit: With 0.
        """
        options = self.val_options
        early = options.early_stopping
        if early is None or options.val_freq is None or not iteration or iteration % options.val_freq:
            return
        dataset, metric = watched(early.metric, self.scorings())
        past = from_first_process(lambda: self.reports.past(dataset, metric, early.min_delta))
        if past.since < early.patience:
            return
        self._save_once(iteration)
        self._write(-1, -1)
        margin = f" by more than {early.min_delta:g}" if early.min_delta else ""
        get_root_logger().info(
            f"Stopped early at iteration {iteration} of {self.opt['train']['total_iter']}: the last {past.since} "
            f"validations of {dataset} were not better than {metric} {past.best:.4f} of iteration {past.iter}{margin} "
            "(val:early_stopping); net_g_latest.pth is written"
        )
        if RUN.tb_logger is not None:
            RUN.tb_logger.close()
        raise SystemExit(0)

    def _validate_what_was_lost(self, iteration: int) -> None:
        """Run the validation that was due with the checkpoint, where the run was interrupted before it was complete."""
        complete, self._resumed = self._resumed, None
        options = self.val_options
        if complete is None or options.val_freq is None or iteration % options.val_freq:
            return
        for phase, section in self.opt["datasets"].items():
            if phase.split("_")[0] == "val" and section["name"] not in complete:
                get_root_logger().info(f"Validation {section['name']} of iteration {iteration} was interrupted: again")
                loader = SimpleNamespace(dataset=build_dataset(section))
                self.validation(loader, iteration, RUN.tb_logger, options.save_img)

    def save_network(self, net: Any, net_label: str, current_iter: int, param_key: Any = "params") -> None:
        """Write networks in the host's form, whole or not at all; a failure ends the run instead of being ignored."""
        if self.opt["rank"] != 0:
            return
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        name = "latest" if current_iter == -1 else current_iter
        content = {key: self._weights_of(one) for one, key in zip(nets, keys, strict=True)}
        checkpoints.check_finite_weights(content, self.iteration)
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
            "best": self.reports.best,
            "step": self.step.state_dict(),
        }
        checkpoints.save(state, Path(self.opt["path"]["training_states"]) / f"{current_iter}.state")


def _settings(scheduler: Any) -> dict[str, Any]:
    """Return what a scheduler was made with; the rest of its state counts iterations."""
    state: dict[str, Any] = scheduler.state_dict()
    counters = {"last_epoch", "T_cur", "T_i"}
    return {name: value for name, value in state.items() if name not in counters and not name.startswith("_")}
