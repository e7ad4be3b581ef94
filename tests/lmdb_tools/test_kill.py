from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "kill_test.py"


@pytest.mark.slow
def test_killed_runs_end_as_an_undisturbed_one(tmp_path: Path) -> None:
    line = [sys.executable, str(SCRIPT), "--work", str(tmp_path), "--runs", "4", "--pairs", "30", "--seed", "1"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs" in done.stdout
