"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import lmdb_tools
import mprnet_plugin

HOSTS = {"mprnet_plugin.hosts.basicsr": "basicsr", "mprnet_plugin.hosts.mmengine": "mmengine"}
"""Package of ours to the host that its modules import."""


def modules() -> Iterator[str]:
    for package in (mprnet_plugin, lmdb_tools):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=_stop):
            yield found.name


def _stop(name: str) -> None:
    raise ImportError(f"{name} cannot be imported")


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str) -> None:
    for package, host in HOSTS.items():
        if name.startswith(package):
            pytest.importorskip(host)
    assert doctest.testmod(importlib.import_module(name)).failed == 0
