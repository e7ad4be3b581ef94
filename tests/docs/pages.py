"""The pages that people read, and what is in them: links, headings, code."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.helpers import ROOT

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SHELL = ("", "sh", "bash")
"""What a block of code is called that holds commands; those that are only indented have no name."""
OTHER = ("python", "yaml", "mermaid", "text")
PROGRAMS = ("python", "python3", "torchrun", "pip", "bash", "tensorboard")
"""What commands in the middle of a sentence begin with, besides our own."""


class Block(NamedTuple):
    """A block of code: the page, its first line, how it is called, its text."""

    page: str
    line: int
    kind: str
    text: str


class Command(NamedTuple):
    """What somebody may type; one in the middle of a sentence need not be whole."""

    page: str
    line: int
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {shlex.join(self.words)[:60]}"


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@functools.cache
def tokens(page: str) -> list[tuple[int, Token]]:
    """List a page's tokens, those inside of lines too, with the line that each begins in."""
    return list(_tokens(page))


def _tokens(page: str) -> Iterator[tuple[int, Token]]:
    line = 0
    for token in MarkdownIt("commonmark").enable("table").parse(read(page)):
        line = token.map[0] + 1 if token.map else line
        yield line, token
        for child in token.children or ():
            yield line, child


def blocks(page: str) -> list[Block]:
    return [
        Block(page, line, token.info.strip(), token.content)
        for line, token in tokens(page)
        if token.type in ("fence", "code_block")
    ]


def headings(page: str) -> list[str]:
    """Return the anchors of a page's headings, as forges and the site make them."""
    found: list[str] = []
    inside = False
    for _, token in tokens(page):
        if inside and token.type == "inline":
            words = "".join(child.content for child in token.children or ())
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
        inside = token.type == "heading_open"
    return found


def links(page: str) -> list[tuple[int, str]]:
    """Return where links and pictures of a page lead to, with their lines."""
    found = [(line, token.attrGet("href") or token.attrGet("src")) for line, token in tokens(page)]
    return [(line, str(target)) for line, target in found if target is not None]


def commands(page: str) -> list[Command]:
    """Return what a page says that one can type."""
    found: list[Command] = []
    for line, token in tokens(page):
        if token.type in ("fence", "code_block") and token.info.strip() in SHELL:
            found += _of_block(Block(page, line + (token.type == "fence"), "", token.content))
        elif token.type == "code_inline" and _is_command(token.content):
            found.append(Command(page, line, tuple(shlex.split(token.content)), whole=False))
    return found


def _of_block(block: Block) -> Iterator[Command]:
    """Split a block into commands: continued lines joined, comments left out, those joined by && apart."""
    if block.text.startswith("#!"):
        return  # a script is not typed; it is checked as a whole
    number, joined, start = block.line, "", block.line
    for text in block.text.splitlines():
        start = start if joined else number
        number += 1
        joined += text.removesuffix("\\") + (" " if text.endswith("\\") else "")
        if text.endswith("\\"):
            continue
        for part in joined.split(" && "):
            if words := shlex.split(part, comments=True):
                yield Command(block.page, start, tuple(words), whole=True)
        joined = ""


def _is_command(text: str) -> bool:
    first, _, rest = text.partition(" ")
    ours = re.fullmatch(r"mprnet-[a-z0-9-]+", first) is not None
    return bool(rest) and (ours or first in PROGRAMS) and not re.search(r" started |: ", text)


def exists(page: str, target: str) -> Path:
    """Return the file that a relative link of a page leads to."""
    return (ROOT / page).parent / target
