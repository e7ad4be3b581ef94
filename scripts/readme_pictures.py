"""Make the README's pictures of before and after, one a task, and write their scores into it.

The photographs are the three of scikit-image that no training of the demo weights saw (extra ``demo``), free to use,
one for each task; what a camera would do to them is simulated, and with equal weights always the same. Writes
``docs/before_after_<task>.jpg``, the scores to ``docs/before_after.json``, and the block between ``<!-- pictures -->``
and ``<!-- /pictures -->`` of ``README.md``.

    python scripts/readme_pictures.py
    python scripts/readme_pictures.py --weights FOLDER    # with Deblurring.safetensors and so on, as retrained
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from demo_data.images import SRGBImage, read_image
from demo_data.photographs import MARGIN, find_photograph
from mprnet_plugin.data.degradations import rain, sensor_noise, shake
from mprnet_plugin.data.linear_light import LinearImage, to_linear, to_srgb
from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.files import whole_file
from mprnet_plugin.inference import Restorer
from mprnet_plugin.metrics.protocols import PROTOCOLS
from mprnet_plugin.tasks import find_task
from mprnet_plugin.weights.checkpoint import load_network

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "mprnet_plugin" / "weights" / "demo"
HALF = (448, 280)
"""Width and height of one side in pixels."""
DIVIDER = 4
LARGEST = 120_000
"""Bytes of a picture: a README is read on phones too."""
SEED = 0
PROTOCOL = PROTOCOLS["gopro"]
"""8-bit RGB, whatever the task."""
BLOCK = re.compile(r"(?<=<!-- pictures -->\n).*?(?=<!-- /pictures -->)", re.DOTALL)

Record = dict[str, Any]


class Scene(NamedTuple):
    """A photograph, and what happens to it before the sensor has it."""

    photograph: str
    words: str
    degrade: Callable[[LinearImage, np.random.Generator], LinearImage]


SCENES: Mapping[str, Scene] = {
    "deblur": Scene("coffee.png", "a simulated shake of 12 pixels", functools.partial(shake, length=(12, 12))),
    "denoise": Scene(
        "chelsea.png",
        "simulated noise of a dim room",
        functools.partial(sensor_noise, electrons=(90, 90), read_noise=(2, 2)),
    ),
    "derain": Scene("rocket.jpg", "drawn rain", functools.partial(rain, density=(1, 1))),
}
"""Task's short name to its scene; the photograph on which a degradation of this kind is easiest to see."""


def make_pair(scene: Scene) -> tuple[SRGBImage, SRGBImage]:
    """Return a scene's degraded picture and the sharp one, ``HALF`` large.

    Raises:
        InputError: scikit-image is not installed.
    """
    photograph = read_image(find_photograph("skimage", f"data/{scene.photograph}"))
    width, height = (side + 2 * MARGIN for side in HALF)
    scale = min(photograph.shape[1] / width, photograph.shape[0] / height)
    rows, columns = int(height * scale), int(width * scale)
    top, left = (photograph.shape[0] - rows) // 2, (photograph.shape[1] - columns) // 2
    view = to_linear(photograph[top : top + rows, left : left + columns])
    finer = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    clean = cv2.resize(view, (width, height), interpolation=finer).clip(0, 1).astype(np.float32)
    inner = slice(MARGIN, -MARGIN)
    degraded = scene.degrade(clean, np.random.default_rng(SEED))
    return to_srgb(degraded[inner, inner]), to_srgb(clean[inner, inner])


def joined(before: SRGBImage, after: SRGBImage) -> SRGBImage:
    """Put two pictures side by side, a white line between them, each with its word in a corner."""
    line = np.full((before.shape[0], DIVIDER, 3), 255, np.uint8)
    picture = np.ascontiguousarray(np.hstack([before, line, after]))
    for word, left in (("before", 0), ("after", before.shape[1] + DIVIDER)):
        cv2.rectangle(picture, (left, 0), (left + 82, 28), (0, 0, 0), cv2.FILLED)
        cv2.putText(picture, word, (left + 8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def encoded(picture: SRGBImage) -> bytes:
    """Return a JPEG of at most ``LARGEST`` bytes, of the best quality that fits."""
    # Colours as fine as brightness: halved, as is usual, a part of the noise would be gone.
    fine = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    for quality in range(95, 40, -5):
        _, data = cv2.imencode(".jpg", picture[..., ::-1], [*fine, cv2.IMWRITE_JPEG_QUALITY, quality])
        if data.nbytes <= LARGEST:
            break
    return data.tobytes()


def make_picture(task: str, weights: Path, output: Path) -> Record:
    """Write a task's picture and return what is to be said of it."""
    scene = SCENES[task]
    degraded, sharp = make_pair(scene)
    net = load_network(weights / f"{find_task(task).name}.safetensors")
    restored = Restorer(net, device="cpu", precision="fp32")(degraded)
    before, after = PROTOCOL.score(degraded, sharp), PROTOCOL.score(restored, sharp)
    with whole_file(output / f"before_after_{task}.jpg") as part:
        part.write_bytes(encoded(joined(degraded, restored)))
    scores = {f"{name}_before": round(value, 4) for name, value in before.items()}
    scores |= {f"{name}_after": round(value, 4) for name, value in after.items()}
    return {"photograph": scene.photograph, "degradation": scene.words, **scores}


def block(records: Mapping[str, Record]) -> str:
    """Return the README's lines about the pictures."""
    lines = []
    for task, one in records.items():
        scores = f"{one['psnr_before']:.1f} to {one['psnr_after']:.1f} dB"
        lines.append(f"![A photograph with {one['degradation']}, and restored](docs/before_after_{task}.jpg)\n")
        lines.append(f"*`{task}`: {one['degradation']}, {scores}*\n")
    return "\n".join(lines) + "\n"


def write_block(readme: Path, text: str) -> None:
    """Replace the README's lines about the pictures.

    Raises:
        InputError: The comments around them are not there.
    """
    content = readme.read_text(encoding="utf-8")
    changed, count = BLOCK.subn(lambda _: "\n" + text, content)
    if count != 1:
        raise InputError(f"{readme}: has no block between <!-- pictures --> and <!-- /pictures -->; put them back")
    with whole_file(readme) as part:
        part.write_text(changed, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=DEMO, help="folder of the demo weights (the package's)")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="folder with README.md and docs to write to (%(default)s)"
    )
    args = parser.parse_args(argv)
    records = {task: make_picture(task, args.weights, args.root / "docs") for task in SCENES}
    with whole_file(args.root / "docs" / "before_after.json") as part:
        part.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    write_block(args.root / "README.md", block(records))
    for task, one in records.items():
        sys.stdout.write(f"{task}: {one['psnr_before']:.2f} -> {one['psnr_after']:.2f} dB\n")
    return 0


if __name__ == "__main__":
    run_command(main)
