"""What the host's runner keeps to itself and our parts need: one run a process, so one record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from mprnet_plugin.hosts.basicsr.stopping import StopRequest

if TYPE_CHECKING:
    from mprnet_plugin.hosts.basicsr.resumable_model import ResumableModel

__all__ = ["RUN", "CurrentRun"]


@dataclass
class CurrentRun:
    """A training run as far as it has been set up.

    Attributes:
        samples: Samples of an epoch, over all processes; 0 before the sampler is made.
        settings: In which settings the run differs from a shipped recipe, as lines for the log.
        tb_logger: TensorBoard's writer, or None.
        stop: Whether a signal has asked the run to stop.
        model: The model in training, once it is built.
        lock: The open lock on the experiment's name, in the first process.
    """

    samples: float = 0
    settings: str = ""
    tb_logger: Any = None
    stop: StopRequest = field(default_factory=StopRequest)
    model: ResumableModel | None = None
    lock: IO[str] | None = None

    def iterations_per_epoch(self, opt: dict[str, Any]) -> int:
        """Return an epoch's length as the host counts it; 0 where no sampler was made."""
        if not self.samples:
            return 0
        batch: int = opt["datasets"]["train"]["batch_size_per_gpu"] * opt["world_size"]
        return math.ceil(self.samples / batch)


RUN = CurrentRun()
