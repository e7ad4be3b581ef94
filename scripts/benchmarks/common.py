"""What the benchmarks share: source pictures, the stock host, medians, a table and a JSON file."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Results = Mapping[str, Sequence[float]]


def picture(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Make a picture that compresses about as a photograph: noise of all scales, falling with frequency.

    Returns:
        Array (H, W, 3), BGR.
    """
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 9):
        cells = 1 << octave
        coarse = rng.standard_normal((cells, cells, 3), np.float32) / cells
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    total = (total - total.min()) / np.ptp(total) * 250 + rng.normal(0, 1.2, total.shape)
    result: npt.NDArray[np.uint8] = np.clip(total, 0, 255).astype(np.uint8)
    return result


def make_pairs(root: Path, count: int, height: int = 720, width: int = 1280, seed: int = 0) -> None:
    """Write ``root/train/{input,target}/*.png``: a picture and its blurred version."""
    rng = np.random.default_rng(seed)
    folders = [root / "train" / side for side in ("input", "target")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        sharp = picture(rng, height, width)
        blurred = np.clip(cv2.GaussianBlur(sharp, (0, 0), 2.5) + rng.normal(0, 1.2, sharp.shape), 0, 255)
        for folder, image in zip(folders, (blurred.astype(np.uint8), sharp), strict=True):
            cv2.imwrite(str(folder / f"{number:05d}.png"), image)


def host_module(name: str) -> types.ModuleType:
    """Import a module of the released host, which needs a module that torchvision no longer has."""
    removed = "torchvision.transforms.functional_tensor"
    try:
        importlib.import_module(removed)
    except ModuleNotFoundError:
        shim = types.ModuleType(removed)
        shim.rgb_to_grayscale = None  # type: ignore[attr-defined]  # not called when loading pairs
        sys.modules[removed] = shim
    return importlib.import_module(name)


def report(
    title: str, unit: str, results: Results, baselines: Sequence[str], meta: Mapping[str, Any]
) -> dict[str, Any]:
    """Print a Markdown table of medians and ratios; return them for the JSON file.

    The ratio is the median of the ratios of runs that were made one right after the other in one round.

    Args:
        title: What was measured.
        unit: Of the figures.
        results: Method to one figure a round.
        baselines: Methods to compare with, a column each.
        meta: Sizes and counts.
    """
    heads = ["method", "median", "range", *(f"x {base}" for base in baselines)]
    lines = [f"### {title} ({unit})", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows = {}
    for method, figures in results.items():
        ratios = {
            base: statistics.median(mine / theirs for mine, theirs in zip(figures, results[base], strict=True))
            for base in baselines
        }
        median = statistics.median(figures)
        rows[method] = {"median": median, "all": list(figures), "ratio": ratios}
        cells = [
            method,
            f"{median:.1f}",
            f"{min(figures):.1f} to {max(figures):.1f}",
            *(f"{r:.1f}" for r in ratios.values()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()
    return {"title": title, "unit": unit, "rows": rows, **meta}


def write_json(path: Path, sections: Sequence[Mapping[str, Any]]) -> None:
    """Write all sections with what machine they come from; whole or not at all."""
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps({"machine": machine, "sections": list(sections)}, indent=1) + "\n")
    temporary.replace(path)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with what all benchmarks take."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="scratch folder; pictures in it are reused"
    )
    result.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the figures go")
    result.add_argument("--rounds", type=int, default=5, help="each round runs every method once (default 5)")
    return result
