"""The recipes' learning rate as a parameter scheduler of the host."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mprnet_plugin.training.schedules import ScheduleOptions, learning_rate

__all__ = ["WarmupCosineLR"]


class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):  # type: ignore[misc]
    """A linear warm-up, then a cosine, stepped once an iteration; see :func:`~mprnet_plugin.training.schedules`.

    Args:
        optimizer: The runner's optimiser wrapper; its rate is that after the warm-up.
        by_epoch: False: our loop trains by iterations.
        last_step: Iterations behind a resumed run, as the host has it.
        options: Those of :class:`~mprnet_plugin.training.schedules.ScheduleOptions`: ``warmup_epochs``,
            ``cosine_epochs``, ``eta_min``, ``iters_per_epoch``, ``per_epoch``.

    Raises:
        InputError: An unknown option, or a number out of range.
    """

    def __init__(self, optimizer: Any, by_epoch: bool = False, last_step: int = -1, **options: Any) -> None:
        self.options = ScheduleOptions.read(options, "WarmupCosineLR").model_dump()
        super().__init__(optimizer, last_step=last_step, by_epoch=by_epoch)

    def _get_value(self) -> list[float]:
        """Return each group's rate for the iteration that comes next."""
        settings = ScheduleOptions(**self.options)
        epoch = self.last_step / settings.iters_per_epoch
        return [
            learning_rate(
                epoch // 1 if settings.per_epoch else epoch,
                base,
                settings.warmup_epochs,
                settings.cosine_epochs,
                settings.eta_min,
            )
            for base in self.base_values
        ]
