"""Commands in processes whose surroundings lack something: the work is done, or one line says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mprnet_plugin.streams import printable
from mprnet_plugin.weights.convert import save_weights
from tests.hostile.pictures import saved
from tests.hostile.weights import tiny_weights

ROOT = Path(__file__).parents[1]
RESTORE = f"{sys.executable} {ROOT}/scripts/inference_mprnet.py --cpu --output_path out"
WITH_WEIGHTS = f"{RESTORE} --weight_path w.safetensors"
NO_HOME = (
    "import pwd, sys\ndef nobody(number): raise KeyError(number)\npwd.getpwuid = nobody\n"
    "from mprnet_plugin.inference.cli import cli\ncli()\n"
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs a shell and /dev/full")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_weights(tiny_weights(), tmp_path / "w.safetensors")
    for name in ("a.png", "-b.png"):
        (tmp_path / name).write_bytes(saved("PNG"))
    return tmp_path


def shell(folder: Path, line: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    environment: dict[str, str] = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONUNBUFFERED", None)
    for name, value in changes.items():
        environment.pop(name, None)
        environment.update({} if value is None else {name: value})
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=200,
    )


def results(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("out/*/*"))


@pytest.mark.parametrize(
    ("streams", "status", "stderr"),
    [
        (">/dev/full", 1, "error: standard output could not be written (No space left on device)\n"),
        ("2>/dev/full", 0, ""),
        (">/dev/full 2>/dev/full", 1, ""),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("| true", 0, ""),
    ],
)
def test_streams(streams: str, status: int, stderr: str, folder: Path) -> None:
    done = shell(folder, f"{WITH_WEIGHTS} --input_image a.png {streams}")
    told = "".join(line for line in done.stderr.splitlines(keepends=True) if not line.startswith("engine "))
    assert (done.returncode, told) == (status, stderr)
    assert results(folder) == ["a_restoration.png"]


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
def test_status_of_a_failure_that_cannot_be_told(streams: str, folder: Path) -> None:
    assert shell(folder, f"{WITH_WEIGHTS} --input_image none.png {streams}").returncode == 2
    assert shell(folder, f"{WITH_WEIGHTS} --no_such_option {streams}").returncode == 2


def test_a_full_disk_without_buffer(folder: Path) -> None:
    done = shell(folder, f"{WITH_WEIGHTS} --input_image a.png >/dev/full", PYTHONUNBUFFERED="1")
    # What runs the network, and the error.
    assert (done.returncode, done.stderr.count("\n"), results(folder)) == (1, 2, ["a_restoration.png"])


def test_help_to_a_full_disk(folder: Path) -> None:
    done = shell(folder, f"{RESTORE} --help >/dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_neither_home_nor_user(folder: Path) -> None:
    (folder / "run.py").write_text(NO_HOME)
    line = f"{sys.executable} run.py --cpu --task deblur --output_path out --input_image a.png"
    done = shell(folder, line, HOME=None, XDG_CACHE_HOME=None, MPRNET_PLUGIN_CACHE=None)
    assert (done.returncode, results(folder)) == (0, ["a_restoration.png"]), done.stderr
    done = shell(folder, f"{line} --download", HOME=None, XDG_CACHE_HOME=None, MPRNET_PLUGIN_CACHE=None)
    assert (done.returncode, done.stderr) == (
        2,
        "error: there is no home folder to keep weights in; set MPRNET_PLUGIN_CACHE to a folder\n",
    )


def test_names_in_any_locale(folder: Path) -> None:
    names = ["zoë.png", "写真.png", os.fsdecode(b"latin\xe9.png"), "new\nline.png"]
    for name in names:
        (folder / name).write_bytes(saved("PNG"))
    (folder / os.fsdecode(b"bad\xe9\x1b.png")).write_text("no picture")
    for locale in ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = shell(folder, f"{WITH_WEIGHTS} --overwrite --output_path 'out/Müller' --input_image *.png", **locale)
        assert done.returncode == 1, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("skipped")]
        assert "no picture that is known" in line
        assert "\x1b" not in done.stderr
        assert len(list(folder.glob("out/*/Restored/*.png"))) == len(names) + 2


def test_names_that_look_like_options(folder: Path) -> None:
    done = shell(folder, f"{WITH_WEIGHTS} --input_image *.png")
    assert (done.returncode, results(folder)) == (0, ["-b_restoration.png", "a_restoration.png"]), done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--input_image '~nosuchuser/a.png'", "error: ~nosuchuser/a.png: no such file"),
        (f"--input_image {'n' * 300}.png", "cannot be looked at (File name too long)"),
        (f"--input_image a.png --target {'n' * 300}.png", "File name too long"),
        ("--input_image a.png --output_path /proc/none", "/proc/none/Restored: could not be made"),
        ("--input_image a.png --output_path w.safetensors", "w.safetensors/Restored: could not be made"),
        ("--input_image a.png --weight_path '~nosuchuser/w.pth'", "~nosuchuser/w.pth: no such file"),
    ],
)
def test_what_is_missing_is_said_in_one_line(words: str, says: str, folder: Path) -> None:
    done = shell(folder, f"{WITH_WEIGHTS} {words}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr


def test_printable() -> None:
    assert printable("a b é\t\x1b[0m\udce9") == r"a b é\t\x1b[0m\udce9"
