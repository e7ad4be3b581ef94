"""What the shell scripts share: the installation, and what Python tells them about a task."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mprnet_plugin.tasks import TASKS
from tests.helpers import ROOT, Done

PYTHON = """#!/bin/sh
echo "$@" >>calls
case "$*" in
    "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip"*) test ! -e no-network ;;
esac
"""


def shell(folder: Path, code: str, repository: Path = ROOT) -> Done:
    """Run a line of a script that has sourced the helper."""
    script = f'set -euo pipefail; source "$1/scripts/_common.sh"; {code}'
    command = ["bash", "-c", script, "script", str(repository)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "a plugin"
    for name in ("setup.py", "pyproject.toml", "a.pth", "a.start", "options/a.yml", "scripts/install_host.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in ("mprnet_plugin", "lmdb_tools"):
        (root / name).mkdir()
    shutil.copy(ROOT / "scripts" / "_common.sh", root / "scripts")
    return root


def test_installs_again_only_where_the_plugin_has_changed(tmp_path: Path, repository: Path) -> None:
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def install() -> list[str]:
        calls.write_text("")
        done = shell(tmp_path, f"python='{python}'; install venv demo; echo $python", repository)
        assert (done.returncode, done.stdout) == (0, f"{tmp_path}/venv/bin/python\n"), done.stderr
        return calls.read_text().splitlines()

    again = [f"{repository}/scripts/install_host.py --quiet", f"-m pip install --quiet {repository}[demo]"]
    assert install() == ["-m venv venv", *again]
    assert install() == []
    (repository / "options" / "a.yml").write_text("changed")
    (tmp_path / "no-network").touch()
    assert shell(tmp_path, f"python='{python}'; install venv demo; echo unreached", repository).stdout == ""
    (tmp_path / "no-network").unlink()
    assert install() == again  # what failed half-way is not taken for done
    (repository / "mprnet_plugin" / "a.cpython-313.pyc").touch()
    assert install() == []


@pytest.mark.parametrize("name", ["Deraining", "derain", "DERAIN"])
def test_facts_of_a_task_come_from_python(tmp_path: Path, name: str) -> None:
    show = 'printf "%s\\n" "$task" "$full_name" "$data" "$test_data" "$packer"'
    done = shell(tmp_path, f"python='{sys.executable}'; task_facts {name}; {show}")
    task = TASKS["Deraining"]
    assert done.stdout.splitlines() == [task.short, task.name, task.data, task.test_data, task.packer]


def test_unknown_task_ends_the_script(tmp_path: Path) -> None:
    done = shell(tmp_path, f"python='{sys.executable}'; task_facts 'de rain'; echo unreached")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: task 'de rain' is unknown, did you mean 'derain'?\n"


def test_values_are_never_code(tmp_path: Path) -> None:
    done = shell(
        tmp_path, """workdir=; read_options workdir --workdir '$(touch harm); `touch harm`'; echo "$workdir" """
    )
    assert done.stdout == "$(touch harm); `touch harm`\n"
    assert list(tmp_path.iterdir()) == []
