"""The model that the runner trains and tests: the core's optimisation step and restoring around a generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.logging import MessageHub
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn

from mprnet_plugin.archs.any_size import restore_any_size, stage_images
from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.mmengine.registry import MODELS
from mprnet_plugin.training.options import StepOptions
from mprnet_plugin.training.step import TrainingStep
from mprnet_plugin.weights.checkpoint import check_weights

__all__ = ["DistributedRestorer", "MPRNetRestorer"]

GENERATOR = "generator."
REMEDY = "lower optim_wrapper.optimizer.lr and start from an earlier checkpoint with load_from"


class MPRNetRestorer(BaseModel):  # type: ignore[misc]
    """A network that returns its stages' images, the final one first, or a single image.

    Its ``state_dict`` has the generator's own names, so that a checkpoint's is what every reader of the authors' files
    takes; it is loaded with or without ``generator.`` before them.

    Args:
        generator: The network's config.
        pixel_loss: A loss of every stage's image.
        edge_loss: A second one.
        data_preprocessor: By default :class:`~mprnet_plugin.hosts.mmengine.preprocessor.RestorationPreprocessor`.
        init_cfg: Unused by our networks, as the host has it.
        step: Options of the step: ``mixup``, ``clamp_output``, ``micro_batch_size``, ``precision`` and the others of
            :class:`~mprnet_plugin.training.options.StepOptions`.

    Raises:
        InputError: An unknown option, or a value out of range.
    """

    def __init__(
        self,
        generator: dict[str, Any],
        pixel_loss: dict[str, Any] | None = None,
        edge_loss: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | None = None,
        **step: Any,
    ) -> None:
        options = StepOptions.read(step, "model")
        preprocessor = data_preprocessor or {"type": "RestorationPreprocessor"}
        if isinstance(preprocessor, dict):
            preprocessor = MODELS.build(preprocessor)
        super().__init__(preprocessor, init_cfg)
        self.generator: nn.Module = MODELS.build(generator)
        sections = {"loss_pix": pixel_loss, "loss_edge": edge_loss}
        losses = {label: MODELS.build(section) for label, section in sections.items() if section}
        rank, world_size = get_dist_info()
        self.step = TrainingStep(options, losses, 0, rank, world_size, REMEDY)
        self.register_state_dict_post_hook(_drop_prefix)
        self.register_load_state_dict_pre_hook(_add_prefix)

    def forward(self, inputs: Tensor, data_samples: Sequence[Any] | None = None, mode: str = "tensor") -> Any:
        """Run the network.

        Args:
            inputs: (N, 3, H, W) floats in [0, 1].
            data_samples: As the preprocessor makes them.
            mode: ``tensor`` returns what the generator does; ``loss`` each loss of each stage by name, whose sum is to
                be minimised; ``predict`` the samples with ``pred``, (3, H, W), H and W as before padding.

        Raises:
            InputError: Another mode, or losses without sharp images.
        """
        if mode == "tensor":
            return self.generator(inputs)
        samples = list(data_samples or ())
        if mode == "loss":
            lq, gt = self.step.mixed(inputs, _sharp(samples), _iteration())
            stages = stage_images(self.generator(lq), gt, type(self.generator).__name__)
            return self.step.stage_losses(stages, gt)
        if mode == "predict":
            return self.predict(inputs, samples)
        raise InputError(f"mode {mode!r} is not known: use tensor, loss or predict")

    def predict(self, inputs: Tensor, data_samples: list[Any]) -> list[Any]:
        """Return the samples with their restored images in ``pred``."""
        restored = restore_any_size(self.generator, inputs)
        for sample, image in zip(data_samples, restored, strict=True):
            height, width = sample.size
            sample.pred = image[:, :height, :width]
        return data_samples

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Take one optimiser step on a batch; return the losses for the log."""
        return self.step_on(self, data, optim_wrapper)

    def step_on(self, net: nn.Module, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Take one optimiser step with ``net``, which is this model or what wraps it.

        Raises:
            InputError: A wrapper that would accumulate or scale by itself, or clip what is clipped already.
        """
        if isinstance(optim_wrapper, AmpOptimWrapper):
            raise InputError("AmpOptimWrapper does not go with MPRNetRestorer: use OptimWrapper and precision='bf16'")
        if getattr(optim_wrapper, "_accumulative_counts", 1) != 1:
            raise InputError(
                "accumulative_counts would count parts of a step as iterations: leave it out and set micro_batch_size"
            )
        host_clips = getattr(optim_wrapper, "clip_grad_kwargs", None)
        if host_clips and self.step.options.grad_clip is not None:
            raise InputError(
                f"gradients would be clipped twice: leave out optim_wrapper.clip_grad ({host_clips}) or the model's "
                f"grad_clip ({self.step.options.grad_clip:g})"
            )
        self.step.seed = int(_hub("seed"))
        batch = self.data_preprocessor(data, True)
        losses = self.step(net, optim_wrapper, batch["inputs"], _sharp(batch["data_samples"]), _iteration())
        if host_clips:
            losses.pop(optim_wrapper.grad_name, None)  # the wrapper logs its norm under the same name
        return {"loss": losses.pop("l_total"), **losses}


class DistributedRestorer(MMDistributedDataParallel):  # type: ignore[misc]
    """The host's wrapper for several processes, on GPUs or CPUs, with the model's own optimisation step."""

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **options: Any) -> None:
        on_cpu = next(module.parameters()).device.type == "cpu"
        super().__init__(module, device_ids=None if on_cpu else device_ids, **options)

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Take one optimiser step on the batch of all processes."""
        losses: dict[str, Tensor] = self.module.step_on(self, data, optim_wrapper)
        return losses


def _hub(name: str) -> Any:
    """Return what the runner tells of itself; 0 where there is no runner."""
    return MessageHub.get_current_instance().get_info(name, 0) or 0


def _iteration() -> int:
    """Return the iteration, counted from 1."""
    return int(_hub("iter")) + 1


def _sharp(samples: Sequence[Any]) -> Tensor:
    if not samples or not all("gt" in sample for sample in samples):
        raise InputError("losses need sharp images: give data_samples with gt")
    return torch.stack([sample.gt for sample in samples])


def _drop_prefix(model: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for key in [key for key in state if key.startswith(prefix + GENERATOR)]:
        state[prefix + key.removeprefix(prefix + GENERATOR)] = state.pop(key)


def _add_prefix(model: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give a state's names the generator's prefix, once every weight is known to fit."""
    given = {key.removeprefix(prefix).removeprefix(GENERATOR): state.pop(key) for key in list(state)}
    check_weights(model.generator, given, "checkpoint")
    state.update({f"{prefix}{GENERATOR}{key}": value for key, value in given.items()})
