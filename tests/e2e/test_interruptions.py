"""Trainings that are interrupted, resumed and disturbed, by the real commands: what they end with is the truth."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from tests.e2e.tiny_run import assert_same_descent, logged, logged_numbers, models, options, same
from tests.helpers import Done, run, torchrun, write_options

pytestmark = pytest.mark.slow

TRAIN = ("basicsr.train", "-opt", "run.yml")


def experiment(folder: Path, name: str = "tiny") -> Path:
    return folder / "experiments" / name


def flip_a_bit_of_a_weight(path: Path) -> None:
    """Change a file of torch.save as a worn disk does: it can still be read, and gives other weights."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda part: part.file_size)
    name, extra = struct.unpack_from("<HH", content, part.header_offset + 26)
    content[part.header_offset + 30 + name + extra + part.file_size // 2] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch does not look


def last_line(done: Done) -> str:
    return done.stderr.strip().splitlines()[-1]


class Running(NamedTuple):
    """A command that was started, and the file that its standard error goes to: a pipe that nobody reads fills up."""

    process: subprocess.Popen[bytes]
    log: Path

    def finish(self, seconds: float = 240) -> tuple[int, str]:
        """Return status and standard error when it has ended."""
        return self.process.wait(seconds), self.log.read_text()

    def wait_for(self, path: Path, seconds: float = 120) -> None:
        """Wait until a file is there."""
        end = time.monotonic() + seconds
        while not path.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, f"{path} did not appear"
            time.sleep(0.02)


def start(folder: Path, *arguments: str, **env: str) -> Running:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    log = folder / f"stderr_{len(list(folder.glob('stderr_*')))}.txt"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", *arguments]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True
        )
    return Running(process, log)


def records(folder: Path) -> list[dict[str, Any]]:
    text = (experiment(folder) / "validations.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_another_batch_goes_on_to_the_last_iteration_and_the_ends_are_true(folder: Path) -> None:
    assert run(folder, *TRAIN, "--force_yml", "train:total_iter=3").returncode == 0
    # Epochs are twice as long now, and the state counted in the old ones.
    more = ("train:total_iter=9", "train:scheduler:periods=[9]", "datasets:train:batch_size=2")
    refused = run(folder, *TRAIN, "--auto_resume", "--force_yml", *more)
    assert refused.returncode == 2
    assert "the schedule's periods [6] sum to 6, fewer than train:total_iter 9" in last_line(refused)
    content = options()
    content["train"]["scheduler"] = {"type": "MultiStepLR", "milestones": [100]}
    write_options(folder, content)
    assert run(folder, *TRAIN, "--force_yml", "train:total_iter=3").returncode == 0
    done = run(folder, *TRAIN, "--auto_resume", "--force_yml", more[0], more[2])
    assert done.returncode == 0, done.stderr
    assert (
        "An epoch is 3 iterations now, so iteration 3 is in epoch 1, not" in done.stderr
        or "epoch: 1, iter: 3" in done.stderr
    )
    assert [path.name for path in sorted((experiment(folder) / "models").glob("net_g_9.pth"))] == ["net_g_9.pth"]
    beyond = run(folder, *TRAIN, "--auto_resume", "--force_yml", "train:total_iter=6")
    assert beyond.returncode == 2
    assert "9.state is of iteration 9, beyond train:total_iter 6" in last_line(beyond)


def test_damage_is_found_and_nothing_whole_is_an_error(folder: Path) -> None:
    assert run(folder, *TRAIN).returncode == 0
    states, models = experiment(folder) / "training_states", experiment(folder) / "models"
    network = models / "net_g_6.pth"
    flip_a_bit_of_a_weight(network)
    done = run(folder, *TRAIN, "--auto_resume")
    assert done.returncode == 0, done.stderr
    assert "skipping 6.state: network" in done.stderr
    assert "checksum" in done.stderr
    assert "iter: 3." in done.stderr
    network.unlink()
    network.mkdir()  # what cannot be read may be whole all the same
    done = run(folder, *TRAIN, "--auto_resume")
    assert done.returncode == 2
    assert "net_g_6.pth cannot be read: Is a directory; check the disk" in last_line(done)
    network.rmdir()
    for path in states.glob("*.state"):
        path.write_bytes(path.read_bytes()[:-40])
    before = sorted(path.name for path in (folder / "experiments").iterdir())
    done = run(folder, *TRAIN, "--auto_resume")
    assert done.returncode == 2
    assert "2 training states, none of which can be continued" in last_line(done)
    assert sorted(path.name for path in (folder / "experiments").iterdir()) == before  # nothing was archived


def test_a_state_of_another_experiment_takes_the_network_beside_it(folder: Path) -> None:
    assert run(folder, *TRAIN).returncode == 0
    state = experiment(folder) / "training_states" / "3.state"
    moved = ("--force_yml", "name=other", f"path:resume_state={state}")
    done = run(folder, *TRAIN, *moved)
    assert done.returncode == 0, done.stderr
    assert same(experiment(folder, "other") / "models" / "net_g_6.pth", experiment(folder) / "models" / "net_g_6.pth")
    (experiment(folder) / "models" / "net_g_3.pth").unlink()
    done = run(folder, *TRAIN, *moved)
    assert done.returncode == 2
    assert "net_g_3.pth does not exist" in last_line(done)


def test_a_validation_that_a_kill_has_interrupted_is_done_after_resuming(folder: Path) -> None:
    straight = run(folder, *TRAIN)
    assert straight.returncode == 0
    expected, best = records(folder), logged(straight, "# psnr")
    # As killed between checkpoint and validation of iteration 3: the record is not there, nor anything later.
    (experiment(folder) / "validations.jsonl").unlink()
    for path in experiment(folder).glob("*/*6*"):
        path.unlink()
    (experiment(folder) / "validations.jsonl").write_text("")
    done = run(folder, *TRAIN, "--auto_resume")
    assert done.returncode == 0, done.stderr
    assert "Validation val of iteration 3 was interrupted: again" in done.stderr
    assert records(folder) == expected
    assert logged(done, "# psnr") == best
    # And where it was complete it is not repeated.
    again = run(folder, *TRAIN, "--auto_resume", "--force_yml", "train:total_iter=6")
    assert "interrupted: again" not in again.stderr
    assert records(folder) == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_the_run_goes_on_bit_for_bit(folder: Path, number: signal.Signals) -> None:
    content = options()
    content["train"] |= {"total_iter": 60, "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [60]}}
    content["val"]["val_freq"] = content["logger"]["save_checkpoint_freq"] = 20
    content["datasets"]["train"] |= {"num_worker_per_gpu": 2, "persistent_workers": True}
    write_options(folder, content)
    running = start(folder, *TRAIN)
    running.wait_for(experiment(folder) / "models" / "net_g_20.pth")
    workers = children_of(running.process.pid)
    os.killpg(running.process.pid, number)  # as terminals and batch systems do: to the loading processes too
    status, stderr = running.finish()
    assert status == 128 + number, stderr
    assert workers
    assert not any(_alive(pid) for pid in workers)
    assert stderr.count("finishing this step") == 1
    assert f"{number.name}: finishing this step, then saving" in stderr
    assert "is saved; --auto_resume continues" in stderr
    assert "Traceback" not in stderr
    resumed = run(folder, *TRAIN, "--auto_resume")
    assert resumed.returncode == 0, resumed.stderr
    if number == signal.SIGTERM:
        assert run(folder, *TRAIN, "--force_yml", "name=straight").returncode == 0
        one, two = (experiment(folder, name) / "models" / "net_g_60.pth" for name in ("tiny", "straight"))
        assert same(one, two)


def test_a_second_signal_ends_at_once(folder: Path) -> None:
    content = options()
    content["train"] |= {"total_iter": 100000, "scheduler": {"type": "MultiStepLR", "milestones": [100]}}
    content["val"]["val_freq"] = 100000
    write_options(folder, content)
    running = start(folder, *TRAIN)
    running.wait_for(experiment(folder) / "models" / "net_g_3.pth")
    os.kill(running.process.pid, signal.SIGSTOP)  # so that both are there before the step is finished
    os.kill(running.process.pid, signal.SIGTERM)
    os.kill(running.process.pid, signal.SIGINT)
    os.kill(running.process.pid, signal.SIGCONT)
    status, stderr = running.finish()
    assert status in (-signal.SIGTERM, -signal.SIGINT), stderr
    assert "is saved" not in stderr


def test_one_name_one_run_and_ranks_end_with_their_launcher(folder: Path) -> None:
    content = options()
    content["train"] |= {"total_iter": 100000, "scheduler": {"type": "MultiStepLR", "milestones": [100]}}
    content["val"]["val_freq"] = 100000
    write_options(folder, content)
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    running = start(folder, *launcher, *TRAIN, "--launcher", "pytorch")
    running.wait_for(experiment(folder) / "models" / "net_g_3.pth")
    second = run(folder, *TRAIN)
    assert second.returncode == 2
    assert "belongs to a training that is running (process" in last_line(second)
    ranks = ranks_of(running)
    assert len(ranks) == 2
    running.process.kill()
    running.process.wait()
    end = time.monotonic() + 20
    while any(_alive(pid) for pid in ranks) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(_alive(pid) for pid in ranks)
    # The lock went with them: it is the state that the next one minds.
    assert "beyond train:total_iter 1" in last_line(
        run(folder, *TRAIN, "--auto_resume", "--force_yml", "train:total_iter=1")
    )


def ranks_of(launcher: Running) -> list[int]:
    """Return the processes that a launcher has started, in the order of their numbers."""
    return [pid for pid in children_of(launcher.process.pid) if b"basicsr.train" in _command(pid)]


def children_of(parent: int) -> list[int]:
    numbers = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in numbers if _parent(pid) == parent]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_mixup_is_the_same_on_one_process_and_on_two(folder: Path) -> None:
    content = options()
    # Plain gradient descent, which leaves rounding as small as it is; every iteration mixes.
    content["train"] |= {
        "optim_g": {"type": "SGD", "lr": 0.01},
        "mixup": {"alpha": 0.6, "start_iter": 1},
        "ema_decay": 0,
    }
    content["val"]["val_freq"] = 100
    (folder / "run.yml").write_text(yaml.safe_dump(content))
    single = run(folder, *TRAIN)
    double = torchrun(folder, *TRAIN, "--launcher", "pytorch", "--force_yml", "name=double")
    assert double.returncode == 0, double.stderr
    # Five digits are logged, and rounding may turn the last.
    assert logged_numbers(double, "l_total") == pytest.approx(logged_numbers(single, "l_total"), rel=2e-4)
    assert_same_descent(models(folder, "double"), models(folder), iteration=6)
