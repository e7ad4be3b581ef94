"""What the tests of the host's commands start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.tiny_run import make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with small pictures and ``run.yml``."""
    return make_folder(tmp_path)
