"""Score degraded and restored pictures of a test run by one protocol, and put some of them side by side.

python scripts/quickstart_report.py --data datasets/SIDD/val --results results/quickstart_denoise --output out.png
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_demo_data import Picture, read_png, side_by_side, write_png

from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.files import whole_file
from mprnet_plugin.metrics.psnr import psnr_rgb
from mprnet_plugin.metrics.ssim import ssim_volume


@dataclass(frozen=True)
class Triple:
    """A test picture, what the network made of it, and what it should be: H×W×3 each."""

    name: str
    degraded: Picture
    restored: Picture
    target: Picture


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM of a degraded and a restored picture, protocol ``gopro`` (8-bit RGB)."""

    name: str
    psnr: tuple[float, float]
    ssim: tuple[float, float]


def read_triples(data: Path, results: Path) -> list[Triple]:
    """Read the pictures of a test set and the host's results for it.

    Args:
        data: Folder with ``input`` and ``target``.
        results: The run's folder; the host writes ``visualization/<set>/<picture>_<run>.png`` into it.

    Raises:
        InputError: A picture is missing or damaged, or the set is empty.
    """
    triples = []
    for path in sorted((data / "input").glob("*.png")):
        found = list((results / "visualization").glob(f"*/{path.stem}_{results.name}.png"))
        if len(found) != 1:
            raise InputError(
                f"{len(found)} results for {path.stem!r} below {str(results)!r}, expected 1; run basicsr.test again"
            )
        target = read_png(data / "target" / path.name)
        triples.append(Triple(path.stem, read_png(path), read_png(found[0]), target))
    if not triples:
        raise InputError(f"{str(data / 'input')!r} holds no PNG; give a test set made by make_demo_data.py")
    return triples


def score(triple: Triple) -> Score:
    """Score both pictures against the target."""
    degraded, restored, target = triple.degraded, triple.restored, triple.target
    return Score(
        triple.name,
        (psnr_rgb(degraded, target), psnr_rgb(restored, target)),
        (ssim_volume(degraded, target), ssim_volume(restored, target)),
    )


def average(scores: list[Score]) -> Score:
    """Return the mean over pictures, named ``average``."""
    psnr = np.mean([one.psnr for one in scores], axis=0)
    ssim = np.mean([one.ssim for one in scores], axis=0)
    return Score("average", (float(psnr[0]), float(psnr[1])), (float(ssim[0]), float(ssim[1])))


def table(scores: list[Score]) -> str:
    """Format scores and their average as a Markdown table."""
    lines = ["| picture | PSNR degraded → restored | gain | SSIM degraded → restored |", "|---|---|---|---|"]
    for one in [*scores, average(scores)]:
        psnr = f"{one.psnr[0]:.2f} → {one.psnr[1]:.2f} dB"
        lines.append(
            f"| {one.name} | {psnr} | {one.psnr[1] - one.psnr[0]:+.2f} dB | {one.ssim[0]:.3f} → {one.ssim[1]:.3f} |"
        )
    return "\n".join(lines) + "\n"


def before_after(triples: list[Triple]) -> Picture:
    """Show degraded, restored and target, for the first picture cut from each photograph."""
    rows = [
        side_by_side([("degraded", one.degraded), ("restored by MPRNet", one.restored), ("target", one.target)])
        for one in triples
        if one.name.endswith("_01")
    ]
    picture: Picture = np.vstack(rows)
    return picture


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="test set: folder with input and target")
    parser.add_argument("--results", type=Path, required=True, help="the run's folder below results")
    parser.add_argument("--output", type=Path, required=True, help="before/after picture to write, PNG")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    triples = read_triples(args.data, args.results)
    with whole_file(args.output) as part:
        write_png(part, before_after(triples))
    sys.stdout.write(f"{table([score(one) for one in triples])}\nbefore and after: {args.output.resolve()}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
