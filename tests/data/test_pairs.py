from __future__ import annotations

from pathlib import Path

import pytest

from mprnet_plugin.data.folders import list_images
from mprnet_plugin.data.pairs import pair_keys
from mprnet_plugin.errors import InputError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_lists_below_in_order_of_keys_and_skips_the_rest(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.PNG", "a.1.jpg", "b/1.jpeg", ".hidden.png", ".git/x.png", "notes.txt", "b/Thumbs.db")
    found = list_images(tmp_path)
    assert list(found) == ["a.1", "b/1", "b/2"]
    assert found["b/2"] == tmp_path / "b" / "2.PNG"


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "1.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "disk")
    assert list(list_images(tmp_path / "root")) == ["linked/1"]


def test_missing_empty_and_double(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no images"):
        list_images(tmp_path)
    touch(tmp_path, "a.png", "a.jpg")
    with pytest.raises(InputError, match="same name 'a'"):
        list_images(tmp_path)


def test_pairs_by_name() -> None:
    assert pair_keys(["b", "a"], ["a", "b"], "in", "out") == ["a", "b"]


def test_orphans_are_counted_and_named_on_both_sides() -> None:
    with pytest.raises(InputError) as caught:
        pair_keys(["a", "x1", "x2", "x3", "x4"], ["a", "y"], "IN", "OUT")
    assert "4 only in IN (x1, x2, x3, ...); 1 only in OUT (y)" in str(caught.value)
