"""Measure what the autoload file costs every start of Python: `python -c pass` with and without the plugin.

    python scripts/benchmarks/bench_startup.py [--pairs 200]

Two fresh virtual environments, the plugin in one of them as a plain wheel without its dependencies; the runs alternate,
since a machine's speed drifts. Prints the median of the paired differences in milliseconds with its quartiles. Needs
setuptools in the Python that runs this.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from tqdm import trange

ROOT = Path(__file__).resolve().parents[2]


def seconds(python: Path) -> float:
    """Time one start of an interpreter."""
    begin = time.perf_counter()
    subprocess.run([python, "-c", "pass"], check=True)  # noqa: S603
    return time.perf_counter() - begin


def environments(folder: Path) -> tuple[Path, Path]:
    """Make the two environments; returns their interpreters, the one with the plugin first."""
    pip = [sys.executable, "-m", "pip", "-q"]
    wheels = folder / "wheels"
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT)]
    environment = {**os.environ, "MPRNET_PLUGIN_SKIP_HOST_CHECK": "1"}
    subprocess.run([*pip, *build], check=True, env=environment)  # noqa: S603
    pythons = []
    for name in ("with", "without"):
        venv.create(folder / name, symlinks=True)
        pythons.append(folder / name / "bin" / "python")
    install = ["--python", str(pythons[0]), "install", "--no-deps", *map(str, wheels.glob("*.whl"))]
    subprocess.run([*pip, *install], check=True)  # noqa: S603
    return pythons[0], pythons[1]


def main() -> int:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="paired runs (default %(default)s)")
    pairs: int = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        plugin, bare = environments(Path(folder))
        seconds(plugin), seconds(bare)
        times = [
            (seconds(plugin), seconds(bare)) if i % 2 else (seconds(bare), seconds(plugin))[::-1]
            for i in trange(pairs, leave=False)
        ]
    low, middle, high = (1e3 * q for q in statistics.quantiles((a - b for a, b in times), n=4))
    base = 1e3 * statistics.median(b for _, b in times)
    sys.stdout.write(
        f"{pairs} pairs of `python -c pass`, Python {sys.version.split()[0]}: {base:.2f} ms without the plugin, "
        f"{middle:+.2f} ms with it (median of the paired differences; quartiles {low:+.2f} and {high:+.2f})\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
