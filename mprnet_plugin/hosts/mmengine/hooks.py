"""What happens around the runner's loops: checkpoints that resume safely, pictures of before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.mmengine.model import REMEDY, MPRNetRestorer
from mprnet_plugin.inference.engines import choose, this_machine
from mprnet_plugin.training import grids
from mprnet_plugin.training import validation as val
from mprnet_plugin.training.pace import peak_memory
from mprnet_plugin.training.step import TrainingStep, match_layout

__all__ = ["PicturesHook", "RestorationHook", "SpeedHook"]

PLAIN = (bool, int, float, str, bytes, type(None), torch.Tensor)


class RestorationHook(Hook):  # type: ignore[misc]
    """Checkpoints of plain data, which the host's releases read without running anything, and what our step counts.

    The host puts objects of its own into a checkpoint, which ``torch.load`` refuses since torch 2.6. Here they are
    saved as tensors and numbers, and made again when a run resumes.
    """

    priority = "VERY_LOW"

    def before_train(self, runner: Any) -> None:
        """Take up what was loaded; make ``fp32`` exact on GPUs too; say where another precision is slow."""
        step = _step(runner)
        if step is None:
            return
        match_layout(runner.optim_wrapper.optimizer)
        if step.options.precision == "fp32":
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        device = next(runner.model.parameters()).device
        slow = choose("torch", step.options.precision, this_machine(device)).warning
        if slow:
            runner.logger.warning(slow)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Turn the host's objects into plain data.

        Raises:
            InputError: The network has become useless.
        """
        if not all(bool(value.isfinite().all()) for value in checkpoint["state_dict"].values()):
            raise InputError(
                f"the network has values that are not finite at iteration {runner.iter + 1}: training diverged, and "
                f"nothing was saved; {REMEDY}"
            )
        checkpoint["state_dict"] = {key: value.contiguous() for key, value in checkpoint["state_dict"].items()}
        checkpoint["message_hub"] = _plain(checkpoint["message_hub"])
        step = _step(runner)
        if step is not None:
            checkpoint["step"] = step.state_dict()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Make the host's objects again, and take out what it would run.

        Raises:
            InputError: A run shall go on from what is no run's checkpoint.
        """
        if not runner._resume:
            return
        if not {"meta", "optimizer", "message_hub"} <= checkpoint.keys():
            raise InputError("the file to resume from is no checkpoint of a run: start from its weights with load_from")
        checkpoint["meta"].pop("config", None)  # the host would execute it
        scalars = checkpoint["message_hub"]["log_scalars"]
        checkpoint["message_hub"]["log_scalars"] = {name: _history(scalar) for name, scalar in scalars.items()}
        step = _step(runner)
        if step is not None:
            step.load_state_dict(checkpoint.get("step", {}))


def _step(runner: Any) -> TrainingStep | None:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return model.step if isinstance(model, MPRNetRestorer) else None


def _plain(value: Any) -> Any:
    """Return data without classes; what is none is left out of mappings."""
    if isinstance(value, HistoryBuffer):
        history, counts = (torch.as_tensor(array, dtype=torch.float32) for array in value.data)
        return {"history": history, "counts": counts, "max_length": value.max_length}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    if isinstance(value, Mapping):
        return {key: plain for key, one in value.items() if (plain := _plain(one)) is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, PLAIN) else None


def _history(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return HistoryBuffer(value["history"].tolist(), value["counts"].tolist(), value["max_length"])


class SpeedHook(Hook):  # type: ignore[misc]
    """Images a second and memory beside the times that the host logs, in every backend of the visualizer."""

    priority = "NORMAL"  # after the host's timer, before its logger

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Count the batch that was trained on, over all processes."""
        hub = runner.message_hub
        if "train/time" not in hub.log_scalars or data_batch is None:
            return
        seconds = float(hub.get_scalar("train/time").current())
        if seconds > 0:
            hub.update_scalar("train/images_per_s", len(data_batch["lq"]) * runner.world_size / seconds)
        device = next(runner.model.parameters()).device
        if device.type != "cuda":  # the host says it of GPUs
            hub.update_scalar("train/memory_gb", peak_memory(device) / 1e9)


class PicturesHook(Hook):  # type: ignore[misc]
    """Show degraded, restored and sharp middles side by side, through every backend of the visualizer.

    Args:
        images: Pictures of each validation or test that are shown: the first of the first process.
        names: Show these instead, by the names that images.csv has, whichever process restores them.
        save_dir: Folder for every restored picture of a test, ``SET/PICTURE.png`` below it; none if left out.
    """

    priority = "LOW"

    def __init__(self, images: int = 4, save_dir: str | None = None, names: Sequence[str] = ()) -> None:
        self.images = images
        self.save_dir = save_dir
        self.names = frozenset(names)
        self._shown: dict[str, list[val.Restored]] = {}

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Keep the first pictures."""
        self._keep(runner.val_loop, data_batch, outputs or ())

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Keep the first pictures, and write all where a folder is given."""
        self._keep(runner.test_loop, data_batch, outputs or ())
        for sample in outputs if outputs and self.save_dir else ():
            path = Path(str(self.save_dir)) / _set_name(runner.test_loop) / f"{sample.key}.png"
            grids.write_png(val.to_picture(sample.pred[None], rounded=True), path)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Show what was kept."""
        self._show(runner, "val", runner.iter)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Show what was kept."""
        self._show(runner, "test", 0)

    def _keep(self, loop: Any, batch: Any, outputs: Sequence[Any]) -> None:
        shown = self._shown.setdefault(_set_name(loop), [])
        for lq, sample in zip(batch["lq"], outputs, strict=False):
            if sample.key in self.names if self.names else len(shown) < self.images:
                degraded = lq.float().div(255) if lq.dtype == torch.uint8 else lq
                pictures = (degraded, sample.pred, sample.get("gt"))
                before, after, target = (one if one is None else val.to_picture(one[None], True) for one in pictures)
                assert before is not None and after is not None  # noqa: S101, PT018
                shown.append(grids.middles(val.Restored(sample.key, before, after, target)))

    def _show(self, runner: Any, phase: str, step: int) -> None:
        for name, mine in self._shown.items():
            images = mine
            if self.names:
                found = {one.name: one for part in all_gather_object(mine) for one in part}
                images = [found[key] for key in sorted(found)]
                if runner.rank == 0 and self.names - found.keys():
                    runner.logger.warning(f"PicturesHook: {name} has no {', '.join(sorted(self.names - found.keys()))}")
            if images and runner.rank == 0:
                picture = np.ascontiguousarray(grids.draw_grid(images)[..., ::-1])
                runner.visualizer.add_image(f"{phase}_{name}", picture, step=step)
        self._shown = {}


def _set_name(loop: Any) -> str:
    return str(loop.dataloader.dataset.metainfo["dataset_name"]) or "pictures"
