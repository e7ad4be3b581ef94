"""Time, peak memory and error of every engine and precision, beside spandrel's network: docs/performance.md.

    python scripts/benchmarks/bench_engines.py --preset Deblurring --size 256x256 --rounds 5 --json engines.json

Every run is a process of its own; a round runs each method once, so that the methods take turns. The first call of a
process is listed apart, as it transforms weights and warms up. Errors are against eager fp32, in parts of the range,
with random weights. --json keeps what other calls measured, so that a table may grow; its table is printed. Memory is
the peak of the whole process, weights and libraries included. onnxruntime and OpenVINO, peers too, run one export
of the network, made before the first round. Run on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import run_command
from mprnet_plugin.export.exporting import export
from mprnet_plugin.inference.engines import choose, running, this_machine
from mprnet_plugin.memory import most_memory

EXPORTED = ("onnxruntime fp32", "openvino fp32", "openvino bf16")
METHODS = ("peer", "torch fp32", "ncnn fp32", "torch bf16", *EXPORTED)
Rows = list[dict[str, Any]]


def main() -> int:
    """Run all methods in turn, or, with ``--case``, one in this process."""
    args = parse_args()
    if args.case is not None:
        sys.stdout.write(json.dumps(measure(**json.loads(args.case))) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        if any(method in EXPORTED for method in args.method):
            export(network(args.preset), file)
        runs = measure_in_turn(args, str(file))
    rows: Rows = json.loads(args.json.read_text())["rows"] if args.json.exists() else []
    place = {"preset": args.preset, "size": args.size, "rounds": args.rounds, "calls": args.calls}
    fresh = [{**place, **row} for row in summary(runs)]
    keys = {(row["preset"], row["size"], row["method"]) for row in fresh}
    rows = [row for row in rows if (row["preset"], row["size"], row["method"]) not in keys] + fresh
    args.json.write_text(json.dumps({"machine": machine(args.threads), "rows": rows}, indent=1) + "\n")
    sys.stdout.write(table(rows))
    return 0


def measure_in_turn(args: argparse.Namespace, file: str) -> dict[str, Rows]:
    """Return what each method's processes measured; ``file`` is the export, where one is needed."""
    runs: dict[str, Rows] = {method: [] for method in args.method}
    shared = {"preset": args.preset, "size": args.size, "threads": args.threads, "calls": args.calls, "file": file}
    for number in range(args.rounds):
        for method in args.method:
            case = json.dumps({**shared, "method": method, "compare": number == 0 and args.compare})
            words = [sys.executable, str(Path(__file__).resolve()), "--case", case]
            done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603 - this same script
            runs[method].append(json.loads(done.stdout.splitlines()[-1]))
    return runs


def network(preset: str) -> MPRNet:
    """Return the network with weights that are the same in every process."""
    torch.manual_seed(0)
    return MPRNet(**PRESETS[preset]).eval()


def measure(method: str, preset: str, size: str, threads: int, calls: int, compare: bool, file: str) -> dict[str, Any]:
    """Return the first call's seconds, the later ones', the process's peak in bytes, and the largest error."""
    torch.set_num_threads(threads)
    width, height = map(int, size.split("x"))
    net = network(preset)
    x = torch.rand(1, 3, height, width)
    if method == "peer":
        run = peer(net)
    else:
        run = exported(file, method, threads) if method in EXPORTED else ours(net, *method.split())
    seconds = []
    result = x
    for _ in range(calls + 1):
        start = time.perf_counter()
        result = run(x)
        seconds.append(time.perf_counter() - start)
    peak = most_memory()
    error = None
    if compare:
        with torch.inference_mode():
            exact = net.to(memory_format=torch.contiguous_format)(x)[0]
        if method == "peer":  # which clamps
            exact = exact.clamp(0, 1)
        error = float((result.float() - exact).abs().max() / (exact.max() - exact.min()))
    return {"first": seconds[0], "seconds": seconds[1:] or seconds, "peak": peak, "error": error}


def ours(net: MPRNet, engine: Any, precision: Any) -> Callable[[Tensor], Tensor]:  # noqa: ANN401 - checked by choose
    """Return a call of the network as the restorer runs it."""
    choice = choose(engine, precision, this_machine(torch.device("cpu")))
    if choice.half is not None:
        net.to(memory_format=torch.channels_last)

    def run(x: Tensor) -> Tensor:
        half = torch.autocast("cpu", choice.half or torch.bfloat16, enabled=choice.half is not None)
        with torch.inference_mode(), half, running(net, choice):
            result: Tensor = net(x)[0]
        return result

    return run


def exported(file: str, method: str, threads: int) -> Callable[[Tensor], Tensor]:
    """Return a call of the exported network in another runtime."""
    if method.startswith("onnxruntime"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": "bf16" if method.endswith("bf16") else "f32", "INFERENCE_NUM_THREADS": threads}
    model = openvino.Core().compile_model(file, "CPU", hint)
    return lambda x: torch.from_numpy(model(x.numpy())[0])


def peer(net: MPRNet) -> Callable[[Tensor], Tensor]:
    """Return a call of spandrel's network with the same weights, as its users write it."""
    import spandrel
    import spandrel_extra_arches

    spandrel_extra_arches.install()
    theirs = spandrel.ModelLoader("cpu").load_from_state_dict(dict(net.state_dict()))

    def run(x: Tensor) -> Tensor:
        with torch.inference_mode():
            result: Tensor = theirs(x)
        return result

    return run


def summary(runs: dict[str, Rows]) -> Rows:
    """Return a row for each method; ratios are medians over the rounds, of runs made one right after the other."""
    rows = []
    for method, mine in runs.items():
        medians = [statistics.median(run["seconds"]) for run in mine]
        every = [second for run in mine for second in run["seconds"]]
        quartiles = statistics.quantiles(every, n=4, method="inclusive") if len(every) > 1 else every * 3
        row = {"method": method, "first": statistics.median(run["first"] for run in mine), "quartiles": quartiles}
        row |= {"peak": max(run["peak"] for run in mine), "error": mine[0]["error"]}
        if "peer" in runs:
            theirs = [statistics.median(run["seconds"]) for run in runs["peer"]]
            row["times_as_fast"] = statistics.median(b / a for a, b in zip(medians, theirs, strict=True))
            row["memory_of_peer"] = row["peak"] / max(run["peak"] for run in runs["peer"])
        rows.append(row)
    return rows


def table(rows: Rows) -> str:
    """Return the rows in Markdown."""
    heads = ["preset", "size", "method", "seconds (quartiles)", "first call", "x peer", "peak GB", "of peer's", "error"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        low, middle, high = row["quartiles"]
        cells = [
            row["preset"],
            row["size"],
            row["method"],
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            f"{row['first']:.2f}",
        ]
        cells += [f"{row['times_as_fast']:.2f}", f"{row['peak'] / 1e9:.2f}", f"{row['memory_of_peer']:.2f}"]
        cells.append("-" if row["error"] is None else f"{row['error']:.1e}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def machine(threads: int) -> dict[str, Any]:
    """Return what the figures come from, the processor's flags that matter among it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    words = next((line.split() for line in lines if line.startswith("flags")), [])
    flags = [word for word in words if word.startswith(("avx", "amx", "fma", "f16c"))]
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"processor": name, "flags": flags, "threads": threads, "torch": torch.__version__}


def parse_args() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="Deblurring", choices=list(PRESETS))
    parser.add_argument("--size", default="256x256", help="width x height in pixels")
    parser.add_argument("--method", nargs="+", default=list(METHODS[:3]), choices=METHODS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2, help="timed calls of a process after its first; 0: only that")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compare", action="store_true", help="also the error, which runs eager once more")
    parser.add_argument("--json", type=Path, default=Path("engines.json"))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
