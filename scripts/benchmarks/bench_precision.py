"""What each engine and precision changes in pictures: PSNR with the demo weights, for docs/performance.md.

    python scripts/benchmarks/bench_precision.py [--pairs 12] [--json precision.json]

Pairs are made of photographs of scikit-image that no training saw (the demo extra). "change" is the mean PSNR against
the sharp picture minus that of eager fp32, "worst" the picture that loses most by it, "difference" the largest one of
any value from fp32, in parts of the range before rounding to 8 bits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_data.folders import Settings, make_demo_data
from demo_data.images import read_image
from mprnet_plugin.data.decoding import Pixels
from mprnet_plugin.errors import run_command
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.metrics.psnr import psnr_rgb
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.download import demo_weights

FOLDERS = {"Deblurring": "GoPro/test", "Denoising": "SIDD/val", "Deraining": "Synthetic_Rain_Datasets/test/Test100"}
METHODS = ("torch fp32", "ncnn fp32", "torch bf16")


def main() -> int:
    """Print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_demo_data(Path(folder), [find_task(name) for name in TASKS], Settings(seed=7, train=1, test=args.pairs))
        for task in TASKS:
            rows += compare(task, Path(folder) / FOLDERS[task])
    heads = ["task", "method", "PSNR", "change in dB", "worst", "difference"]
    sys.stdout.write("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|\n")
    for row in rows:
        figures = f"{row['psnr']:.2f} | {row['change']:+.4f} | {row['worst']:+.4f} | {row['difference']:.1e}"
        sys.stdout.write(f"| {row['task']} | {row['method']} | {figures} |\n")
    if args.json is not None:
        args.json.write_text(
            json.dumps({"torch": torch.__version__, "pairs": args.pairs, "rows": rows}, indent=1) + "\n"
        )
    return 0


def compare(task: str, folder: Path) -> list[dict[str, Any]]:
    """Restore a test set by every method; returns a row for each."""
    targets = [read_image(path) for path in sorted((folder / "target").iterdir())]
    inputs = [read_image(path) for path in sorted((folder / "input").iterdir())]
    exact = [restored(task, METHODS[0], image) for image in inputs]
    rows = []
    for method in METHODS:
        mine = exact if method == METHODS[0] else [restored(task, method, image) for image in inputs]
        scores = [psnr_rgb(in_8_bits(image), target) for image, target in zip(mine, targets, strict=True)]
        before = [psnr_rgb(in_8_bits(image), target) for image, target in zip(exact, targets, strict=True)]
        changes = [a - b for a, b in zip(scores, before, strict=True)]
        difference = max(float(np.abs(a - b).max()) for a, b in zip(mine, exact, strict=True))
        row = {"task": task, "method": method, "psnr": statistics.mean(scores), "change": statistics.mean(changes)}
        rows.append({**row, "worst": min(changes), "difference": difference})
    return rows


def restored(task: str, method: str, image: Pixels) -> NDArray[np.float32]:
    """Return the restored picture, (H, W, 3) in [0, 1]."""
    path = demo_weights(task)
    if path is None:
        raise FileNotFoundError(f"demo weights of {task}")
    engine, precision = method.split()
    restorer = Restorer(load_network(path), engine=engine, precision=precision)  # type: ignore[arg-type]
    return np.asarray(restorer(image.astype(np.float32) / 255), np.float32)


def in_8_bits(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round as files do."""
    rounded: NDArray[np.uint8] = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    return rounded


if __name__ == "__main__":
    run_command(main)
