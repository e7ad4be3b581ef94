"""Time SSIM of 1280x720 against the host's, taking turns; run on an idle machine.

    python scripts/benchmarks/bench_metrics.py --json metrics.json

The numbers differ by definition (a volume against channel by channel), so only the times are compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import trange

sys.path.insert(0, str(Path(__file__).parent))
from common import host_module, picture, report, write_json

from mprnet_plugin.errors import run_command
from mprnet_plugin.metrics.ssim import ssim_volume, ssim_y_uint8


def methods(height: int, width: int) -> dict[str, Callable[[], float]]:
    """Return what is timed, each on the same pair of pictures."""
    host = host_module("basicsr.metrics.psnr_ssim")
    rng = np.random.default_rng(0)
    target = picture(rng, height, width)
    noise = rng.normal(0, 8, target.shape)
    restored = np.clip(target + noise, 0, 255).astype(np.uint8)
    return {
        "host, RGB": lambda: float(host.calculate_ssim(restored, target, 0)),
        "ssim_volume": lambda: ssim_volume(restored, target),
        "host, Y": lambda: float(host.calculate_ssim(restored, target, 0, test_y_channel=True)),
        "ssim_y_uint8": lambda: ssim_y_uint8(restored, target),
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the figures go")
    parser.add_argument("--rounds", type=int, default=9, help="each round runs every method once (default 9)")
    parser.add_argument("--threads", type=int, default=1, help="threads of OpenCV (default 1)")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    calls = methods(720, 1280)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in trange(args.rounds, unit="round"):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) * 1000)
    meta: dict[str, Any] = {"threads": args.threads, "size": [720, 1280]}
    rgb = {name: times[name] for name in ("host, RGB", "ssim_volume")}
    luma = {name: times[name] for name in ("host, Y", "ssim_y_uint8")}
    write_json(
        args.json,
        [
            report("SSIM of 1280x720, RGB", "ms", rgb, ["host, RGB"], meta),
            report("SSIM of 1280x720, luma", "ms", luma, ["host, Y"], meta),
        ],
    )
    return 0


if __name__ == "__main__":
    run_command(main)
