"""How Sphinx makes a site of these pages and of the docstrings: ``bash scripts/build_docs.sh``.

Sphinx, because the docstrings refer to each other by its roles, and because its strict mode finds such a reference that
leads nowhere. Nothing is fetched while building or reading: no inventories of other projects, no scripts of others.
"""

from __future__ import annotations

import re

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import mprnet_plugin

# Before autodoc looks at them: it changes the annotations of classes, of which pydantic makes other classes.
import mprnet_plugin.hosts.basicsr.model
import mprnet_plugin.hosts.mmengine.model

project = "mprnet-plugin"
author = "the authors of mprnet-plugin"
version = release = mprnet_plugin.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
html_theme = "furo"
html_title = f"mprnet-plugin {version}"
html_show_sourcelink = False
myst_heading_anchors = 4  # as GitHub has them
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # what "Attributes:" describes is not described a second time as a member
nitpicky = True
# Types of other packages have pages of their own elsewhere; ours must all be here, but for private names, type
# variables, and classes of options, which docs/options.md lists.
_NOT_SHOWN = "archs.local_pooling.Net|typed_options.Item|training.validation.Kept|data.sidd_blocks.BlocksOptions"
_NOT_SHOWN += "|data.dnd.DNDOptions|training.options.LossOptions"
nitpick_ignore_regex = [
    ("py:.*", r"(?!mprnet_plugin\.|lmdb_tools\.).*"),
    ("py:.*", r".*\._\w+"),
    ("py:.*", rf"mprnet_plugin\.({_NOT_SHOWN})"),
]

_TOCTREE = "\n```{{toctree}}\n:hidden:\n\n{}\n```\n"


def _contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Make the links of the map, ``index.md``, the site's menu: a page that it does not name fails the build.

    Markdown that lies elsewhere is no page of the site: the README leads to the map, anything else is the file itself.
    """
    source[0] = source[0].replace("](../README.md)", "](index.md)")
    source[0] = re.sub(r"\]\((\.\./[^)#]+\.md)\)", r"](path:\1)", source[0])
    if page == root_doc:
        pages = dict.fromkeys(re.findall(r"\]\(([\w/]+)\.(?:md|rst)\)", source[0]))
        source[0] += _TOCTREE.format("\n".join(pages))


def setup(app: Sphinx) -> None:
    """Register the above with Sphinx."""
    app.connect("source-read", _contents)
    app.add_lexer("mermaid", TextLexer)  # a text here; a forge draws it
