"""Sections of options that pages show are what the program reads; those of docs/data.md: tests/test_data_page.py."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

pytest.importorskip("basicsr")

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.command_line import read_options
from mprnet_plugin.hosts.basicsr.run_options import LoggerOptions
from mprnet_plugin.training.options import TrainOptions, ValOptions
from mprnet_plugin.typed_options import Options
from tests.docs.pages import PAGES, blocks

READERS: dict[str, type[Options]] = {"train": TrainOptions, "val": ValOptions, "logger": LoggerOptions}
SECTIONS = [
    (f"{block.page}:{block.line}", part)
    for page in PAGES
    for block in blocks(page)
    if block.kind == "yaml"
    for part in yaml.safe_load_all(block.text)
]


def check(part: dict[str, Any]) -> None:
    """Read a page's sections in the place of a recipe's."""
    recipe = read_options("train_MPRNet_Deblur.yml")
    if "scheduler" in part:
        part = {"train": {"scheduler": part["scheduler"]}}
    for name, section in part.items():
        READERS[name].read({**(recipe[name] or {}), **section}, name)


def test_each_block_is_options_or_somebody_else_s() -> None:
    known = {"scheduler", "datasets", "apiVersion", *READERS}
    assert [place for place, part in SECTIONS if not part.keys() & known] == []


@pytest.mark.parametrize(
    ("place", "part"), [(place, part) for place, part in SECTIONS if part.keys() & {"scheduler", *READERS}]
)
def test_sections_are_read(place: str, part: dict[str, Any]) -> None:
    check(part)


def test_a_misspelt_option_is_found() -> None:
    with pytest.raises(InputError, match="grad_clop"):
        check({"train": {"grad_clop": 1}})
