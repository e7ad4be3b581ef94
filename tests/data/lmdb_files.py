"""Databases written by lmdb itself, for the tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray


def picture(seed: int = 0, height: int = 40, width: int = 56, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype)


def write_lmdb(root: Path, values: dict[str, bytes], meta: str | None = None) -> Path:
    """Write the host's layout with lmdb itself."""
    environment = lmdb.open(str(root), map_size=1 << 27)
    with environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    environment.close()
    lines = "".join(f"{key}.png (40,56,3) 1\n" for key in values)
    (root / "meta_info.txt").write_text(lines if meta is None else meta)
    return root
