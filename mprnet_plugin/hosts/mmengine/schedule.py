"""The recipes' learning rate as a parameter scheduler of the host."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.schedules import ScheduleOptions, learning_rate

__all__ = ["WarmupCosineLR"]


class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):  # type: ignore[misc]
    """A linear warm-up, then a cosine, stepped once an iteration.

    Args:
        optimizer: The runner's optimiser wrapper; its rate is that after the warm-up.
        by_epoch: False, as our loop trains by iterations.
        end: Unused: the host fills it in, while the rate of every iteration is known, later ones' too.
        options: Those of :class:`~mprnet_plugin.training.schedules.ScheduleOptions`: ``warmup_epochs``,
            ``cosine_epochs``, ``eta_min``, ``iters_per_epoch``, ``per_epoch``.

    Raises:
        InputError: An unknown option, or a number out of range.
    """

    def __init__(self, optimizer: Any, by_epoch: bool = False, end: int | None = None, **options: Any) -> None:
        if by_epoch:
            raise InputError("WarmupCosineLR by_epoch=True: it steps by iterations, leave by_epoch out")
        self.options = ScheduleOptions.read(options, "WarmupCosineLR").model_dump()
        super().__init__(optimizer, by_epoch=False)

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
