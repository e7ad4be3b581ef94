"""Time MPRNet's forward and backward pass against the reference network of spandrel-extra-arches, in one run.

Both networks hold the same weights and take turns on the same input; figures are medians, and ratios are taken pair by
pair. Run on an idle machine:

    python scripts/benchmarks/bench_network.py --sizes 128 256 --preset Deblurring --output network.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import spandrel
import spandrel_extra_arches
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import run_command


def networks(preset: str, device: str) -> dict[str, nn.Module]:
    """Return ours and the peer with the same random weights."""
    torch.manual_seed(0)
    ours = MPRNet(**PRESETS[preset])
    spandrel_extra_arches.install(ignore_duplicates=True)
    peer = spandrel.ModelLoader().load_from_state_dict(dict(ours.state_dict())).model
    return {"ours": ours.to(device), "peer": peer.to(device)}


def forward(net: nn.Module, x: Tensor) -> None:
    """Restore without gradients."""
    with torch.inference_mode():
        net(x)


def backward(net: nn.Module, x: Tensor) -> None:
    """Restore, and take the gradient of every stage the network returns."""
    output = net(x)
    outputs = output if isinstance(output, (list, tuple)) else [output]
    torch.stack([o.square().mean() for o in outputs]).sum().backward()
    net.zero_grad(set_to_none=True)


def seconds(call: Callable[[nn.Module, Tensor], None], net: nn.Module, x: Tensor) -> float:
    """Return the time of one call, the device's queue included."""
    synchronize: Callable[[], None] = torch.cuda.synchronize if x.is_cuda else lambda: None
    synchronize()
    start = time.perf_counter()
    call(net, x)
    synchronize()
    return time.perf_counter() - start


def main() -> int:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--preset", choices=list(PRESETS), default="Deblurring")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, help="also write the figures as JSON")
    args = parser.parse_args()
    nets = networks(args.preset, args.device)
    rows = []
    for size in args.sizes:
        x = torch.rand(1, 3, size, size, device=args.device)
        for call in (forward, backward):
            times: dict[str, list[float]] = {name: [] for name in nets}
            for repeat in tqdm(range(args.repeats + 1), desc=f"{call.__name__} {size}", disable=None):
                for name, net in nets.items():
                    taken = seconds(call, net, x)
                    if repeat:  # the first is the warm-up
                        times[name].append(taken)
            ratio = statistics.median(p / o for o, p in zip(times["ours"], times["peer"], strict=True))
            ours, peer = (statistics.median(times[name]) for name in ("ours", "peer"))
            rows.append({"pass": call.__name__, "size": size, "ours_s": ours, "peer_s": peer, "ratio": ratio})
            sys.stdout.write(f"{call.__name__:8} {size:4}  ours {ours:7.3f} s  peer {peer:7.3f} s  {ratio:.2f} x\n")
    meta = {"preset": args.preset, "device": args.device, "torch": torch.__version__, "machine": platform.machine()}
    if args.output:
        args.output.write_text(json.dumps({**meta, "threads": torch.get_num_threads(), "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    run_command(main)
