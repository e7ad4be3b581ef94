from __future__ import annotations

from pathlib import Path

import pytest

from mprnet_plugin.errors import InputError
from mprnet_plugin.weights import choice
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.choice import find_file


@pytest.mark.parametrize("name", ["mprnet://deblur", "mprnet://Deblurring"])
def test_a_task_behind_the_prefix_means_published_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "fetch", lambda task: Path("cache") / task)
    assert find_file(name) == Path("cache/Deblurring")


def test_anything_else_is_a_path() -> None:
    assert find_file("mprnet://runs/net_g.pth") == find_file("runs/net_g.pth") == Path("runs/net_g.pth")
    assert find_file("Deblurring") == Path("Deblurring")  # which a folder may be called


def test_demo_weights_by_task() -> None:
    assert load_network(find_file("demo://derain")).config == load_network(find_file("demo://Deraining")).config
    with pytest.raises(InputError, match="task 'deran' is unknown, did you mean 'derain'"):
        find_file("demo://deran")
