"""Kill a packing command at random moments, start it again, and see that nothing wrong is ever visible.

After every kill (SIGKILL to the whole process group) each visible database must verify. At the end, each must hold the
keys and values of an undisturbed run, byte for byte.

example: python scripts/benchmarks/kill_test.py --work /scratch/kill --runs 50
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common import make_pairs

from lmdb_tools.verify import check_database, check_pair
from mprnet_plugin.data.stores import LmdbStore

# The real command, with transactions of 256 KiB instead of 32 MiB: small pictures then take many of them.
CODE = "import lmdb_tools.pack as p, lmdb_tools.gopro as g; p._BATCH_BYTES = 1 << 18; g.cli()"
DATABASES = ("train_input.lmdb", "train_target.lmdb")


def start(source: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start the command as the leader of a new process group."""
    line = [sys.executable, "-c", CODE, "--source", str(source), "--output", str(output), "--workers", "2", *options]
    return subprocess.Popen(line, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that must succeed."""
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the command ended with {process.returncode}: {errors.decode()}")


def killed(process: subprocess.Popen[bytes], delay: float) -> bool:
    """Kill the group after ``delay`` seconds; False where the command was done before."""
    try:
        process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def content(root: Path) -> dict[str, bytes]:
    """Return a database's keys and values."""
    store = LmdbStore(root)
    keys = store.keys()
    return {key: bytes(store.raw(key)) for key in keys}


def visible_problems(output: Path) -> list[str]:
    """Return what is wrong with the databases that can be seen."""
    roots = [output / name for name in DATABASES if (output / name).exists()]
    problems = [problem for root in roots for problem in check_database(root)]
    if len(roots) == len(DATABASES):
        problems += check_pair(roots[0])
    return problems


def disturb(source: Path, output: Path, options: Sequence[str], rng: random.Random, duration: float) -> tuple[int, int]:
    """Start the command and kill it, again and again until a coin says stop or it was done before.

    Returns:
        The number of kills, and of those that left a partial database behind.
    """
    kills = partial = 0
    while killed(start(source, output, *options), rng.uniform(0.1, 1.0) * duration):
        kills += 1
        partial += output.is_dir() and any(output.glob(".*.partial/journal.jsonl"))
        if problems := visible_problems(output):
            raise SystemExit(f"visible after a kill: {problems}")
        if rng.random() < 0.5:
            break
    return kills, partial


def main() -> None:
    """Run the test; exit status 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="scratch folder")
    parser.add_argument("--runs", type=int, default=50, help="disturbed runs (default 50)")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of 320x180 (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source, reference, output = (arguments.work / name for name in ("source", "reference", "output"))
    for folder in (reference, output):
        shutil.rmtree(folder, ignore_errors=True)
    make_pairs(source, arguments.pairs, 180, 320)
    began = time.monotonic()
    finish(start(source, reference))
    duration = time.monotonic() - began
    expected = [content(reference / name) for name in DATABASES]
    rng = random.Random(arguments.seed)  # noqa: S311 (no secret)
    kills = resumed = 0
    for run in range(arguments.runs):
        # Every third run replaces databases that are there, which must survive or be replaced, never be mixed.
        options = ["--overwrite"] if run % 3 == 2 else []
        while True:
            if not options:
                shutil.rmtree(output, ignore_errors=True)
            hit, partial = disturb(source, output, options, rng, duration)
            kills, resumed = kills + hit, resumed + partial
            if hit:  # otherwise the command was done before the first kill: no disturbed run
                break
        finish(start(source, output, *options))
        if visible_problems(output) or [content(output / name) for name in DATABASES] != expected:
            raise SystemExit(f"run {run}: the result is not the undisturbed one")
        if leftovers := [path.name for path in output.iterdir() if path.name not in DATABASES]:
            raise SystemExit(f"run {run}: left behind: {leftovers}")
    text = f"{arguments.runs} runs, {kills} kills ({resumed} with a partial database): all equal the undisturbed run"
    sys.stdout.write(f"{text}; undisturbed {duration:.1f} s\n")


if __name__ == "__main__":
    main()
