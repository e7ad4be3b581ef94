from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mprnet_plugin import files
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import open_regular, read_regular, whole_file

WRITER = """
import sys, time
from pathlib import Path
from mprnet_plugin.files import whole_file
with whole_file(Path(sys.argv[1])) as part:
    part.write_text("half")
    print(part.name, flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_names_cannot_be_foreseen_and_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / f".{os.getpid()}.part.a.txt").symlink_to(victim)  # what an earlier version would have written to
    seen = set()
    for _ in range(3):
        with whole_file(folder / "a.txt") as part:
            assert re.fullmatch(r"\.mprnet-[0-9a-f]{16}\.txt", part.name)
            assert part.parent == folder
            seen.add(part.name)
            part.write_text("new")
    assert len(seen) == 3
    assert victim.read_text() == "mine"
    assert (folder / "a.txt").read_text() == "new"


def test_a_name_that_is_there_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".mprnet-00.txt").symlink_to(tmp_path / "victim")
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "00")
    with pytest.raises(InputError, match="File exists"), whole_file(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == [".mprnet-00.txt"]


def test_a_file_put_in_its_place_is_not_taken(tmp_path: Path) -> None:
    def replaced() -> None:
        with whole_file(tmp_path / "a.txt") as part:
            part.unlink()
            part.write_text("another's")

    with pytest.raises(InputError, match="somebody replaced it"):
        replaced()
    assert names(tmp_path) == []


def test_leftovers_go_when_their_process_is_gone_and_not_before(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / name)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for name in ("killed", "alive")
    ]
    try:
        parts = [writer.stdout.readline().strip() for writer in writers if writer.stdout is not None]
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        (tmp_path / ".mprnet-note").write_text("of another program")
        assert set(parts) < set(names(tmp_path))
        with whole_file(tmp_path / "next") as part:
            part.write_text("")
        assert names(tmp_path) == sorted([parts[1], ".mprnet-note", "next"])
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def test_long_names_have_room_for_the_temporary_one(tmp_path: Path) -> None:
    with whole_file(tmp_path / ("n" * 251 + ".txt")) as part:
        part.write_text("")
    with pytest.raises(InputError, match=r"File name too long.*use a shorter name"), whole_file(tmp_path / ("n" * 256)):
        pass
    assert len(names(tmp_path)) == 1


@pytest.mark.timeout(20)
def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        kinds = {
            tmp_path / "pipe": "pipe",
            tmp_path / "link": "pipe",
            tmp_path / "socket": "socket",
            tmp_path: "folder",
        }
        for path, kind in {**kinds, Path("/dev/zero"): "device"}.items():
            with pytest.raises(InputError, match=f"cannot be read, as it is a {kind}; give a regular file"):
                open_regular(path)
            with pytest.raises(InputError, match=f"as it is a {kind}"):
                read_regular(path)
