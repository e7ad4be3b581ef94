"""Disks that are full or read-only: one line, nothing broken, and the run goes on when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.tiny_run import models, options, same
from tests.helpers import run, write_options

pytestmark = pytest.mark.slow

# The disk is the shell's own, in a namespace that ends with it; every line adds a run's status.
SCRIPT = """
mkdir disk && mount -t tmpfs -o size=9000k none disk && cd disk && cp -r ../data ../*.yml . || exit 9
mount -o remount,size=$(($(df --output=used . | tail -n 1) + 16))k none .
try() { "$PYTHON" -m "$@" 2> "../error_$number.txt"; echo $? >> ../statuses.txt; number=$((number + 1)); }
number=0
try basicsr.train -opt run.yml
mount -o remount,size=3600k none .
try basicsr.train -opt run.yml --auto_resume
mount -o remount,ro none .
try basicsr.train -opt run.yml --auto_resume
try basicsr.test -opt test.yml
mount -o remount,rw,size=9000k none .
try basicsr.train -opt run.yml --auto_resume
cp -r experiments ..
"""
NAMESPACE = ("unshare", "--map-root-user", "--mount")


def may_mount() -> bool:
    """Tell whether this system lets anybody mount in a namespace of their own."""
    if shutil.which("unshare") is None:
        return False
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs a system that lets anybody mount a small disk (unshare --mount)")
def test_a_run_on_disks_that_are_full_or_read_only(folder: Path) -> None:
    content = options()
    content["logger"]["use_tb_logger"] = True
    content["val"]["save_img"] = True
    write_options(folder, content)
    test = {name: content[name] for name in ("name", "model_type", "network_g")}
    test |= {"datasets": {"test": content["datasets"]["val"]}, "val": {"metrics": content["val"]["metrics"]}}
    write_options(folder, test, "test.yml")
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = [*NAMESPACE, "sh", "-c", SCRIPT]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    errors = [(folder / f"error_{number}.txt").read_text() for number in range(5)]
    assert (folder / "statuses.txt").read_text().split() == ["2", "2", "2", "2", "0"], [done.stderr, *errors]
    assert not any("Traceback" in error for error in errors)
    full, half, *read_only, _ = (error.splitlines()[-1] for error in errors)
    assert "net_g_3.pth: could not be written (0 bytes are free); free space or choose another place" in full
    assert errors[0].count("the log file") == 1  # not for every line, and it does not end the run
    assert "could not be written" in half, half
    assert all("Read-only file system" in line for line in read_only), read_only
    assert "Resuming training from epoch: 1, iter: 3" in errors[-1]
    assert run(folder, "basicsr.train", "-opt", "run.yml", "--force_yml", "name=straight").returncode == 0
    assert same(models(folder) / "net_g_6.pth", models(folder, "straight") / "net_g_6.pth")
