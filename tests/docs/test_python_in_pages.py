"""Python in the pages runs, from top to bottom of each page, as somebody would type it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mprnet_plugin.weights.download import CACHE_VARIABLE
from tests.docs.pages import PAGES, blocks
from tests.docs.typed import make_weights
from tests.helpers import picture, write_picture

ELSEWHERE = {
    "docs/export.md": "they need exported files: tests/export/test_exporting.py runs them",
    "docs/hub.md": "they name repositories that somebody else's server would have to have",
}
"""Pages whose Python is only compiled, with the reason."""
WITH_PYTHON = [page for page in PAGES if any(block.kind == "python" for block in blocks(page))]


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page not in ELSEWHERE])
def test_it_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "no weights here"))
    write_picture(tmp_path / "photo.png", picture(0))
    make_weights(tmp_path / "my-deblur.safetensors")
    space: dict[str, Any] = {"pictures": torch.rand(1, 3, 16, 24)}
    with torch.random.fork_rng():
        for block in blocks(page):
            if block.kind == "python":
                lines = "\n" * (block.line - 1)  # so that an error names the page's line
                exec(compile(lines + block.text, page, "exec"), space)  # noqa: S102 - our own pages


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page in ELSEWHERE])
def test_it_is_python(page: str) -> None:
    for block in blocks(page):
        if block.kind == "python":
            compile("\n" * (block.line - 1) + block.text, page, "exec")
