"""What demo weights gain on held-out pictures, picture by picture: the tables of docs/demo_weights.md.

    python scripts/benchmarks/bench_demo_weights.py --task denoise --data datasets/SIDD/val [WEIGHTS ...] [--json FILE]

Without WEIGHTS: those that come with the package. --data has input/NAME and target/NAME, as scripts/make_demo_data.py
makes them. Beside the pairs as they are, "jpeg" writes the inputs as JPEG of quality 75 first, and "clean" gives the
targets themselves, which should come out as they are. PSNR in dB, of 8-bit RGB; 100 stands for no difference. "lose"
counts pictures that come out worse by more than 0.2 dB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_data.images import SRGBImage, read_image
from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.metrics.psnr import psnr_rgb
from mprnet_plugin.tasks import find_task
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.download import demo_weights


def main() -> int:
    """Print a row for each file of weights and kind of input, and the pictures that lose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--json", type=Path, help="every picture's figures go there")
    args = parser.parse_args()
    files = args.weights or [demo_weights(find_task(args.task).name)]
    sharp = {path.name: read_image(path) for path in sorted((args.data / "target").glob("*.png"))}
    if not sharp:
        raise InputError(f"{args.data / 'target'} has no PNG pictures; scripts/make_demo_data.py makes some")
    inputs = {name: read_image(args.data / "input" / name) for name in sharp}
    kinds = {"as they are": inputs, "jpeg": {name: in_jpeg(image) for name, image in inputs.items()}, "clean": sharp}
    rows = [measure(file, kind, pictures, sharp) for file in files for kind, pictures in kinds.items()]
    sys.stdout.write("| weights | inputs | before | after | gain | worst picture | lose |\n" + "|---" * 7 + "|\n")
    for row in rows:
        figures = f"{row['before']:.2f} | {row['after']:.2f} | {row['gain']:+.2f} | {row['worst']} | {row['losers']}"
        sys.stdout.write(f"| {row['weights']} | {row['inputs']} | {figures} |\n")
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def measure(file: Path, kind: str, pictures: dict[str, SRGBImage], sharp: dict[str, SRGBImage]) -> dict[str, Any]:
    """Restore all pictures, and score them before and after; 100 dB stand for no difference."""
    restorer = Restorer(load_network(file))
    each = {}
    for name, image in pictures.items():
        results = {"before": image, "after": np.asarray(restorer(image), np.uint8)}
        each[name] = {when: min(psnr_rgb(result, sharp[name]), 100.0) for when, result in results.items()}
    before, after = (statistics.mean(one[when] for one in each.values()) for when in ("before", "after"))
    changes = {name: one["after"] - one["before"] for name, one in each.items()}
    name = min(changes, key=lambda key: changes[key])
    losers = sum(change < -0.2 for change in changes.values())
    row = {"weights": file.name, "inputs": kind, "before": before, "after": after, "gain": after - before}
    return {**row, "worst": f"{changes[name]:+.2f} ({name})", "losers": losers, "pictures": each}


def in_jpeg(image: SRGBImage, quality: int = 75) -> SRGBImage:
    """Return what is left of a picture after JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


if __name__ == "__main__":
    run_command(main)
