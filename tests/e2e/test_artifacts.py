"""The archive and the wheel as they are published: what is in them, their metadata, the page that they make."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from mprnet_plugin import __version__
from tests.helpers import ROOT

pytestmark = pytest.mark.slow
AUTOLOAD = {"mprnet_plugin_autoload.pth", "mprnet_plugin_autoload.start"}
FOLDERS = ("mprnet_plugin", "lmdb_tools", "options", "scripts", "tests", "docs", ".ci", ".github")
NEEDED = {
    *("setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "hubconf.py"),
    *("Dockerfile", ".dockerignore", ".pre-commit-config.yaml", "MANIFEST.in"),
    *AUTOLOAD,
}


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an archive and of the wheel that was built from it, as `python -m build` makes them."""
    folder = tmp_path_factory.mktemp("artifacts")
    source = folder / "source"
    source.mkdir()
    for path in ROOT.iterdir():
        if path.name in FOLDERS:
            shutil.copytree(path, source / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        elif path.is_file() and path.name != ".git":
            shutil.copy(path, source)
    run("-m", "build", "--no-isolation", "--outdir", folder / "dist", source, cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_their_names_say_the_version(dist: Path) -> None:
    names = {path.name for path in dist.iterdir()}
    assert names == {f"mprnet_plugin-{__version__}.tar.gz", f"mprnet_plugin-{__version__}-py3-none-any.whl"}


def test_twine_finds_nothing(dist: Path) -> None:
    pytest.importorskip("twine")
    assert run("-m", "twine", "check", "--strict", *dist.iterdir(), cwd=dist).count("PASSED") == 2


def test_the_archive_builds_and_tests(dist: Path, tmp_path: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    files = {entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_file()}
    assert files >= NEEDED
    for name in FOLDERS:
        kept = (entry for entry in (ROOT / name).rglob("*") if entry.is_file() and "__pycache__" not in entry.parts)
        missing = {entry.relative_to(ROOT).as_posix() for entry in kept} - files
        assert missing == set(), name
    assert not any(name.endswith((".pyc", ".pyo")) for name in files)
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_ci.py", "tests/test_recipes.py", cwd=folder)
    assert " passed" in done


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    tops = {name.split("/")[0] for name in names}
    assert tops == {"mprnet_plugin", "lmdb_tools", *AUTOLOAD}
    assert names >= {"mprnet_plugin/py.typed", "lmdb_tools/py.typed"}
    assert {
        f"mprnet_plugin/weights/demo/{task}.safetensors" for task in ("Deblurring", "Denoising", "Deraining")
    } <= names
    options = ROOT / "options"
    recipes = (path for path in options.rglob("*.*") if path.suffix in (".yml", ".json", ".py"))
    assert {f"mprnet_plugin/recipes/{path.relative_to(options).as_posix()}" for path in recipes} <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mprnet_plugin").rglob("*.py")}
    assert modules <= names
    assert not any("test" in Path(name).parts or name.endswith(".pyc") for name in names)
    assert sum(info.file_size for info in wheel.infolist()) < 20e6


def test_metadata(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("mprnet-plugin", __version__)
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("Apache-2.0", ">=3.10")
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert extras >= {"test", "export", "hub", "heic", "mat73", "demo"}
    needs = metadata.get_all("Requires-Dist") or []
    assert any(one.startswith("basicsr==") for one in needs)
    assert any(one.startswith("huggingface_hub") and "extra ==" in one for one in needs)


def test_the_readme_makes_a_page(metadata: Message) -> None:
    markdown = pytest.importorskip("readme_renderer.markdown")
    content = metadata.get_payload()
    assert isinstance(content, str)
    page = markdown.render(content)
    assert page is not None
    assert "<h1" in page
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_the_changelog_has_the_version() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in log.splitlines() if line.startswith("## ")]
    assert headings[0] == "## [Unreleased]"
    assert headings[1].startswith(f"## [{__version__}] - ")
