"""The photographs: where installed packages keep them, a person's own, and windows cut out of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from demo_data.images import read_image
from mprnet_plugin.data.linear_light import LinearImage, to_linear
from mprnet_plugin.errors import InputError

__all__ = ["MARGIN", "PHOTOGRAPHS", "SHORTER_SIDE", "find_photograph", "list_photographs", "read_photograph", "window"]

# Photographs by (package, file). Pictures in shades of grey (grass, gravel, ...) only train: tests are in colour.
# Packages' second views of one scene (motorcycle_right) are left out: they are no new photograph.
PHOTOGRAPHS: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/motorcycle_left.png"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        ("skimage", "data/ihc.png"),
        ("skimage", "data/retina.jpg"),
        ("skimage", "data/hubble_deep_field.jpg"),
        ("skimage", "data/grass.png"),
        ("skimage", "data/gravel.png"),
        ("skimage", "data/brick.png"),
        ("skimage", "data/camera.png"),
    ),
    "test": (("skimage", "data/chelsea.png"), ("skimage", "data/coffee.png"), ("skimage", "data/rocket.jpg")),
}

# What the camera sees around a window while it shakes, so that blur at the border is real wherever the photograph
# goes on. In pixels; longer than half the longest path below.
MARGIN = 24

# Photographs are shrunk to this shorter side at most: more pixels than that are seldom sharp ones.
SHORTER_SIDE = 1440


def list_photographs(folder: str) -> dict[str, dict[str, Path]]:
    """List photographs by split and name: the packages', or with a folder of one's own those joined for training.

    Args:
        folder: Has ``train`` and ``test``. Its ``test`` replaces the packages' photographs for testing; ``""`` is none.

    Raises:
        InputError: A photograph is missing, or a part of the folder has none.
    """
    found = {
        split: {Path(file).stem: find_photograph(package, file) for package, file in sources}
        for split, sources in PHOTOGRAPHS.items()
    }
    if folder:
        own = {
            split: {path.stem: path for path in sorted((Path(folder) / split).glob("*.*"))}
            for split in ("train", "test")
        }
        for split, paths in own.items():
            if not paths:
                raise InputError(f"{str(Path(folder) / split)!r} holds no photographs; --photographs needs some there")
        found = {"train": found["train"] | own["train"], "test": own["test"]}
    return found


def read_photograph(path: Path) -> LinearImage:
    """Read a photograph, shrunk where it has more pixels than it can have of detail.

    Raises:
        InputError: It cannot be read.
    """
    linear = to_linear(read_image(path))
    scale = SHORTER_SIDE / min(linear.shape[:2])
    if scale >= 1:
        return linear
    size = (round(linear.shape[1] * scale), round(linear.shape[0] * scale))
    return cv2.resize(linear, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def find_photograph(package: str, file: str) -> Path:
    """Find a photograph in an installed package, without importing the package.

    Raises:
        InputError: The package or the photograph is not there.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / file
        if path.is_file():
            return path
    raise InputError(
        f"photograph {file!r} of package {package!r} is not there; install it: pip install scikit-image matplotlib"
    )


def window(photograph: LinearImage, size: int, rng: np.random.Generator) -> LinearImage:
    """Cut one view out of a photograph at a scale between 1:1 and 1:2; shrinking also averages its own noise away.

    Of four places the one with the most contrast is used: much of a star field or of a fundus is black.

    Returns:
        A square of side ``size + 2 * MARGIN``; outside the photograph it is mirrored.
    """
    height, width = photograph.shape[:2]
    scale = rng.uniform(1, min(2.0, min(height, width) / size))
    inner, border = round(size * scale), int(MARGIN * scale)
    places = rng.integers(0, (height - inner + 1, width - inner + 1), (4, 2)).tolist()
    top, left = max(places, key=lambda yx: float(photograph[yx[0] : yx[0] + inner, yx[1] : yx[1] + inner].std()))
    rows, columns = (
        np.pad(np.arange(length), border, "reflect")[start : start + inner + 2 * border]
        for start, length in ((top, height), (left, width))
    )
    side = size + 2 * MARGIN
    view = cv2.resize(photograph[rows[:, None], columns], (side, side), interpolation=cv2.INTER_AREA)
    return view.astype(np.float32)
