"""Images packed a second and peak memory: the stock host's make_lmdb_from_imgs against lmdb_tools.gopro.

Every run packs the same pairs of PNGs into fresh LMDBs with the same number of processes. Our time is the whole
command's; the host's leaves out its imports, which take seconds. Memory is the largest sum, over the command's
processes, of what they hold besides file pages, shared pages divided.

example: python scripts/benchmarks/bench_packing.py --work /scratch/pack --json packing.json
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import host_module, make_pairs, parser, report, write_json

from mprnet_plugin.data.folders import list_images

SIDES = ("input", "target")


def host(source: Path, output: Path, workers: int) -> None:
    """Pack with the host; more than one process is its multiprocessing mode."""
    maker = host_module("basicsr.utils.lmdb_util").make_lmdb_from_imgs
    output.mkdir()
    start = time.perf_counter()
    for side in SIDES:
        folder = source / "train" / side
        keys = list(list_images(folder))
        names = [f"{key}.png" for key in keys]
        many = {"multiprocessing_read": True, "n_thread": workers} if workers > 1 else {}
        maker(str(folder), str(output / f"{side}.lmdb"), names, keys, **many)
    sys.stdout.write(f"\n{time.perf_counter() - start}\n")


def tree_memory(root: int) -> int:
    """Return the bytes of memory that a process and its descendants hold alone, shared pages divided."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    members = {root}
    while fresh := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= fresh
    total = 0
    for pid in members:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1]) * 1024
    return total


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds (those it printed last, if it did) and its peak memory in MB."""
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)  # noqa: S603
        while process.poll() is None:
            peak = max(peak, tree_memory(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}")
        output.seek(0)
        printed = output.read().split()
    return float(printed[-1]) if printed else seconds, peak / 1e6


def main() -> None:
    """Run all methods in each round."""
    command = parser(__doc__)
    command.add_argument("--pictures", type=int, default=60, help="source pairs (default 60)")
    command.add_argument("--height", type=int, default=720)
    command.add_argument("--width", type=int, default=1280)
    command.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    command.add_argument("--only", nargs="*", help="run these methods only")
    command.add_argument(
        "--host", nargs=3, metavar=("SOURCE", "OUTPUT", "WORKERS"), help="internal: one run of the host"
    )
    arguments = command.parse_args()
    if arguments.host:
        host(Path(arguments.host[0]), Path(arguments.host[1]), int(arguments.host[2]))
        return
    source, output = arguments.work / "source", arguments.work / "output"
    if not source.is_dir():
        make_pairs(source, arguments.pictures, arguments.height, arguments.width)
    workers = str(arguments.workers)
    script = [sys.executable, __file__, "--work", ".", "--json", os.devnull, "--host", str(source), str(output)]
    ours = [sys.executable, "-m", "lmdb_tools.gopro", "--source", str(source), "--output", str(output)]
    methods = {
        "host, 1 process": [*script, "1"],
        f"host, {workers} processes": [*script, workers],
        **{f"ours, {form}": [*ours, "--workers", workers, "--storage", form] for form in ("ppm", "png", "copy")},
    }
    methods = {name: line for name, line in methods.items() if not arguments.only or name in arguments.only}
    speed: dict[str, list[float]] = {name: [] for name in methods}
    memory: dict[str, list[float]] = {name: [] for name in methods}
    count = sum(len(list_images(source / "train" / side)) for side in SIDES)
    for _ in range(arguments.rounds):
        for name, line in methods.items():
            shutil.rmtree(output, ignore_errors=True)
            os.sync()  # so that no run pays for the writes of the one before
            seconds, peak = timed(line)
            speed[name].append(count / seconds)
            memory[name].append(peak)
    shutil.rmtree(output, ignore_errors=True)
    meta: dict[str, Any] = {"images": count, "size": [arguments.height, arguments.width], "rounds": arguments.rounds}
    baselines = [name for name in methods if name.startswith("host")]
    sections = [
        report("Packing", "images a second", speed, baselines, meta),
        report("Peak memory of all processes", "MB", memory, [], meta),
    ]
    write_json(arguments.json, sections)


if __name__ == "__main__":
    main()
