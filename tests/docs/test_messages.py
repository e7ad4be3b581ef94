"""docs/troubleshooting.md quotes messages as the code prints them: their fixed words are still in the source."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from tests.docs.pages import read
from tests.helpers import ROOT

LINES = re.findall(r"^\*\*`.*", read("docs/troubleshooting.md"), re.MULTILINE)
QUOTED = [quote for line in LINES for quote in re.findall(r"`([^`]+)`", line)]
HOLE = "\0"
"""Stands for what differs from time to time in a message of the source."""


@functools.cache
def messages() -> list[str]:
    """List all texts of the source, what they are joined from as one."""
    files = [*(ROOT / "mprnet_plugin").rglob("*.py"), *(ROOT / "lmdb_tools").rglob("*.py"), ROOT / "setup.py"]
    files += (ROOT / "scripts").rglob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    described = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings print nothing
    return [text for node in nodes if id(node) not in described and (text := _text(node))]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[dsg]", HOLE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or HOLE for part in node.values)
    return ""


def is_printed(quote: str) -> bool:
    """Tell whether some text of the source has a quote's words in their order, and values where it has ``...``."""
    parts = [part.strip() for part in quote.split("...")]
    # What a value is may also stand in the source, such as the suffix behind a count; words are never left out.
    pattern = re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)
    fewest = quote.count("...") - 1  # a message may begin with what its caller puts before it
    return any(pattern.search(text) and text.count(HOLE) >= fewest for text in messages())


def test_there_are_enough() -> None:
    assert len(QUOTED) > 50
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("quote", QUOTED)
def test_quoted_messages_are_printed(quote: str) -> None:
    assert len(quote.replace("...", "").split()) >= 3, "too short to be found by"
    assert is_printed(quote)


def test_another_word_is_not_found() -> None:
    assert not is_printed(QUOTED[1].replace("plugin", "extension"))
    assert not is_printed("option ... is eaten by nobody, ...")
