from __future__ import annotations

import subprocess
import sys

import pytest

from mprnet_plugin.memory import _malloc_trim
from tests.helpers import ROOT

GAPS = """
from pathlib import Path
import numpy as np
from mprnet_plugin.memory import give_back

def held() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

blocks = [np.ones(100_000, np.uint8) for _ in range(2_000)]  # below what glibc maps by itself
last = blocks.pop()  # at the heap's end, which therefore does not shrink by itself
blocks.clear()
before = held()
give_back()
print(before - held())
"""


@pytest.mark.skipif(_malloc_trim() is None, reason="another C library than glibc: nothing to ask for freed memory")
def test_freed_memory_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", GAPS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150
