"""Processes that are lost, restarted, stopped, or spread over nodes: by torchrun as it is."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_interruptions import TRAIN, experiment, ranks_of, start, wait_for
from tests.e2e.test_runners import make_data, options, same, write_options
from tests.helpers import run, torchrun

pytestmark = pytest.mark.slow


def long(total: int) -> dict[str, Any]:
    content = options()
    # Plain gradient descent, so that what rounding leaves stays small.
    content["train"] |= {
        "total_iter": total,
        "ema_decay": 0,
        "optim_g": {"type": "SGD", "lr": 0.01},
        "scheduler": {"type": "MultiStepLR", "milestones": [1000000]},
    }
    content["val"]["val_freq"] = 1000000
    content["logger"] |= {"save_checkpoint_freq": 5, "print_freq": 5}
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_data(tmp_path)
    return tmp_path


def test_a_killed_process_is_restarted_and_the_run_goes_on(folder: Path) -> None:
    write_options(folder, long(40))
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max_restarts=3", "-m")
    process = start(folder, *launcher, *TRAIN, "--launcher", "pytorch", "--auto_resume")
    wait_for(experiment(folder) / "training_states" / "10.state", process)
    os.kill(ranks_of(process)[-1], signal.SIGKILL)
    stderr = process.communicate(timeout=240)[1]
    assert process.returncode == 0, stderr[-3000:]
    assert "Resuming training from epoch" in stderr
    alone = torchrun(folder, *TRAIN, "--launcher", "pytorch", "--force_yml", "name=alone")
    assert alone.returncode == 0
    assert same(*(experiment(folder, name) / "models" / "net_g_40.pth" for name in ("tiny", "alone")))


def test_two_nodes_are_two_processes(folder: Path) -> None:
    write_options(folder, long(10))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = ("--master_addr=127.0.0.1", f"--master_port={port}")
    nodes = [
        start(
            folder,
            *("torch.distributed.run", "--nnodes=2", f"--node_rank={rank}", "--nproc_per_node=1", *address, "-m"),
            *TRAIN,
            *("--launcher", "pytorch", "--force_yml", "name=nodes"),
        )
        for rank in range(2)
    ]
    for node in nodes:
        stderr = node.communicate(timeout=240)[1]
        assert node.returncode == 0, stderr[-3000:]
    assert torchrun(folder, *TRAIN, "--launcher", "pytorch").returncode == 0
    assert same(*(experiment(folder, name) / "models" / "net_g_10.pth" for name in ("tiny", "nodes")))


def test_a_process_that_stops_answering_ends_the_run(folder: Path) -> None:
    write_options(folder, long(1000000))
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    process = start(folder, *launcher, *TRAIN, "--launcher", "pytorch", MPRNET_PLUGIN_TIMEOUT="15")
    wait_for(experiment(folder) / "training_states" / "5.state", process)
    stopped = ranks_of(process)[-1]
    os.kill(stopped, signal.SIGSTOP)
    began = time.monotonic()
    try:
        # The launcher waits for the stopped process to take its SIGTERM, which it cannot.
        stderr = ""
        while "did not answer for 15 s" not in stderr and time.monotonic() < began + 90:
            assert process.stderr is not None
            stderr += process.stderr.readline()
        assert "did not answer for 15 s (MPRNET_PLUGIN_TIMEOUT)" in stderr
    finally:
        os.kill(stopped, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0


def test_a_disk_that_the_second_process_does_not_see(folder: Path) -> None:
    """The first process chooses the checkpoint and hands it on; the second one's working folder has none."""
    write_options(folder, long(10))
    assert torchrun(folder, *TRAIN, "--launcher", "pytorch").returncode == 0
    content = long(20)
    write_options(folder, content)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("data", "run.yml"):
        (elsewhere / name).symlink_to(folder / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        start(
            place,
            *TRAIN,
            *("--launcher", "pytorch", "--auto_resume"),
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        for rank, place in enumerate((folder, elsewhere))
    ]
    for process in processes:
        stderr = process.communicate(timeout=240)[1]
        assert process.returncode == 0, stderr[-3000:]
    assert run(folder, *TRAIN, "--force_yml", "name=straight", "train:total_iter=20").returncode == 0
    assert same(
        experiment(folder) / "models" / "net_g_20.pth", experiment(folder, "straight") / "models" / "net_g_20.pth", 1e-5
    )
