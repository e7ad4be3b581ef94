"""How a process of the host's runner ends."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.current_run import RUN
from mprnet_plugin.hosts.basicsr.launch import report_input_errors


class Training:
    """As much of a model as the end of a run looks at."""

    iteration = 7

    def __init__(self, in_step: bool) -> None:
        self.in_step = in_step
        self.stopped_at: int | None = None

    def stop_if_asked(self, iteration: int) -> None:
        self.stopped_at = iteration
        raise SystemExit(RUN.stop.status)


@pytest.mark.parametrize("error", [RuntimeError("worker exited"), EOFError(), ConnectionResetError(104, "reset")])
@pytest.mark.parametrize(
    ("signalled", "in_step", "saves"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_batch_that_a_signal_cut_off_ends_as_the_signal_asks(
    monkeypatch: pytest.MonkeyPatch, error: Exception, signalled: bool, in_step: bool, saves: bool
) -> None:
    seen: list[Any] = []
    training = Training(in_step)
    monkeypatch.setattr(sys, "excepthook", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(RUN, "model", training)
    monkeypatch.setattr(RUN.stop, "signal", signal.SIGTERM if signalled else None)
    report_input_errors(is_train=True)
    if saves:
        with pytest.raises(SystemExit) as end:
            sys.excepthook(type(error), error, None)
        assert (end.value.code, training.stopped_at) == (143, 7)
    else:
        sys.excepthook(type(error), error, None)
        assert len(seen) == 1
        assert training.stopped_at is None
