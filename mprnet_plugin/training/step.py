"""One optimiser step on a batch, whichever host trains: mixup, parts, precision, every stage's losses, gradients.

The pieces are in the order of :meth:`TrainingStep.accumulate`. Nothing here knows options files, loggers or hosts.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mprnet_plugin.archs.any_size import stage_images
from mprnet_plugin.archs.blocks import checkpoint_blocks
from mprnet_plugin.errors import InputError
from mprnet_plugin.training.mixup import mixup
from mprnet_plugin.training.options import StepOptions
from mprnet_plugin.training.processes import any_process, joined_batch

__all__ = ["TrainingStep", "match_layout", "part_factor", "prepare_network"]


logger = logging.getLogger(__name__)

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def prepare_network(net: nn.Module, options: StepOptions) -> None:
    """Make a network what its training asks for, in place, before optimiser and DistributedDataParallel see it.

    Raises:
        InputError: It is another network than an option is for.
    """
    if options.gradient_checkpointing:
        checkpoint_blocks(net)
    if options.channels_last:
        net.to(memory_format=torch.channels_last)


def match_layout(optimizer: Optimizer) -> None:
    """Lay a state that was loaded out in memory as the parameters are, where the run that saved it had them otherwise.

    torch keeps the layout of the file, and its fused optimisers (seen in 2.14) then take one element's state for
    another's, without a word.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


class TrainingStep:
    """Compute a batch's gradients as the recipes do, and step.

    Args:
        options: What is done with a batch.
        losses: Label, such as ``l_pix``, to a module that maps (restored, sharp) to a number; each is applied to every
            stage's image, or those of its ``stages`` where it has any, and the sum is minimised.
        seed: Of mixup.
        rank: This process.
        world_size: Number of processes, whose gradients DistributedDataParallel averages.
        remedy: What to do where training diverged, in the host's words.
        device: Type of the device that trains.

    Attributes:
        stepped: Whether the last call changed the weights.
        skipped: Steps that were skipped so far.
        skipped_in_a_row: Those since the last one that was not; without those for which fp16's range was too small.
        scaler: Of the loss, for fp16; it leaves other precisions alone.
    """

    def __init__(
        self,
        options: StepOptions,
        losses: Mapping[str, nn.Module],
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        remedy: str = "lower train:optim_g:lr and start from an earlier checkpoint with path:pretrain_network_g",
        device: str = "cpu",
    ) -> None:
        self.options = options
        self.remedy = remedy
        self.losses = dict(losses)
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.stepped = True
        self.skipped = self.skipped_in_a_row = 0
        self.scaler = torch.amp.GradScaler(device, enabled=options.precision == "fp16")
        self._compiled: tuple[nn.Module, Callable[..., Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return, as plain data, what a run that is resumed must know."""
        return {
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "scaler": self.scaler.state_dict(),  # empty but for fp16
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state; what is missing in it, as in one of another precision, begins anew."""
        self.skipped, self.skipped_in_a_row = state.get("skipped", 0), state.get("skipped_in_a_row", 0)
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])

    def __call__(
        self, net: nn.Module, optimizer: Optimizer, lq: Tensor, gt: Tensor, iteration: int
    ) -> dict[str, Tensor]:
        """Take one optimiser step, see :meth:`accumulate`; a step whose loss or gradients are not finite is skipped.

        Returns:
            What :meth:`accumulate` does, and ``grad_norm``, the norm of all gradients together, before clipping.

        Raises:
            InputError: More steps in a row were skipped than ``max_skipped_steps`` allows.
        """
        optimizer.zero_grad(set_to_none=True)
        losses = self.accumulate(net, lq, gt, iteration)
        self.scaler.unscale_(optimizer)
        gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
        norm = losses["grad_norm"] = torch.nn.utils.get_total_norm(gradients)
        finite = bool(torch.isfinite(losses["l_total"] + norm))
        # The loss is of this process alone, so one can be finite and another's not.
        self.stepped = not any_process(not finite, lq.device)
        if self.stepped:
            if self.options.grad_clip is not None:
                torch.nn.utils.clip_grads_with_norm_(net.parameters(), self.options.grad_clip, norm)
            optimizer.step()
            self.skipped_in_a_row = 0
        else:
            self._skip(losses["l_total"], iteration)
        if self.scaler.is_enabled():
            losses["loss_scale"] = torch.tensor(self.scaler.get_scale(), device=lq.device)
            self.scaler.update()
        return losses

    def _skip(self, loss: Tensor, iteration: int) -> None:
        """Count and log a step that is skipped.

        Gradients that are too large for 16 bits because the loss was scaled are the scaler's to mend, which halves the
        scale. A loss that is not finite itself, and gradients that are not without a scale, tell of divergence.
        """
        self.skipped += 1
        scale = self.scaler.get_scale()  # 1 where nothing is scaled
        if scale > 1 and not any_process(not bool(loss.isfinite()), loss.device):
            logger.warning(
                "iteration %d is skipped (%d in all): its gradients, scaled by %g, leave the range of fp16; the next "
                "are scaled by less",
                iteration,
                self.skipped,
                scale,
            )
            return
        self.skipped_in_a_row += 1
        logger.warning(
            "iteration %d is skipped (%d in a row, %d in all): its loss or gradients are not finite",
            iteration,
            self.skipped_in_a_row,
            self.skipped,
        )
        if self.skipped_in_a_row > self.options.max_skipped_steps:
            raise InputError(
                f"{self.skipped_in_a_row} steps in a row were not finite, the last at iteration {iteration}: training "
                f"diverged; {self.remedy} (resuming would bring the old rate back)"
            )

    def accumulate(self, net: nn.Module, lq: Tensor, gt: Tensor, iteration: int) -> dict[str, Tensor]:
        """Add a batch's gradients to the network's parameters.

        Args:
            net: Returns an image, or its stages' images, the final one first; may be in DistributedDataParallel.
            lq: Degraded images of this process, (N, C, H, W), floating point in [0, 1].
            gt: Sharp images of the same shape.
            iteration: Counted from 1; decides whether mixup has begun, and what it draws.

        Returns:
            ``l_total``, and each label with ``_stage1`` and so on, detached, for the log.

        Raises:
            InputError: The network returns something else.
        """
        lq, gt = self.mixed(lq, gt, iteration)
        if self.options.channels_last:
            lq, gt = (images.contiguous(memory_format=torch.channels_last) for images in (lq, gt))
        size = self.options.micro_batch_size or len(lq)
        parts = list(zip(lq.split(size), gt.split(size), strict=True))
        total: dict[str, Tensor] = {}
        for number, (lq_part, gt_part) in enumerate(parts, 1):
            # Processes exchange gradients once a step, with the last part.
            last = number == len(parts)
            with contextlib.nullcontext() if last else _without_exchange(net):
                for name, loss in self._backward(net, lq_part, gt_part, len(lq_part) / len(lq)).items():
                    total[name] = total[name] + loss if name in total else loss
        return total

    def mixed(self, lq: Tensor, gt: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
        """Blend the samples of a batch where mixup has begun; a resumed run blends as the uninterrupted one would."""
        options = self.options.mixup
        if options is None or iteration < options.start_iter:
            return lq, gt
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + iteration)
        if self.world_size == 1:
            return mixup(lq, gt, generator, options.alpha)
        # Over the batch of all processes, as a single process would; each keeps its own samples.
        joined = mixup(joined_batch(lq, self.world_size), joined_batch(gt, self.world_size), generator, options.alpha)
        lq, gt = (images[self.rank :: self.world_size] for images in joined)
        return lq, gt

    def _backward(self, net: nn.Module, lq: Tensor, gt: Tensor, share: float) -> dict[str, Tensor]:
        """Add the gradients of one part of the batch.

        Args:
            net: As in :meth:`accumulate`, as for the next two.
            lq: See there.
            gt: See there.
            share: This part's share of the batch, in (0, 1].

        Returns:
            What the part adds to each loss of the whole batch.
        """
        half = _HALVES.get(self.options.precision)
        with torch.autocast(lq.device.type, half or torch.bfloat16, enabled=half is not None):
            output = self._compiled_forward(net, lq) if self.options.compile else net(lq)
        stages = stage_images(output, gt, type(getattr(net, "module", net)).__name__)
        losses = self.stage_losses(stages, gt, share)
        total = torch.stack(list(losses.values())).sum()
        self.scaler.scale(total).backward()
        return {"l_total": total.detach(), **{name: loss.detach() for name, loss in losses.items()}}

    def _compiled_forward(self, net: nn.Module, lq: Tensor) -> Any:  # noqa: ANN401 - whatever the network returns
        """Run the network compiled; ``net`` itself stays as it is, for validation, which sees any number of sizes.

        Each size is compiled by itself: what a run computes does not depend on the sizes that came before, so one that
        is resumed computes the same.
        """
        if self._compiled is None or self._compiled[0] is not net:
            self._compiled = net, torch.compile(net, dynamic=False)
        try:
            return self._compiled[1](lq)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"compile: torch cannot compile the network here ({reason}): leave it out") from error

    def stage_losses(self, stages: list[Tensor], gt: Tensor, share: float = 1.0) -> dict[str, Tensor]:
        """Return every loss of every stage's image by label and stage; their sum is what is minimised.

        Args:
            stages: Images (N, C, H, W), the final one first.
            gt: Sharp images of that shape.
            share: These samples' share of the batch, in (0, 1].
        """
        for label, loss in self.losses.items():
            if max(getattr(loss, "stages", None) or [1]) > len(stages):
                raise InputError(
                    f"{label} is of the stages {loss.stages}, but the network gives {len(stages)} images: name those"
                )
        losses: dict[str, Tensor] = {}
        # The last stage comes first in the output and is called by the highest number.
        for number, image in zip(range(len(stages), 0, -1), stages, strict=True):
            restored = image.float() if image.dtype.itemsize < 4 else image
            if self.options.clamp_output:
                restored = restored.clamp(0, 1)
            for label, loss in self.losses.items():
                if number in (getattr(loss, "stages", None) or [number]):
                    losses[f"{label}_stage{number}"] = loss(restored, gt) * part_factor(loss, share, self.world_size)
        return losses


def part_factor(loss: nn.Module, share: float, world_size: int) -> float:
    """Return the factor on one part's loss with which all parts of all processes add up to the whole batch's loss.

    A loss that takes the mean counts by its share of the samples. A loss that sums needs no share, but makes up for
    the division by the number of processes when their gradients are averaged.

    Args:
        loss: A module; its ``reduction`` is ``mean`` unless it says ``sum``.
        share: The part's share of its process's samples.
        world_size: Number of processes.
    """
    return float(world_size) if getattr(loss, "reduction", "mean") == "sum" else share


def _without_exchange(net: nn.Module) -> contextlib.AbstractContextManager[Any]:
    return net.no_sync() if isinstance(net, DistributedDataParallel) else contextlib.nullcontext()
