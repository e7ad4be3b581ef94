"""What holds for every test."""

from __future__ import annotations

import logging
import os

# With AMX `precision: auto` is bf16, and what the tests compare would differ from machine to machine. Commands that
# they run inherit it. It must be there before torch is.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random tensors are the same in every run: a test that fails for some numbers fails always or never."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def quiet() -> None:
    """How much is logged is what the test says, not what a command that an earlier test ran had chosen."""
    logging.getLogger("mprnet_plugin").setLevel(logging.NOTSET)
