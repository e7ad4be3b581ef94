"""Peak memory and time of restoring one picture, beside spandrel's network, each case in a process of its own.

    python scripts/benchmarks/bench_inference.py --task Deraining --size 1280x720 --tile auto 512 --peer

Weights are random, as neither memory nor time depends on them. Memory is the peak on the GPU, or on the CPU what the
process grew by over the loaded network. One line of JSON for each case; "maps" is the peak in units of one
full-resolution float32 map of stage 3, from which the automatic choice of windows is made. Failures are printed too.

    python scripts/benchmarks/bench_inference.py --difference WEIGHTS PICTURE --tile 256 512

prints instead by how much the picture restored in windows differs from the whole: channel attention sees other means.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.inference.picture_files import read_picture
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.memory import most_memory
from mprnet_plugin.weights.checkpoint import infer_config, load_into, load_state_dict


def main() -> int:
    """Run every case in turn, or, with ``--case``, one in this process."""
    args = parse_args()
    if args.case is not None:
        sys.stdout.write(json.dumps(measure(json.loads(args.case))) + "\n")
        return 0
    if args.difference is not None:
        weights, picture = args.difference
        for tile in args.tile:
            sys.stdout.write(json.dumps(difference(weights, picture, int(tile), args.device)) + "\n")
        return 0
    cases = [
        {"network": "ours", "task": args.task, "size": size, "tile": tile, "precision": precision}
        for size in args.size
        for precision in args.precision
        for tile in args.tile
    ]
    if args.peer:
        cases += [
            {"network": "spandrel", "task": args.task, "size": s, "tile": "0", "precision": "fp32"} for s in args.size
        ]
    shared = {"device": args.device, "threads": args.threads, "repeats": args.repeats}
    machine = (
        torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.processor() or platform.machine()
    )
    sys.stdout.write(json.dumps({"torch": torch.__version__, "machine": machine, **shared}) + "\n")
    for case in cases:
        words = [sys.executable, str(Path(__file__).resolve()), "--case", json.dumps({**case, **shared})]
        done = subprocess.run(words, capture_output=True, text=True)  # noqa: S603 - this same script
        failure = json.dumps({**case, "failed": done.returncode, "why": done.stderr.strip().splitlines()[-1:]}) + "\n"
        sys.stdout.write(done.stdout if done.returncode == 0 else failure)
        sys.stdout.flush()
    return 0


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Run one case: one pass to warm up where there are several, then the median."""
    torch.set_num_threads(case["threads"])
    width, height = map(int, case["size"].split("x"))
    net = MPRNet(**PRESETS[case["task"]]).eval()
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    run = ours(net, image, case) if case["network"] == "ours" else peer(net, image, case)
    before = peak(case["device"])
    seconds = []
    for _ in range(case["repeats"]):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    grown = peak(case["device"]) - before
    maps = grown / (height * width * net.concat23.out_channels * 4)
    return {
        **case,
        "peak_MiB": round(grown / 2**20, 1),
        "seconds": round(statistics.median(seconds), 2),
        "maps": round(maps, 2),
    }


def ours(net: MPRNet, image: np.ndarray[Any, np.dtype[np.uint8]], case: dict[str, Any]) -> Callable[[], object]:
    """Return a call of the engine."""
    tile = case["tile"] if case["tile"] == "auto" else int(case["tile"])
    restorer = Restorer(net, case["device"], case["precision"], tile)
    return lambda: restorer(image)


def peer(net: MPRNet, image: np.ndarray[Any, np.dtype[np.uint8]], case: dict[str, Any]) -> Callable[[], object]:
    """Return a call of spandrel's network with the same weights, as its users write it."""
    import spandrel
    import spandrel_extra_arches

    spandrel_extra_arches.install()
    theirs = spandrel.ModelLoader(case["device"]).load_from_state_dict(net.state_dict())

    def run() -> Tensor:
        with torch.inference_mode():
            x = torch.from_numpy(image).to(case["device"]).permute(2, 0, 1)[None].float() / 255
            result: Tensor = theirs(x)
            return result.cpu()

    return run


def difference(weights: str, picture: str, tile: int, device: str) -> dict[str, Any]:
    """Compare windows with the whole picture, in levels of 8 bits."""
    state_dict = load_state_dict(weights)
    net = MPRNet.from_config(infer_config(state_dict))
    load_into(net, state_dict, weights)
    image = read_picture(Path(picture)).pixels
    whole, cut = (Restorer(net, device, "fp32", size)(image).astype(np.float64) for size in (0, tile))
    error = np.abs(whole - cut) * (255 / np.iinfo(image.dtype).max)
    levels = {"max": round(float(error.max()), 2), "mean": round(float(error.mean()), 4)}
    psnr = round(float(10 * np.log10(255**2 / max(np.square(error).mean(), 1e-12))), 2)
    return {
        "size": f"{image.shape[1]}x{image.shape[0]}",
        "tile": tile,
        "levels": levels,
        "psnr_of_cut_against_whole": psnr,
    }


def peak(device: str) -> int:
    """Return the most bytes in use so far."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return most_memory()


def parse_args() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Deraining", choices=list(PRESETS))
    parser.add_argument("--size", nargs="+", default=["320x240"], help="width x height in pixels")
    parser.add_argument("--tile", nargs="+", default=["0"], help="sides of windows; 0: none; auto")
    parser.add_argument("--precision", nargs="+", default=["fp32"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--peer", action="store_true", help="also spandrel-extra-arches")
    parser.add_argument(
        "--difference", nargs=2, metavar=("WEIGHTS", "PICTURE"), help="windows against the whole picture"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
