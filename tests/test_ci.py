"""One truth about where this is tested: setup.py, .ci/run, the public host's workflow, the container, pre-commit."""

from __future__ import annotations

import importlib.util
import re
import shlex
from typing import Any

import pytest
import setuptools
import yaml

from tests.helpers import ROOT

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]
COMMAND = "bash scripts/run_tests.sh"


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what setup.py hands to setuptools."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", found.update)
    spec = importlib.util.spec_from_file_location("setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.chdir(ROOT)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return found


def versions(metadata: dict[str, Any]) -> list[str]:
    prefix = "Programming Language :: Python :: "
    names = [name.removeprefix(prefix) for name in metadata["classifiers"] if name.startswith(prefix)]
    return [name for name in names if "." in name]


def steps(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def test_the_workflow_tests_the_pythons_that_the_package_names(metadata: dict[str, Any]) -> None:
    named = versions(metadata)
    assert JOBS["checks"]["strategy"]["matrix"]["python"] == named
    assert metadata["python_requires"] == f">={named[0]}"
    assert f'target-version = "py{named[0].replace(".", "")}"' in (ROOT / "pyproject.toml").read_text()
    assert f'python_version = "{named[0]}"' in (ROOT / "pyproject.toml").read_text()


def test_the_workflow_runs_what_ci_runs() -> None:
    assert COMMAND in (ROOT / ".ci" / "run").read_text()
    assert COMMAND in steps("checks")
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_every_script_that_the_workflow_names_is_there() -> None:
    words = [word for job in JOBS for step in steps(job) for word in shlex.split(step, comments=True)]
    named = [word for word in words if re.fullmatch(r"[\w./]+\.(sh|py)", word)]
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_pre_commit_runs_checks_that_run_tests_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    script = (ROOT / "scripts" / "run_tests.sh").read_text()
    for hook in hooks:
        tool = " ".join(hook["entry"].split()[1 : 3 if "ruff" not in hook["entry"] else 4])
        assert tool.removesuffix(" --fix") in script, hook["entry"]


def instructions() -> list[tuple[str, str]]:
    """List a Dockerfile's instructions and their arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = []
    for line in lines:
        name, _, rest = line.partition(" ")
        found.append((name, rest))
    return found


def test_the_container_is_built_from_what_is_there(metadata: dict[str, Any]) -> None:
    found = instructions()
    assert {name for name, _ in found} <= {"ARG", "FROM", "ENV", "RUN", "COPY", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    sources = [word for name, rest in found if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert [source for source in sources if source in ignored] == []
    (python,) = [rest.partition("=")[2] for name, rest in found if name == "ARG" and rest.startswith("PYTHON=")]
    assert python in versions(metadata)
    (extras,) = [rest.partition("=")[2] for name, rest in found if name == "ARG" and rest.startswith("EXTRAS=")]
    assert set(extras.split(",")) <= metadata["extras_require"].keys()
    commands = [line.partition(" = ")[0] for line in metadata["entry_points"]["console_scripts"]]
    (entry,) = [rest for name, rest in found if name == "ENTRYPOINT"]
    assert yaml.safe_load(entry)[0] in commands


def test_the_container_runs_without_rights() -> None:
    last = [name for name, _ in instructions()]
    stage = instructions()[len(last) - 1 - last[::-1].index("FROM") :]
    users = [rest for name, rest in stage if name == "USER"]
    assert users == ["mprnet"]
    assert any(name == "RUN" and "useradd --create-home mprnet" in rest for name, rest in stage)
    order = [name for name, _ in stage]
    assert "RUN" not in order[order.index("USER") :]


@pytest.mark.parametrize("name", ["Dockerfile", "docs/docker.md", ".github/workflows/ci.yml"])
def test_no_index_is_named(name: str) -> None:
    """Who builds chooses where packages come from."""
    assert not re.search(r"https?://", (ROOT / name).read_text(encoding="utf-8"))
