"""docs/data.md: its sections are valid options, its files, overrides, weights and counts are there."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

pytest.importorskip("basicsr")

from basicsr.utils import registry

from lmdb_tools import realblur
from mprnet_plugin.hosts.basicsr.command_line import apply_override, read_options
from mprnet_plugin.hosts.basicsr.run_options import dataset_options
from mprnet_plugin.shipped_options import shipped
from mprnet_plugin.weights.choice import find_file, published_task
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
SECTIONS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
COMMANDS = [
    shlex.split(line, comments=True) for line in PAGE.replace("\\\n", " ").splitlines() if line.startswith("    ")
]


def read(train: dict[str, Any]) -> None:
    section = dataset_options(registry.DATASET_REGISTRY.get(train["type"]), training=True)
    assert section is not None
    section.read({"phase": "train", **train}, "datasets:train")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["datasets"]["train"]["name"])
def test_sections_are_valid(section: dict[str, dict[str, dict[str, object]]]) -> None:
    train = section["datasets"]["train"]
    read(train)


def test_files_and_overrides_are_known() -> None:
    runs = [command for command in COMMANDS if "-opt" in command]
    assert len(runs) >= 5
    for command in runs:
        path = ROOT / command[command.index("-opt") + 1]
        assert shipped()[path.name] == path
        opt = read_options(str(path))
        overrides = command[command.index("--force_yml") + 1 :] if "--force_yml" in command else []
        for override in overrides:
            apply_override(opt, override)
        if overrides:
            read(opt["datasets"]["train"])
    for name in re.findall(r"`((?:train|test|finetune)_\w+\.yml)`", PAGE):
        assert name in shipped(), name


def test_named_weights_are_what_the_page_says() -> None:
    for name in set(re.findall(r"mprnet://[\w/]+", PAGE)):
        assert published_task(name) or find_file(name).is_file(), name


def test_counts_and_lists_are_those_of_the_converter() -> None:
    for part in realblur.PARTS:
        assert f"{part.published:,}" in PAGE
        pattern = re.sub(r"_(train|val|test)(?=[_.])", r"_{[a-z,]*\1[a-z,]*}", part.listing)
        assert re.search(pattern, PAGE), part.listing
