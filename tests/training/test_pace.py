from __future__ import annotations

import pytest
import torch

from mprnet_plugin.training.pace import Pace, peak_memory


def test_what_is_neither_training_nor_waiting_for_data_does_not_count() -> None:
    now = 0.0
    pace = Pace(lambda: now)

    def step(wait: float, work: float, images: int = 8) -> None:
        nonlocal now
        now += wait
        pace.working()
        now += work
        pace.stepped(images)

    step(100.0, 2.0)  # until the first batch is there, processes start
    step(1.0, 2.0)
    now += 50.0  # a validation
    pace.waiting()
    step(1.0, 2.0)
    assert pace.report() == {"images_per_s": pytest.approx(24 / 8), "wait_s": pytest.approx(2 / 3)}
    step(3.0, 1.0)
    assert pace.report() == {"images_per_s": pytest.approx(2.0), "wait_s": pytest.approx(3.0)}
    assert pace.report() == {}


def test_memory_is_what_the_process_has_held() -> None:
    held = torch.ones(25_000_000)
    assert 4 * len(held) < peak_memory(torch.device("cpu")) < 1 << 40
