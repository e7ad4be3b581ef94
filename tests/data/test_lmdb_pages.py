from __future__ import annotations

import struct
from pathlib import Path

import lmdb
import numpy as np
import pytest

from lmdb_tools.codec import ppm
from mprnet_plugin.data.stores import LmdbStore
from mprnet_plugin.errors import InputError
from tests.data.lmdb_files import picture, write_lmdb


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_lmdb(tmp_path / "raw.lmdb", {f"s/{n}": ppm(picture(n)) for n in range(3)})


def damage(root: Path, place: int, form: str, value: int) -> None:
    with (root / "data.mdb").open("r+b") as file:
        file.seek(place)
        file.write(struct.pack(f"={form}", value))


@pytest.mark.parametrize(
    ("place", "form", "value", "says"),
    [
        (12, "H", 16, None),  # in the older head page: nobody looks
        (4096 + 16, "I", 1, "no readable LMDB"),
        (4096 + 16 + 24, "I", 0, "no readable LMDB"),
        (4096 + 16 + 24, "I", 8192, "damaged: its two head pages disagree"),
        (4096 + 16 + 24 + 48 + 4, "H", 4, "sorted duplicates"),
        (4096 + 16 + 24 + 48 + 6, "H", 40, "damaged: page|damaged: its tree leads"),
        (4096 + 16 + 24 + 48 + 32, "Q", 9, "damaged: its head counts 9 values, its tree holds 3"),
        (4096 + 16 + 24 + 48 + 40, "Q", 1 << 40, "damaged: its tree leads to page"),
        (4096 + 16 + 24 + 96, "Q", 1 << 40, "is truncated"),
        ("leaf", "H", 0xFFFF, "is not of its kind"),  # upper edge of the offsets
        ("offset", "H", 4094, "points outside of itself"),
        ("size", "I", 0xFFFFFFF0, "lies outside of the file|longer than the page"),
        ("key", "H", 4000, "a key of page"),
        ("flags", "H", 4, "holds other things than values"),
        ("page", "Q", 1 << 50, "lies outside of the file"),
        ("page", "Q", 2, None),  # inside of the file: the value is wrong, but nothing else is read
    ],
)
def test_pages_that_lie_are_found_before_lmdb_follows_them(
    raw: Path, place: int | str, form: str, value: int, says: str | None
) -> None:
    data = (raw / "data.mdb").read_bytes()
    root = 4096 * struct.unpack_from("=Q", data, 4096 + 16 + 24 + 48 + 40)[0]
    node = root + struct.unpack_from("=H", data, root + 16)[0]
    places = {
        "leaf": root + 12,
        "offset": root + 16,
        "size": node,
        "flags": node + 4,
        "key": node + 6,
        "page": node + 11,
    }
    damage(raw, places[place] if isinstance(place, str) else place, form, value)
    if says is None:
        LmdbStore(raw).open()
    else:
        with pytest.raises(InputError, match=says):
            LmdbStore(raw).open()


def test_trees_that_lmdb_makes_are_whole(tmp_path: Path) -> None:
    """Values inside and outside of leaves, three levels of pages, replaced and deleted ones."""
    rng, root = np.random.default_rng(0), tmp_path / "x.lmdb"
    kept: dict[str, bytes] = {}
    with lmdb.open(str(root), map_size=1 << 28) as environment:
        for _ in range(6):
            with environment.begin(write=True) as transaction:
                for number in rng.integers(0, 30_000, 4000).tolist():
                    key = f"k{'long' * (number % 60)}/{number}"
                    if number % 3 and key in kept:
                        transaction.delete(key.encode())
                        del kept[key]
                    else:
                        kept[key] = bytes(number % 9000)
                        transaction.put(key.encode(), kept[key])
        assert environment.stat()["depth"] >= 3
    (root / "meta_info.txt").write_text("".join(f"{key}.png (40,56,3) 1\n" for key in kept))
    store = LmdbStore(root)
    assert all(bytes(store.raw(key)) == value for key, value in kept.items())
