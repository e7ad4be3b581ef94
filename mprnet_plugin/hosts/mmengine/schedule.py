"""The recipes' learning rate as a parameter scheduler of the host."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import MessageHub, print_log
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.schedules import describe, learning_rate, with_numbers

__all__ = ["WarmupCosineLR", "tell_length"]

_LENGTH, _TOTAL = "iters_per_epoch", "total_iter"


def tell_length(hub: MessageHub, iters_per_epoch: int, total_iter: int) -> None:
    """Tell the schedule, which the host builds after the loop and tells neither, how long epoch and run are.

    Args:
        hub: The runner's.
        iters_per_epoch: Optimiser steps in which the training set is gone through once.
        total_iter: Optimiser steps of the run.
    """
    hub.update_info_dict({_LENGTH: iters_per_epoch, _TOTAL: total_iter})


class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):  # type: ignore[misc]
    """A linear warm-up, then a cosine, stepped once an iteration.

    Args:
        optimizer: The runner's optimiser wrapper; its rate is that after the warm-up.
        by_epoch: False, as our loop trains by iterations.
        end: Iterations of the run, where the loop has not said it; the host fills it in.
        options: Those of :class:`~mprnet_plugin.training.schedules.ScheduleOptions`: ``warmup_epochs``,
            ``cosine_epochs``, ``eta_min``, ``iters_per_epoch``, ``per_epoch``. ``auto`` is known under
            :class:`~mprnet_plugin.hosts.mmengine.loops.ResumableTrainLoop`.

    Raises:
        InputError: An unknown option, a number out of range, or ``auto`` under another loop.
    """

    def __init__(self, optimizer: Any, by_epoch: bool = False, end: int | None = None, **options: Any) -> None:
        if by_epoch:
            raise InputError("WarmupCosineLR by_epoch=True: it steps by iterations, leave by_epoch out")
        hub = MessageHub.get_current_instance()
        total = hub.get_info(_TOTAL) or end or 1
        # Plain numbers, which the host saves with the schedule: a run that resumes goes on by them.
        self.options = with_numbers(options, total, hub.get_info(_LENGTH) or 0, "WarmupCosineLR")
        super().__init__(optimizer, by_epoch=False)
        if hub.get_info(_TOTAL):
            print_log(describe(self.options, self.base_values[0], total), logger="current")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on as a checkpoint's schedule does, and say where the config now asks for another."""
        asked = self.options
        super().load_state_dict(state_dict)
        if self.options != asked:
            kept = {name: value for name, value in self.options.items() if value != asked.get(name)}
            print_log(
                f"the checkpoint's schedule goes on ({kept}), whatever the config says now; load_from starts another "
                "from its network",
                logger="current",
                level=logging.WARNING,
            )

    def _get_value(self) -> list[float]:
        """Return each group's rate for the iteration that comes next."""
        settings = self.options
        epoch = self.last_step / settings["iters_per_epoch"]
        return [
            learning_rate(
                epoch // 1 if settings["per_epoch"] else epoch,
                base,
                settings["warmup_epochs"],
                settings["cosine_epochs"],
                settings["eta_min"],
            )
            for base in self.base_values
        ]
