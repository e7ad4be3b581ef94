"""What training does to a pair of pictures after the crop: flips and rotations, and a change of saturation."""

from __future__ import annotations

import numpy as np

from mprnet_plugin.data.decoding import Pixels

GEOMETRIES = 9
"""The authors draw an integer from 0 to 8; 0 and 8 both leave the picture as it is."""

# ITU-R BT.601 luma, the grey that a saturation of 0 gives.
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


def geometry(image: Pixels, draw: int) -> Pixels:
    """Return a flipped or rotated view of an (H, W, C) image.

    Args:
        image: Any dtype.
        draw: 0 and 8 nothing; 1 and 2 flip vertically, horizontally; 3, 4, 5 rotate by 90, 180, 270 degrees
            counter-clockwise; 6 and 7 flip vertically, horizontally, then rotate by 90.
    """
    if draw in (1, 6):
        image = image[::-1]
    elif draw in (2, 7):
        image = image[:, ::-1]
    turns = {3: 1, 4: 2, 5: 3, 6: 1, 7: 1}.get(draw, 0)
    return np.rot90(image, turns) if turns else image


def saturate(image: Pixels, factor: float) -> Pixels:
    """Scale the saturation of an (H, W, 3) RGB image of unsigned integers, rounding to its dtype."""
    grey = (image @ GREY_WEIGHTS)[..., None]
    limit = np.iinfo(image.dtype).max
    result: Pixels = np.clip(np.rint(grey + factor * (image - grey)), 0, limit).astype(image.dtype)
    return result


def draw_saturation(rng: np.random.Generator) -> float:
    """Draw a saturation factor: from U(0.8, 1.2) with probability 1/3, else exactly 1."""
    return float(rng.uniform(0.8, 1.2)) if rng.integers(3) == 0 else 1.0
