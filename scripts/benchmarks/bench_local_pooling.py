"""Compare local (TLC) with global pooling: time and peak memory of one picture, each run in a process of its own.

    python scripts/benchmarks/bench_local_pooling.py --preset Deraining --size 720 1280 --json pooling.json

Peak memory is what the process held at most above what it held with the network and the picture loaded (CPU: resident
set; GPU: torch's allocator). Run on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from tqdm import trange

sys.path.insert(0, str(Path(__file__).parent))
from common import report, write_json

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.local_pooling import use_local_pooling
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import run_command
from mprnet_plugin.memory import most_memory

KINDS = ("global", "local")


def resident_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    return most_memory() / 2**20


def measure(kind: str, preset: str, height: int, width: int, device: str) -> tuple[float, float]:
    """Return seconds of one forward pass and the MiB that it needed on top of network and picture."""
    torch.manual_seed(0)
    net = MPRNet(**PRESETS[preset]).to(device).eval()
    if kind == "local":
        use_local_pooling(net)
    x = torch.rand(1, 3, height, width, device=device)
    on_gpu = x.is_cuda
    with torch.inference_mode():
        net(x[..., :64, :64])  # libraries load
        if on_gpu:
            net(x)  # kernels are chosen
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20 if on_gpu else resident_mib()
        start = time.perf_counter()
        net(x)
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    after = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else resident_mib()
    return seconds, after - before


def main() -> int:
    """Measure in turns and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="Deraining", help="default Deraining")
    parser.add_argument("--size", type=int, nargs=2, default=(720, 1280), metavar=("H", "W"), help="default 720 1280")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: GPU if any")
    parser.add_argument("--rounds", type=int, default=3, help="each round runs both once (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    height, width = args.size
    if args.only:
        sys.stdout.write(json.dumps(measure(args.only, args.preset, height, width, args.device)))
        return 0
    options = ["--preset", args.preset, "--size", str(height), str(width), "--device", args.device]
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    mebibytes: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in trange(args.rounds, unit="round"):
        for kind in KINDS:
            command = [sys.executable, __file__, *options, "--only", kind]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
            time_taken, memory = json.loads(output)
            seconds[kind].append(time_taken)
            mebibytes[kind].append(memory)
    meta = {"preset": args.preset, "size": [height, width], "device": args.device}
    sections = [
        report(f"{args.preset}, forward pass", "s", seconds, ["global"], meta),
        report(f"{args.preset}, peak memory above network and picture", "MiB", mebibytes, ["global"], meta),
    ]
    if args.json:
        write_json(args.json, sections)
    return 0


if __name__ == "__main__":
    run_command(main)
