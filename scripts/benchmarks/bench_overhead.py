"""The share of an iteration of ``basicsr.train`` that is outside of network and optimiser: docs/performance.md.

    python scripts/benchmarks/bench_overhead.py --work /scratch/overhead --iterations 20

Runs the host's own command in this process on the deraining recipe with small batches, pictures loaded by the training
process itself, a line of the log each iteration; checkpoints and validations are later than the end. What counts is all
time that is not inside of the network, the losses, their gradients and the optimiser's step: loading, moving, checking
that the gradients are finite, the rate, the log. Run on an idle machine.
"""

from __future__ import annotations

import argparse
import functools
import os
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from common import make_pairs

from mprnet_plugin.errors import run_command
from mprnet_plugin.shipped_options import shipped
from mprnet_plugin.training.step import TrainingStep

WARM_UP = 2
"""Iterations that are left out."""


def main() -> int:
    """Run the command, and print the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="scratch folder")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--patch", type=int, default=128, help="side in pixels")
    args = parser.parse_args()
    write_run(args.work, args.iterations, args.batch, args.patch)
    os.chdir(args.work)
    inside: list[float] = []
    begins: list[tuple[float, int]] = []
    watch(inside, begins)
    sys.argv = ["basicsr.train", "-opt", "run.yml"]
    runpy.run_module("basicsr.train", run_name="__main__")
    shares, seconds = [], []
    for (start, first), (end, last) in zip(begins[WARM_UP:], begins[WARM_UP + 1 :], strict=False):
        seconds.append(end - start)
        shares.append(1 - sum(inside[first:last]) / (end - start))
    low, middle, high = statistics.quantiles(shares, n=4)
    median = statistics.median(seconds)
    sys.stdout.write(f"{len(shares)} iterations of {median:.2f} s: {middle:.2%} ({low:.2%} to {high:.2%}) outside\n")
    return 0


def write_run(work: Path, iterations: int, batch: int, patch: int) -> None:
    """Write pictures, where there are none, and an options file."""
    if not (work / "train").exists():
        make_pairs(work, 8, 2 * patch, 2 * patch)
    content = yaml.safe_load(shipped()["train_MPRNet_Derain.yml"].read_text(encoding="utf-8"))
    train = content["datasets"]["train"]
    del content["datasets"]["val"]
    train |= {"dataroot_lq": "train/input", "dataroot_gt": "train/target", "gt_size": patch, "batch_size": batch}
    train |= {"num_worker_per_gpu": 0, "dataset_enlarge_ratio": batch * iterations}
    content["train"] |= {"total_iter": iterations}
    content["logger"] |= {"print_freq": 1, "save_best": None}
    (work / "run.yml").write_text(yaml.safe_dump(content), encoding="utf-8")


def watch(inside: list[float], begins: list[tuple[float, int]]) -> None:
    """Take down how long the step's parts take, and when each iteration begins, with how many parts before it."""
    __import__("basicsr")  # with which the model is registered
    from mprnet_plugin.hosts.basicsr.resumable_model import ResumableModel

    begin = ResumableModel.update_learning_rate

    def noted(model: ResumableModel, current_iter: int, warmup_iter: int = -1) -> None:
        begins.append((time.perf_counter(), len(inside)))
        begin(model, current_iter, warmup_iter)

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def run(*arguments: object, **named: object) -> object:
            start = time.perf_counter()
            result = call(*arguments, **named)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            inside.append(time.perf_counter() - start)
            return result

        return run

    ResumableModel.update_learning_rate = noted  # type: ignore[method-assign, assignment]
    TrainingStep._backward = timed(TrainingStep._backward)  # type: ignore[method-assign]
    torch.optim.Adam.step = timed(torch.optim.Adam.step)  # type: ignore[method-assign]


if __name__ == "__main__":
    run_command(main)
