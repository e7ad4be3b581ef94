"""docs/data.md: its sections are valid options, its weights and counts are there; tests/docs tries its commands."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

pytest.importorskip("basicsr")

from basicsr.utils import registry

from lmdb_tools import realblur
from mprnet_plugin.hosts.basicsr.run_options import dataset_options
from mprnet_plugin.weights.choice import find_file, published_task
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
SECTIONS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def read(train: dict[str, Any]) -> None:
    section = dataset_options(registry.DATASET_REGISTRY.get(train["type"]), training=True)
    assert section is not None
    section.read({"phase": "train", **train}, "datasets:train")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["datasets"]["train"]["name"])
def test_sections_are_valid(section: dict[str, dict[str, dict[str, object]]]) -> None:
    train = section["datasets"]["train"]
    read(train)


def test_named_weights_are_what_the_page_says() -> None:
    for name in set(re.findall(r"mprnet://[\w/]+", PAGE)):
        assert published_task(name) or find_file(name).is_file(), name


def test_counts_and_lists_are_those_of_the_converter() -> None:
    for part in realblur.PARTS:
        assert f"{part.published:,}" in PAGE
        pattern = re.sub(r"_(train|val|test)(?=[_.])", r"_{[a-z,]*\1[a-z,]*}", part.listing)
        assert re.search(pattern, PAGE), part.listing
