"""The host's model for MPRNet: supervision of every stage, large batches in parts, sharded validation, whole files."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from mprnet_plugin.archs.any_size import restore_any_size
from mprnet_plugin.archs.local_pooling import MPRNetLocal, local_pooling
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.current_run import RUN
from mprnet_plugin.hosts.basicsr.metrics import scoring_of
from mprnet_plugin.hosts.basicsr.parts import build_losses, optimizers, schedule_arguments, schedulers
from mprnet_plugin.hosts.basicsr.resumable_model import ResumableModel
from mprnet_plugin.inference.engines import choose, this_machine, validating
from mprnet_plugin.inference.tiling import restore_windows
from mprnet_plugin.metrics.protocols import Scores
from mprnet_plugin.training import grids, tables
from mprnet_plugin.training import validation as val
from mprnet_plugin.training.options import TrainOptions
from mprnet_plugin.training.pace import peak_memory
from mprnet_plugin.training.processes import from_first_process
from mprnet_plugin.training.showcase import Showcase
from mprnet_plugin.training.step import TrainingStep, prepare_network
from mprnet_plugin.weights.checkpoint import load_into, load_state_dict
from mprnet_plugin.weights.choice import find_file

HOST_KEYS = ("params", "params_ema")
"""Entries of a checkpoint that the host asks for of its own accord."""


class MPRNetModel(ResumableModel):
    """Train and test a network that returns its stages' images, the final one first, or a single image.

    ``train`` and ``val`` take the options of :class:`~mprnet_plugin.training.options.TrainOptions` and
    :class:`~mprnet_plugin.training.options.ValOptions`; optimisers are any of ``torch.optim``.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        _speak_through_the_host()
        self._input_scores: dict[str, dict[int, Scores]] = {}
        if RUN.settings and opt["is_train"]:
            get_root_logger().info(RUN.settings)
        super().__init__(opt)
        if not self.is_train:
            torch.backends.cudnn.benchmark = False  # every picture may be of another size

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
        weights = from_first_process(functools.partial(_weights, load_path, param_key))
        load_into(self.get_bare_model(net), weights, load_path)
        get_root_logger().info(f"Loaded {load_path}")

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to the device, and to the processes where there are several, as its training asks for it."""
        if self.is_train:
            prepare_network(net, TrainOptions.read(self.opt["train"], "train"))
        moved: nn.Module = super().model_to_device(net)
        return moved

    def init_training_settings(self) -> None:
        """Set up losses, optimiser, scheduler, the moving average and the optimisation step."""
        options = TrainOptions.read(self.opt["train"], "train")
        if options.precision == "fp32":
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        slow = choose("torch", options.precision, this_machine(self.device)).warning
        if slow:
            get_root_logger().warning(slow)
        self._validated: dict[str, int] = {}
        self.train_options = options
        self.net_g.train()
        if options.ema_decay > 0:
            self._start_average()
        losses = {label: loss.to(self.device) for label, loss in build_losses(options).items()}
        self.setup_optimizers()
        self.setup_schedulers()
        seed, rank, world_size = (self.opt[name] for name in ("manual_seed", "rank", "world_size"))
        self.step = TrainingStep(options, losses, seed, rank, world_size, device=self.device.type)

    def _start_average(self) -> None:
        """Begin the moving average, with what a checkpoint has of it, else with the network's weights."""
        self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
        path = self.opt["path"].get("pretrain_network_g")
        if path is None:
            self.model_ema(0)
        else:
            self.load_network(self.net_g_ema, path, param_key="params_ema")
        self.net_g_ema.eval()

    def get_optimizer(self, optim_type: str, params: Any, lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Return an optimiser of ``torch.optim`` by name, where the host knows Adam only."""
        optimizer: torch.optim.Optimizer = optimizers()[optim_type](params, lr=lr, **kwargs)
        return optimizer

    def setup_schedulers(self) -> None:
        """Set up a schedule for each optimiser."""
        section, total = dict(self.opt["train"]["scheduler"]), self.opt["train"]["total_iter"]
        name = section.pop("type")
        arguments = schedule_arguments(name, section, total, RUN.iterations_per_epoch(self.opt))
        self.schedulers = [schedulers()[name](optimizer, **arguments) for optimizer in self.optimizers]
        self.say_schedule()

    def feed_data(self, data: dict[str, Any]) -> None:
        """Move a batch to the device; bytes become floats in [0, 1] there, a quarter of the traffic."""
        self.lq = self._to_device(data["lq"])
        if "gt" in data:
            self.gt = self._to_device(data["gt"])

    def _to_device(self, x: Tensor) -> Tensor:
        x = x.to(self.device, non_blocking=True)
        if x.is_cuda:
            # The host's CUDA prefetcher copied it on a stream of its own, which must not use its memory again too soon.
            x.record_stream(torch.cuda.current_stream(x.device))
        return x.float().div_(255) if x.dtype == torch.uint8 else x

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one optimiser step on the whole batch."""
        self.in_step = True
        try:
            self._losses = self.step(self.net_g, self.optimizer_g, self.lq, self.gt, current_iter)
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(f"out of GPU memory with {self._less_memory()}, and --auto_resume") from error
        if self.train_options.ema_decay > 0 and self.step.stepped:
            self.model_ema(self.train_options.decay_at(current_iter))
        self.iteration, self.in_step = current_iter, False
        self.pace.stepped(len(self.lq) * self.opt["world_size"])

    def _less_memory(self) -> str:
        """Say how many samples were too many, and what takes less memory."""
        options = self.step.options
        part = min(options.micro_batch_size or len(self.lq), len(self.lq))
        if part > 1:
            fix = f"set train:micro_batch_size: {part // 2} (the result is the same)"
        elif isinstance(self.get_bare_model(self.net_g), MPRNet) and not options.gradient_checkpointing:
            fix = "set train:gradient_checkpointing: true (the result is the same)"
        else:
            fix = "use precision: bf16 or a smaller gt_size"
        return f"{part} samples at once: {fix}"

    def get_current_log(self) -> dict[str, float]:
        """Return the last step's losses, averaged over the processes, and how the run goes since the last line.

        All processes call it when it is time to log.
        """
        log: dict[str, float] = self.reduce_loss_dict(self._losses)
        if self.step.skipped:
            log["skipped_steps"] = float(self.step.skipped)
        log |= self.pace.report()
        log["memory_gb"] = peak_memory(self.device) / 1e9
        if RUN.tb_logger is not None:  # the host writes it into its lines only
            RUN.tb_logger.add_scalar("lr", self.get_current_learning_rate()[0], self.iteration)
        return log

    def test(self) -> None:
        """Restore ``self.lq`` of any size into ``self.output``, by the moving average's network where there is one."""
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)
        training = net.training
        net.eval()
        options = self.val_options
        pooling = options.local_pooling
        local = local_pooling(net, **pooling.model_dump()) if pooling else contextlib.nullcontext()
        with torch.inference_mode(), local, validating(net, options.engine):
            restore = functools.partial(restore_any_size, net, ensemble=options.self_ensemble)
            if options.tile is None:
                self.output = restore(self.lq)
            else:
                self.output = restore_windows(restore, self.lq, options.tile, options.tile_overlap)
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
        name: str = dataset.opt["name"]
        if self.is_train:
            # After the last iteration the host counts one more, and validates again what it has just validated.
            current_iter = min(current_iter, int(self.opt["train"]["total_iter"]))
            if self._validated.get(name) == current_iter:
                return
            self._validated[name] = current_iter
        scoring = scoring_of(dataset.opt, options)
        restore = functools.partial(self._restore, rounded=scoring.rounded)
        showcase = Showcase(options.grid_images, options.grid_names, any_of_them=not self.is_train)

        def each(index: int, image: val.Restored) -> None:
            showcase.offer(index, image)
            if save_img:
                path = self.reports.picture_path(name, image.name, current_iter, options.suffix)
                grids.write_png(image.result, path)
            if isinstance(dataset, val.SubmissionDataset) and not self.is_train:
                dataset.write_result(index, image.result, self.reports.submission_folder(name))

        rank, world_size = self.opt["rank"], self.opt["world_size"]
        inputs, bar = self._input_scores.setdefault(name, {}), rank == 0 and options.pbar
        with _without_benchmark():
            scored = val.validate(dataset, restore, scoring, each, inputs, rank, world_size, bar, self.stopping)
            self.stop_if_asked(current_iter)
            chosen = showcase.chosen(scored, [] if self.is_train else tables.extremes(_first_metric(scored)))
            shown = showcase.pictures(chosen, lambda index: restore(val.batch_of_one(dataset, index)), rank, world_size)
        self.pace.waiting()
        if rank != 0 or not scored:
            return
        if self.is_train:
            means = val.means(scored)
            self.keep_best(name, means, scoring, current_iter)  # before the record, which says that all is done
            self.reports.validated(name, scored, scoring, current_iter, tb_logger)
        else:
            local = options.local_pooling is not None or isinstance(self.get_bare_model(self.net_g), MPRNetLocal)
            self.reports.tested(dataset, scoring, scored, local)
        self.reports.show(name, shown, current_iter, tb_logger, showcase.missing(scored))

    def _restore(self, sample: val.Sample, rounded: bool) -> val.Restored:
        self.feed_data(dict(sample))
        self.test()
        lq, result = val.to_picture(self.lq, rounded), val.to_picture(self.output, rounded)
        gt = val.to_picture(self.gt, rounded) if "gt" in sample else None
        return val.Restored(val.image_name(sample), lq, result, gt)


def _weights(path: str, param_key: str | None) -> dict[str, Tensor]:
    """Read weights of any form; an entry that the host asks for of its own accord need not be there."""
    file = find_file(path)
    try:
        return load_state_dict(file, param_key)
    except InputError:
        if param_key not in HOST_KEYS:
            raise
        # The authors' files and safetensors have no such entry; a file that is broken says so again.
        return load_state_dict(file)


def _first_metric(scored: Mapping[int, val.Scored]) -> dict[int, float]:
    """Return each image's score by the first metric; nothing where there are none."""
    return {index: next(iter(one.scores.values())) for index, one in scored.items() if one.scores}


def _speak_through_the_host() -> None:
    """Send what our modules log where the host's lines go, the log file included."""
    ours, host = logging.getLogger("mprnet_plugin"), get_root_logger()
    ours.parent, ours.level = host, host.level
    host.addFilter(_is_true)


def _is_true(record: logging.LogRecord) -> bool:
    """Hold back what the host says of several validation sets, which our model supports."""
    return "Multiple validation datasets" not in record.getMessage()


@contextlib.contextmanager
def _without_benchmark() -> Iterator[None]:
    """Keep cuDNN from timing its kernels anew for every size of picture."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
