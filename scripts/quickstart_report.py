"""Score degraded and restored pictures of a test run by one protocol, and put some of them side by side.

python scripts/quickstart_report.py --data datasets/SIDD/val --results results/quickstart_denoise --output out.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demo_data.images import SRGBImage, read_image, side_by_side, write_png
from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.files import whole_file
from mprnet_plugin.metrics.protocols import PROTOCOLS, Scores

PROTOCOL = PROTOCOLS["gopro"]
"""Of 8-bit RGB pictures, as the results are stored, whatever the task."""


class Triple(NamedTuple):
    """A test picture, what the network made of it, and what it should be: H×W×3 each."""

    name: str
    degraded: SRGBImage
    restored: SRGBImage
    target: SRGBImage


class ScoreChange(NamedTuple):
    """Scores of a degraded picture and of the restored one."""

    name: str
    degraded: Scores
    restored: Scores


def read_triples(data: Path, results: Path) -> list[Triple]:
    """Read the pictures of a test set and the host's results for it.

    Args:
        data: Folder with ``input`` and ``target``.
        results: The run's folder; BasicSR writes ``visualization/<set>/<picture>_<run>.png`` into it, our command for
            mmengine ``<set>/<picture>.png``.

    Raises:
        InputError: A picture is missing or damaged, or the set is empty.
    """
    triples = []
    for path in sorted((data / "input").glob("*.png")):
        patterns = (f"visualization/*/{path.stem}_{results.name}.png", f"*/{path.stem}.png")
        found = [one for pattern in patterns for one in results.glob(pattern)]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} results for {path.stem!r} below {str(results)!r}, expected 1; run the test again"
            )
        target = read_image(data / "target" / path.name)
        triples.append(Triple(path.stem, read_image(path), read_image(found[0]), target))
    if not triples:
        raise InputError(f"{str(data / 'input')!r} holds no PNG; give a test set made by make_demo_data.py")
    return triples


def score(triple: Triple) -> ScoreChange:
    """Score both pictures against the target."""
    return ScoreChange(
        triple.name,
        PROTOCOL.score(triple.degraded, triple.target),
        PROTOCOL.score(triple.restored, triple.target),
    )


def mean(scores: Sequence[Scores]) -> Scores:
    """Return the mean of each metric over pictures."""
    return {name: float(np.mean([one[name] for one in scores])) for name in PROTOCOL.metrics}


def table(changes: Sequence[ScoreChange]) -> str:
    """Format scores and their average as a Markdown table."""
    average = ScoreChange("average", mean([one.degraded for one in changes]), mean([one.restored for one in changes]))
    lines = ["| picture | PSNR degraded → restored | gain | SSIM degraded → restored |", "|---|---|---|---|"]
    for name, before, after in [*changes, average]:
        psnr = f"{before['psnr']:.2f} → {after['psnr']:.2f} dB | {after['psnr'] - before['psnr']:+.2f} dB"
        lines.append(f"| {name} | {psnr} | {before['ssim']:.3f} → {after['ssim']:.3f} |")
    return "\n".join(lines) + "\n"


def worse(changes: Sequence[ScoreChange]) -> str:
    """Return a line that names the pictures which the network has made worse; nothing where there are none."""
    names = [one.name for one in changes if one.restored["psnr"] < one.degraded["psnr"]]
    if not names:
        return ""
    return f"WORSE than the input: {len(names)} of {len(changes)} pictures lost PSNR: {', '.join(names)}\n"


def before_after(triples: Sequence[Triple]) -> SRGBImage:
    """Show degraded, restored and target, for the first picture cut from each photograph."""
    rows = [
        side_by_side([("degraded", one.degraded), ("restored by MPRNet", one.restored), ("target", one.target)])
        for one in triples
        if one.name.endswith("_01")
    ]
    return np.vstack(rows)


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
    changes = [score(one) for one in triples]
    sys.stdout.write(f"{table(changes)}{worse(changes)}\nbefore and after: {args.output.resolve()}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
