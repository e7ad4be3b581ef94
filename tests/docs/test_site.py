"""scripts/build_docs.sh makes a site in which nothing leads nowhere, with every public name in it."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.helpers import ROOT, run_script

PUBLIC = ["mprnet_plugin", *(f"mprnet_plugin.{name}" for name in ("archs", "data", "export", "inference", "losses"))]
PUBLIC += [f"mprnet_plugin.{name}" for name in ("hub", "metrics", "weights")]


def public_names() -> list[str]:
    """List public names by the module that defines them; data, which has none of its own, by the one that holds it."""
    found = []
    for package in PUBLIC:
        module = importlib.import_module(package)
        for name in module.__all__:
            defining = getattr(getattr(module, name), "__module__", "mprnet_plugin.archs.config")
            found.append(f"{defining}.{name}")
    return found


@pytest.mark.slow
def test_the_site_builds_and_has_every_public_name(tmp_path: Path) -> None:
    done = run_script(tmp_path, "build_docs.sh", "--output", str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "site" / "index.html")
    *_, packed = (tmp_path / "site" / "objects.inv").read_bytes().split(b"\n", 4)  # what the site has, line by line
    lines = [line.split() for line in zlib.decompress(packed).decode().splitlines()]
    shown = {line[0] for line in lines if line[1].startswith("py:")}
    assert [name for name in public_names() if name not in shown] == []
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert [page for page in pages if not (tmp_path / "site" / page).is_file()] == []


@pytest.mark.slow
def test_what_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs" / "conf.py", docs)
    (docs / "index.md").write_text("# Map\n\n[page](page.md)\n")
    (docs / "page.md").write_text("# Page\n\n[file](nowhere.md), [heading](index.md#elsewhere)\n")
    (docs / "forgotten.md").write_text("# Forgotten\n\n```{eval-rst}\n:class:`mprnet_plugin.Nothing`\n```\n")
    command = ["bash", str(tmp_path / "scripts" / "build_docs.sh"), "--python", sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for words in ("nowhere.md", "elsewhere", "forgotten.md", "mprnet_plugin.Nothing"):
        assert words in done.stderr, words
