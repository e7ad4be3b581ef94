"""What the tests of packing share: the command in this process, and what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmdb_tools import gopro
from lmdb_tools.verify import check_database, check_pair
from mprnet_plugin.data.stores import LmdbStore


def picture(seed: int, height: int = 40, width: int = 56) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def run(source: Path, output: Path, *more: str) -> int:
    return gopro.main(["--source", str(source), "--output", str(output), "--workers", "2", *more])


def content(root: Path) -> dict[str, bytes]:
    store = LmdbStore(root)
    return {key: bytes(store.raw(key)) for key in sorted(store.keys())}


def both(output: Path) -> list[dict[str, bytes]]:
    return [content(output / f"train_{side}.lmdb") for side in ("input", "target")]


def visible(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir() if not path.name.startswith("."))


def problems(output: Path) -> list[str]:
    roots = sorted(output.glob("*.lmdb"))
    return [line for root in roots for line in [*check_database(root), *check_pair(root)]]
