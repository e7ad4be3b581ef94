"""``mprnet-web`` as a command: what it needs, what it refuses, what a killed one leaves."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import ROOT, run
from tests.web.served import free_port, served

COMMAND = "mprnet_plugin.web.cli"
OTHER_GRADIO = """
import sys
from importlib import metadata
{version}
metadata.version = version
sys.argv = ["mprnet-web", "--port", "1"]
from mprnet_plugin.web.cli import cli
cli()
"""


def test_without_gradio_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = "def version(name): raise metadata.PackageNotFoundError(name)"
    done = run(tmp_path, OTHER_GRADIO.format(version=code), launcher=("-c",))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: mprnet-web needs gradio, which is not installed: pip install 'mprnet-plugin[web]'\n"


def test_an_old_gradio_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, OTHER_GRADIO.format(version="def version(name): return '5.49.1'"), launcher=("-c",))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: mprnet-web needs gradio 6.31 or later, 5.49.1 is installed: pip install")
    assert '"gradio>=6.31"' in (ROOT / "setup.py").read_text(encoding="utf-8")


def test_nothing_else_imports_gradio(tmp_path: Path) -> None:
    code = (
        "import sys, mprnet_plugin, mprnet_plugin.inference.predictor, mprnet_plugin.web.cli, mprnet_plugin.web.work;"
        "sys.exit(any(name.split('.')[0] in ('gradio', 'fastapi', 'pandas') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_port_that_is_none(tmp_path: Path, port: str) -> None:
    done = run(tmp_path, COMMAND, f"--port={port}")
    assert (done.returncode, done.stderr) == (2, f"error: port {port} must be from 1 to 65535: try 7860\n")


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        done = run(tmp_path, COMMAND, "--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: port {port} is taken: give another, such as --port {port + 1}\n"


@pytest.mark.slow
def test_what_a_killed_server_left_goes_with_the_next_one(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        killed = server.root
        server.process.kill()
        server.process.wait()
    assert killed.exists()
    (tmp_path / "second").mkdir()
    strangers = server.temporary / "mprnet-web-without-a-lock"
    strangers.mkdir()
    with served(tmp_path / "second", TMPDIR=str(server.temporary)) as second:
        assert not killed.exists()
        assert strangers.exists()
        (alive,) = (path for path in server.temporary.glob("mprnet-web-*") if path != strangers)
        # One that lives is left alone by a third.
        done = run(tmp_path, COMMAND, "--port", str(second.port), TMPDIR=str(server.temporary))
        assert "is taken" in done.stderr
        assert alive.exists()
        assert second.end()[0] == 0
    assert list(server.temporary.iterdir()) == [strangers]


def test_examples_are_small_and_say_whose_they_are() -> None:
    pytest.importorskip("gradio")
    from mprnet_plugin.web import parts

    text = (ROOT / "mprnet_plugin" / "web" / "examples" / "README.md").read_text(encoding="utf-8")
    assert len(parts.EXAMPLES) == 3
    for path in parts.EXAMPLES:
        assert path.stat().st_size < 100_000
        assert f"| `{path.name}` |" in text
        with Image.open(path) as image:
            assert max(image.size) < 500
