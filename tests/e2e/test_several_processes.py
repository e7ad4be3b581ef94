"""Processes that are lost, restarted, stopped, or spread over nodes: by torchrun as it is."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_interruptions import TRAIN, experiment, ranks_of, start
from tests.e2e.tiny_run import assert_same_descent, models, options, same
from tests.helpers import run, torchrun, write_options

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


def test_a_killed_process_is_restarted_and_the_run_goes_on(folder: Path) -> None:
    write_options(folder, long(40))
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max_restarts=3", "-m")
    running = start(folder, *launcher, *TRAIN, "--launcher", "pytorch", "--auto_resume")
    running.wait_for(experiment(folder) / "training_states" / "10.state")
    os.kill(ranks_of(running)[-1], signal.SIGKILL)
    status, stderr = running.finish()
    assert status == 0, stderr[-3000:]
    assert "Resuming training from epoch" in stderr
    assert "connectFullMesh failed" not in stderr  # as without names of its own for each restart
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
        status, stderr = node.finish()
        assert status == 0, stderr[-3000:]
    assert torchrun(folder, *TRAIN, "--launcher", "pytorch").returncode == 0
    assert same(*(experiment(folder, name) / "models" / "net_g_10.pth" for name in ("tiny", "nodes")))


def test_a_process_that_stops_answering_ends_the_run(folder: Path) -> None:
    write_options(folder, long(1000000))
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    running = start(folder, *launcher, *TRAIN, "--launcher", "pytorch", MPRNET_PLUGIN_TIMEOUT="15")
    running.wait_for(experiment(folder) / "training_states" / "5.state")
    os.kill(ranks_of(running)[-1], signal.SIGSTOP)
    status, stderr = running.finish()
    assert status != 0
    assert "did not answer for 15 s (MPRNET_PLUGIN_TIMEOUT)" in stderr, stderr[-3000:]


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
        status, stderr = process.finish()
        assert status == 0, stderr[-3000:]
    assert run(folder, *TRAIN, "--force_yml", "name=straight", "train:total_iter=20").returncode == 0
    straight = models(folder, "straight")
    for iteration in (3, 6):  # between which the distance is that a descent is measured by
        (straight / f"net_g_{5 * (iteration // 3)}.pth").rename(straight / f"net_g_{iteration}.pth")
    assert_same_descent(models(folder), straight, 20)
