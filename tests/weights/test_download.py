from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS, WeightsFile, find_task
from mprnet_plugin.weights import download as module
from mprnet_plugin.weights.checkpoint import load_state_dict
from mprnet_plugin.weights.convert import save_weights
from mprnet_plugin.weights.download import cached, demo_weights, download, fetch, verify
from tests.helpers import fill

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves ``content``; ``faults`` says what goes wrong with each answer in turn."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.tag: str | None = '"one"'
        self.faults: list[str] = []
        self.requests: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/weights"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        fault = server.faults.pop(0) if server.faults else ""
        if fault.isdigit():
            self.send_error(int(fault))
            return
        ranged = wanted is not None and self.headers.get("If-Range") == server.tag and fault != "no ranges"
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if ranged and wanted else 0
        body = server.content[start:]
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault in ("truncate", "stall") else body)
        self.wfile.flush()
        if fault == "stall":
            time.sleep(1.5)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as instance:
        thread = threading.Thread(target=instance.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield instance
        instance.shutdown()


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(module.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "file.bin"


def accept(path: Path) -> None:
    """Take anything."""


def files(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_whole_file_and_pin(server: Server, target: Path) -> None:
    assert download(server.url, target, accept) == target
    assert target.read_bytes() == CONTENT
    assert files(target) == ["file.bin", "file.bin.sha256"]
    assert verify(target) == target
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="SHA-256"):
        verify(target)


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_goes_on_where_it_stopped(fault: str, server: Server, target: Path) -> None:
    server.faults = [fault] * 3
    download(server.url, target, accept, timeout=0.3)
    assert target.read_bytes() == CONTENT
    size = len(CONTENT)
    assert server.requests == [None, f"bytes={size // 2}-", f"bytes={size // 4 * 3}-", f"bytes={size // 8 * 7}-"]


def test_goes_on_in_a_later_run(server: Server, target: Path) -> None:
    server.faults = ["truncate", "503"]
    with pytest.raises(InputError, match=r"HTTP status 503\); try again to continue"):
        download(server.url, target, accept)
    assert not target.exists()
    download(server.url, target, accept)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1] == f"bytes={len(CONTENT) // 2}-"


def test_a_file_changed_meanwhile_starts_anew(server: Server, target: Path) -> None:
    server.faults = ["truncate", "503"]
    with pytest.raises(InputError):
        download(server.url, target, accept)
    server.content, server.tag = CONTENT[::-1], '"two"'
    download(server.url, target, accept)
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("tag", [None, 'W/"weak"', '"one"'])
def test_servers_without_ranges(tag: str | None, server: Server, target: Path) -> None:
    server.tag = tag
    server.faults = ["truncate", "no ranges"]
    download(server.url, target, accept)
    assert target.read_bytes() == CONTENT


def test_gives_up_on_a_server_that_never_gets_further(server: Server, target: Path) -> None:
    server.tag = None
    server.faults = ["truncate"] * 50
    with pytest.raises(InputError, match=rf"closed after {len(CONTENT) // 2} of {len(CONTENT)} bytes.*put it at"):
        download(server.url, target, accept)
    assert len(server.requests) < 10
    assert not target.exists()


def test_gives_up_on_a_server_that_only_drips(server: Server, target: Path) -> None:
    server.faults = ["truncate"] * 50
    with pytest.raises(InputError, match="try again to continue"):
        download(server.url, target, accept)
    assert len(server.requests) < 8


@pytest.mark.parametrize("tag", [b"\xff\xfe", b'"one"\nX: y', b""])
def test_a_damaged_tag_starts_anew(tag: bytes, server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"other bytes")
    target.with_name("file.bin.part.tag").write_bytes(tag)
    download(server.url, target, accept)
    assert target.read_bytes() == CONTENT


def test_a_pin_that_is_none(server: Server, target: Path) -> None:
    download(server.url, target, accept)
    pin = target.with_name("file.bin.sha256")
    pin.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="SHA-256"):
        verify(target)
    pin.unlink()
    pin.mkdir()
    with pytest.raises(InputError, match="is a folder"):
        verify(target)


def test_longer_part_than_file_starts_anew(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT * 2)
    target.with_name("file.bin.part.tag").write_text('"one"')
    server.faults = ["416"]
    download(server.url, target, accept)
    assert target.read_bytes() == CONTENT


def test_endless_answers_are_cut(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIMIT", 1000)
    with pytest.raises(InputError, match="more than 1000 bytes"):
        download(server.url, target, accept)


def test_garbage_is_not_kept(server: Server, target: Path) -> None:
    server.content = b"<html>quota exceeded</html>"
    with pytest.raises(InputError, match="is a web page") as caught:
        download(server.url, target, load_state_dict)
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(target) == []


def test_other_bytes_than_pinned_are_refused(server: Server, target: Path) -> None:
    download(server.url, target, accept)
    target.unlink()
    server.content = CONTENT + b"x"
    with pytest.raises(InputError, match=r"differs from what file\.bin\.sha256 remembers"):
        download(server.url, target, accept)
    assert files(target) == ["file.bin.sha256"]


@pytest.mark.parametrize("url", ["http://[::1/x", "http://127.0.0.1:9/x", "file:///etc/hostname"])
def test_no_network_says_where_to_put_the_file(url: str, target: Path) -> None:
    with pytest.raises(InputError, match="put it at") as caught:
        download(url, target, accept)
    assert str(target) in str(caught.value)
    assert "--weight_path" in str(caught.value)


def test_unwritable_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="could not be written"):
        download(server.url, tmp_path / "file" / "target", accept)


def test_fetch_checks_the_task_and_uses_the_cache(
    server: Server, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = fill(MPRNet(**PRESETS["Deraining"])).state_dict()
    save_weights(weights, tmp_path / "w.pdparams")
    server.content = (tmp_path / "w.pdparams").read_bytes()
    items = (WeightsFile("paddlegan", server.url, "MPR.pdparams", "none"),)
    monkeypatch.setattr(module, "find_task", lambda name: dataclasses.replace(find_task(name), weights=items))
    assert cached("Deraining") is None
    with pytest.raises(InputError, match=r"is for Deraining \(n_feat=40.*expected Denoising"):
        fetch("Denoising")
    path = fetch("Deraining")
    assert load_state_dict(path).keys() == weights.keys()
    count = len(server.requests)
    assert fetch("Deraining") == cached("Deraining") == path
    assert len(server.requests) == count


def test_a_folder_that_is_only_read_needs_no_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").write_bytes(b"1")

    def refuse(self: Path, *args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert verify(tmp_path / "w") == tmp_path / "w"


def test_names() -> None:
    with pytest.raises(InputError, match="'deblrr' is unknown, did you mean 'deblur'"):
        fetch("deblrr")
    with pytest.raises(InputError, match="publisher 'paddle' is unknown; did you mean 'paddlegan'"):
        fetch("Deblurring", "paddle")
    assert TASKS["Denoising"].weights[0].url == "https://paddlegan.bj.bcebos.com/models/MPR_Denoising.pdparams"
    assert TASKS["Deraining"].weights[1].url.endswith("1O3WEJbcat7eTY6doXWeorAbQ1l_WmMnM")
    assert demo_weights("DENOISE") == demo_weights("Denoising")
