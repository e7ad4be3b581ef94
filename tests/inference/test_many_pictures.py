from __future__ import annotations

import datetime
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.data.decoding import own_size_limit
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference import processes, restorer
from mprnet_plugin.inference.pipeline import in_three_steps
from mprnet_plugin.inference.processes import Processes, this_process
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import TINY, fill, picture, torchrun


def test_reading_and_writing_overlap_with_the_work() -> None:
    """The next is read, and the last written, only if neither waits for the work on the present one."""
    read, written = [threading.Event() for _ in range(4)], [threading.Event() for _ in range(4)]
    main = threading.current_thread()

    def reading(number: int) -> int:
        read[number].set()
        return number

    def working(number: int) -> int:
        assert threading.current_thread() is main
        if number + 1 < len(read):
            assert read[number + 1].wait(10)
        if number > 0:
            assert written[number - 1].wait(10)
        return number

    def writing(number: int) -> int:
        written[number].set()
        return number

    assert list(in_three_steps(range(4), reading, working, writing)) == [0, 1, 2, 3]


def test_what_is_being_written_becomes_whole() -> None:
    done = []

    def writing(number: int) -> int:
        time.sleep(0.2)
        done.append(number)
        return number

    def working(number: int) -> int:
        if number == 1:
            raise KeyboardInterrupt
        return number

    with pytest.raises(KeyboardInterrupt):
        list(in_three_steps(range(3), int, working, writing))
    assert done == [0]


def test_no_more_than_three_are_held() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(9):
            taken.append(number)
            yield number

    def working(number: int) -> int:
        assert len(taken) <= number + 2
        return number

    assert list(in_three_steps(items(), int, working, int)) == list(range(9))


@pytest.mark.parametrize("options", [{}, {"engine": "torch", "self_ensemble": True}, {"tile": 32, "tile_overlap": 0}])
def test_progress_comes_from_inside_a_picture(options: dict[str, Any]) -> None:
    shares: list[float] = []
    net = fill(MPRNet(**TINY))
    Restorer(net, "cpu", **options)(picture(0, 60, 90), shares.append)
    blocks = 3 * 2 * 2 + 6 + 3 * 1 + 2 * 3  # what a pass runs at least
    assert len(shares) > blocks
    assert shares == sorted(shares)
    assert shares[-1] == 1
    steps = np.diff([0, *shares])
    assert steps.max() < 0.2
    if options.get("tile"):  # the windows' ends are exact
        assert {round(share, 9) for share in shares} >= {round(number / 6, 9) for number in range(1, 7)}
    assert not any(module._forward_hooks for module in net.modules())


def test_long_pictures_are_foretold(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(restorer, "_LARGE", 64 * 96)
    monkeypatch.setattr(restorer, "_LONG", 0)
    one = Restorer(fill(MPRNet(**TINY)), "cpu")
    one(picture(0, 60, 90))
    one(picture(0, 60, 90))
    assert [m.rpartition("about")[0] for m in caplog.messages if "about" in m] == ["90 x 60 pixels: "]


def test_pillows_limit_comes_back_after_the_last_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1234)
    first, second = own_size_limit(), own_size_limit()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    inside: Any = Image.MAX_IMAGE_PIXELS
    second.__exit__(None, None, None)
    assert (inside, Image.MAX_IMAGE_PIXELS) == (None, 1234)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Processes()),
        ({"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "a"}, Processes(1, 3, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Processes()),  # of a batch script that starts one process
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "MASTER_ADDR": "a"}, Processes(5, 8, 1)),
    ],
)
def test_which_process_this_is(
    environment: dict[str, str], expected: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert this_process() == expected


def test_processes_that_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="RANK=3, WORLD_SIZE=2"):
        this_process()


def test_a_process_that_is_lost_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what became of its files, so the summary cannot be true, nor a status of 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.setattr(processes, "_PATIENCE", datetime.timedelta(seconds=2))
    with pytest.raises(InputError, match="a process was lost"):
        Processes(0, 2).gathered([])


def test_two_processes_share_the_files_out(tmp_path: Path) -> None:
    save_weights(fill(MPRNet(**TINY)).state_dict(), tmp_path / "w.pth")
    (tmp_path / "in").mkdir()
    for number in range(5):
        Image.fromarray(picture(number, 16, 16)).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "9.png").write_text("no picture")
    words = ["--input_image", "in", "--weight_path", "w.pth", "--task", "derain", "--cpu"]
    done = torchrun(tmp_path, "mprnet_plugin.inference", *words)
    assert "5 restored, 1 failed" in done.stdout, done.stderr
    assert done.stdout.count("results are in") == 1
    assert done.returncode == 1
    assert len(list((tmp_path / "output_dir").rglob("*.png"))) == 5
    assert done.stderr.count("skipped:") == 1
