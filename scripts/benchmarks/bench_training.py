"""Time and peak memory of a training step with each option, beside spandrel's network: docs/performance.md.

    python scripts/benchmarks/bench_training.py --preset Deraining --batch 2 --patch 128 --rounds 3 --json training.json

Every run is a process of its own; a round runs each method once, so that the methods take turns. All start from one set
of weights and take the same batches, the recipe's losses and Adam; the peer's loop is ours. The first step of a process
is listed apart, as it warms up, or compiles. "loss" is how far the last step's is from that of fp32, relative. Memory
is the peak of the process, weights and libraries included, or on a GPU that of its tensors. Run on an idle machine;
where others use it too, the processor's seconds with --threads 1 say more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench_engines import machine
from torch import Tensor, nn

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import run_command
from mprnet_plugin.inference.engines import choose, this_machine
from mprnet_plugin.losses.charbonnier import charbonnier_loss
from mprnet_plugin.losses.edge import EdgeLoss
from mprnet_plugin.memory import most_memory
from mprnet_plugin.training.options import StepOptions
from mprnet_plugin.training.step import TrainingStep, prepare_network

METHODS: dict[str, dict[str, Any]] = {
    "peer": {},
    "fp32": {},
    "channels_last": {"channels_last": True},
    "checkpointing": {"gradient_checkpointing": True},
    "bf16": {"precision": "bf16"},
    "bf16 channels_last": {"precision": "bf16", "channels_last": True},
    "bf16 channels_last checkpointing": {"precision": "bf16", "channels_last": True, "gradient_checkpointing": True},
    "fp16 channels_last": {"precision": "fp16", "channels_last": True},
    "compile": {"compile": True},
    "bf16 channels_last compile": {"precision": "bf16", "channels_last": True, "compile": True},
}
Rows = list[dict[str, Any]]


class Charbonnier(nn.Module):
    """The recipes' first loss, without a host."""

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the mean over every value."""
        return charbonnier_loss(pred, target)


def main() -> int:
    """Run all methods in turn, or, with ``--case``, one in this process."""
    args = parse_args()
    if args.case is not None:
        sys.stdout.write(json.dumps(measure(**json.loads(args.case))) + "\n")
        return 0
    place = {name: getattr(args, name) for name in ("preset", "batch", "patch", "threads", "steps", "device")}
    runs: dict[str, Rows] = {method: [] for method in args.method or usable(args.device)}
    for _ in range(args.rounds):
        for method, mine in runs.items():
            case = json.dumps({**place, "method": method})
            words = [sys.executable, str(Path(__file__).resolve()), "--case", case]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - this same script
            mine.append(json.loads(done.stdout.splitlines()[-1]))
    rows = summary(runs)
    content = {"machine": machine(args.threads), **place, "rounds": args.rounds, "rows": rows}
    args.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.stdout.write(table(rows))
    return 0


def usable(device: str) -> list[str]:
    """Return the methods that are not slow on this machine, without those that take minutes to compile."""
    there = this_machine(torch.device(device))
    names = [name for name, options in METHODS.items() if not options.get("compile")]
    return [name for name in names if not choose("torch", METHODS[name].get("precision", "fp32"), there).warning]


def measure(method: str, preset: str, batch: int, patch: int, threads: int, steps: int, device: str) -> dict[str, Any]:
    """Return the first step's seconds, the later ones', the peak in bytes, and the last step's loss."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = device == "cuda"  # as the host trains
    options = StepOptions.read(METHODS[method])
    torch.manual_seed(0)
    net: nn.Module = MPRNet(**PRESETS[preset])
    if method == "peer":
        net = peer(net)
    prepare_network(net, options)
    net.to(device).train()
    step = TrainingStep(options, {"l_pix": Charbonnier(), "l_edge": EdgeLoss(0.05).to(device)}, device=device)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4)
    torch.manual_seed(1)  # whatever has been drawn for the networks
    synchronize: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds, processor, loss = [], [], torch.zeros(())
    for number in range(1, steps + 2):
        gt = torch.rand(batch, 3, patch, patch)
        lq = (gt + 0.1 * torch.randn_like(gt)).clamp(0, 1)
        gt, lq = gt.to(device), lq.to(device)
        synchronize()
        start, busy = time.perf_counter(), time.process_time()
        loss = step(net, optimizer, lq, gt, number)["l_total"]
        synchronize()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    peak = most_memory()
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    timed = {"first": seconds[0], "seconds": seconds[1:], "processor": processor[1:]}
    return {**timed, "peak": peak, "loss": float(loss)}


def peer(net: nn.Module) -> nn.Module:
    """Return spandrel's network with the same weights."""
    import spandrel
    import spandrel_extra_arches

    spandrel_extra_arches.install()
    theirs: nn.Module = spandrel.ModelLoader("cpu").load_from_state_dict(dict(net.state_dict())).model
    return theirs.requires_grad_(True)


def summary(runs: dict[str, Rows]) -> Rows:
    """Return a row for each method; ratios are medians over the rounds, of runs made one right after the other."""
    rows = []
    base = "peer" if "peer" in runs else next(iter(runs))
    exact = runs["fp32" if "fp32" in runs else base][0]["loss"]
    theirs = {kind: [statistics.median(run[kind]) for run in runs[base]] for kind in ("seconds", "processor")}
    for method, mine in runs.items():
        every = [second for run in mine for second in run["seconds"]]
        quartiles = statistics.quantiles(every, n=4, method="inclusive") if len(every) > 1 else every * 3
        row = {"method": method, "first": statistics.median(run["first"] for run in mine), "quartiles": quartiles}
        for kind, name in (("seconds", "times_as_fast"), ("processor", "times_as_little")):
            medians = [statistics.median(run[kind]) for run in mine]
            row[name] = statistics.median(b / a for a, b in zip(medians, theirs[kind], strict=True))
        row["processor"] = statistics.median(second for run in mine for second in run["processor"])
        row["peak"] = max(run["peak"] for run in mine)
        row["memory_ratio"] = row["peak"] / max(run["peak"] for run in runs[base])
        row["loss"] = abs(mine[0]["loss"] - exact) / exact
        rows.append(row)
    return rows


def table(rows: Rows) -> str:
    """Return the rows in Markdown; ratios are to the first."""
    base = rows[0]["method"]
    heads = ["method", "seconds (quartiles)", "first step", f"x {base}", "processor seconds", f"x {base}", "peak GB"]
    heads += [f"of {base}'s", "loss"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        low, middle, high = row["quartiles"]
        cells = [row["method"], f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{row['first']:.2f}"]
        cells += [f"{row['times_as_fast']:.2f}", f"{row['processor']:.2f}", f"{row['times_as_little']:.2f}"]
        cells += [f"{row['peak'] / 1e9:.2f}", f"{row['memory_ratio']:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{row['loss']:.0e}"]) + " |")
    return "\n".join(lines) + "\n"


def parse_args() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="Deraining", choices=list(PRESETS))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--patch", type=int, default=128, help="side in pixels")
    parser.add_argument("--method", nargs="+", choices=METHODS, help="by default what this machine is not slow with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a process after its first")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, default=Path("training.json"))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
