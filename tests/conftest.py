"""What holds for every test."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random tensors are the same in every run: a test that fails for some numbers fails always or never."""
    torch.manual_seed(0)
