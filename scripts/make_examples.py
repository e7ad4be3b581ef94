"""Make the example photographs of the page: parts of free photographs, degraded as a camera would.

python scripts/make_examples.py [--output mprnet_plugin/web/examples]

The photographs come with scikit-image; none of them trained the demo weights. One version of OpenCV gives the same
bytes every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from demo_data.images import read_image
from demo_data.photographs import find_photograph
from mprnet_plugin.data.degradations import rain, sensor_noise, shake
from mprnet_plugin.data.linear_light import LinearImage, to_linear, to_srgb

OUTPUT = Path(__file__).parents[1] / "mprnet_plugin" / "web" / "examples"
QUALITY = 92
FULL_COLOUR = 0x111111
"""OpenCV's word for 4:4:4."""
SEED = 4


class Example(NamedTuple):
    """A part of a photograph of scikit-image's, by its top left corner, and what happens to it."""

    name: str
    file: str
    top: int
    left: int
    height: int
    width: int
    degrade: Callable[[LinearImage, np.random.Generator], LinearImage]


EXAMPLES = (
    Example("blurred", "rocket.jpg", 90, 140, 280, 380, lambda linear, rng: shake(linear, rng, (9, 11), (0, 0.2))),
    Example("noisy", "coffee.png", 30, 160, 240, 320, lambda linear, rng: sensor_noise(linear, rng, (100, 110))),
    Example("rainy", "chelsea.png", 0, 60, 280, 380, lambda linear, rng: rain(linear, rng, (0.7, 0.75))),
)


def main(argv: list[str] | None = None) -> int:
    """Write the examples; return 0."""
    parser = argparse.ArgumentParser(description="Make the example photographs of the page.")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="(default: the package's folder)")
    output: Path = parser.parse_args(argv).output
    output.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        linear = to_linear(read_image(find_photograph("skimage", f"data/{example.file}")))
        degraded = example.degrade(linear, np.random.default_rng(SEED))
        part = degraded[example.top : example.top + example.height, example.left : example.left + example.width]
        # Colours at full resolution, as at half of it noise and thin streaks become something else.
        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FULL_COLOUR]
        (output / f"{example.name}.jpg").write_bytes(
            cv2.imencode(".jpg", to_srgb(part)[..., ::-1], options)[1].tobytes()
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
