"""Links of the pages: relative ones lead to a file or a heading, others have the form of an address."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import OTHER, PAGES, SHELL, blocks, exists, headings, links
from tests.helpers import ROOT

RELATIVE = [(page, line, target) for page in PAGES for line, target in links(page) if "://" not in target]
OWN = "http://127.0.0.1"
"""Of the page that somebody has started on their own machine."""
OUTSIDE = sorted({link for page in PAGES for _, link in links(page) if "://" in link and not link.startswith(OWN)})


def test_there_are_links() -> None:
    assert len(RELATIVE) > 50
    assert len(OUTSIDE) > 10


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page: str) -> None:
    wrong = []
    for where, line, target in RELATIVE:
        path, _, anchor = target.partition("#")
        file = exists(page, path) if path else ROOT / page
        inside = file.resolve().is_relative_to(ROOT) and file.is_file()
        if where == page and not inside:
            wrong.append(f"{page}:{line} {target}: no such file")
        elif where == page and anchor and anchor not in headings(file.resolve().relative_to(ROOT).as_posix()):
            wrong.append(f"{page}:{line} {target}: no such heading")
    assert wrong == []


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_have_the_form_of_one(address: str) -> None:
    """They are listed here by pytest -v; no test needs a network, so whether somebody answers is not asked."""
    parts = urlsplit(address)
    assert parts.scheme == "https"
    assert re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.netloc)
    assert re.fullmatch(r"[!-~]+", address)
    assert not address.endswith((".", ",", ")"))


@pytest.mark.parametrize("page", PAGES)
def test_headings_are_unique_and_blocks_have_known_kinds(page: str) -> None:
    found = [heading for heading in headings(page) if page != "CHANGELOG.md"]
    assert len(found) == len(set(found))
    assert {block.kind for block in blocks(page)} <= {*SHELL, *OTHER}


def test_the_map_names_every_page() -> None:
    named = {exists("docs/index.md", target).resolve() for _, target in links("docs/index.md") if "://" not in target}
    assert {ROOT / page for page in PAGES if page.startswith("docs/")} - {ROOT / "docs" / "index.md"} <= named
