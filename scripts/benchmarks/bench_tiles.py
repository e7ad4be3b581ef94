"""What tiles without blending do to this network, by spandrel, as chaiNNer and ComfyUI load it: docs/spandrel.md.

    python scripts/benchmarks/bench_tiles.py --tile 128 256 512

scikit-image's ``coffee`` (400 x 600; no training of the demo weights saw it) is degraded, and restored whole and in
tiles with the demo weights, or those that ``--weights TASK=FILE`` names. Also what ``mprnet-restore --tile`` makes of
it. All but PSNR is in levels of 255.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import spandrel
import spandrel_extra_arches
import torch
from torch import Tensor

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.data import degradations
from mprnet_plugin.data.linear_light import to_linear, to_srgb
from mprnet_plugin.errors import run_command
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.tasks import TASKS

DEGRADE: dict[str, Callable[..., Any]] = {
    "Deblurring": degradations.shake,
    "Denoising": degradations.sensor_noise,
    "Deraining": degradations.rain,
}
Run = Callable[[Tensor], Tensor]


def main() -> int:
    """Restore and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile", type=int, nargs="+", default=[128, 256], help="sides in pixels")
    parser.add_argument("--weights", nargs="*", default=[], metavar="TASK=FILE", help="instead of the demo's")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chosen = dict(one.split("=", 1) for one in args.weights)
    spandrel_extra_arches.install(ignore_duplicates=True)
    photographs: Any = skimage.data  # which is untyped
    sharp = photographs.coffee()
    sys.stdout.write(
        "| task | restored | PSNR | from whole: mean, largest | largest shift of a tile | jump at seams, elsewhere |\n"
        "|---|---|---|---|---|---|\n"
    )
    for task in TASKS:
        net = MPRNet.from_pretrained(chosen.get(task, f"mprnet://demo/{task}"))
        lq = tensor(to_srgb(DEGRADE[task](to_linear(sharp), np.random.default_rng(args.seed))))
        theirs = by_spandrel(net)
        whole = theirs(lq)
        rows = {"not": (lq, 0), "whole": (whole, 0)}
        for side in args.tile:
            rows[f"tiles of {side}"] = (in_tiles(theirs, lq, side), side)
            blended = Restorer(net, "cpu", "fp32", tile=side, engine="torch")(lq)
            rows[f"mprnet-restore --tile {side}"] = (blended, side)
        for name, (result, side) in rows.items():
            sys.stdout.write(f"| {task} | {name} | {row(result, whole, tensor(sharp), side)} |\n")
    return 0


def tensor(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """Return (H, W, 3) bytes as (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255


def by_spandrel(net: MPRNet) -> Run:
    """Return a call of the file that is saved, loaded as its users do."""
    with tempfile.TemporaryDirectory() as folder:
        net.save_pretrained(folder)
        loaded = spandrel.ModelLoader("cpu").load_from_file(Path(folder) / "model.safetensors")

    def run(x: Tensor) -> Tensor:
        with torch.inference_mode():
            result: Tensor = loaded(x).clamp(0, 1)
        return result

    return run


def in_tiles(run: Run, picture: Tensor, side: int) -> Tensor:
    """Restore each tile alone and put them side by side."""
    result = torch.empty_like(picture)
    for top in range(0, picture.shape[2], side):
        for left in range(0, picture.shape[3], side):
            window = (..., slice(top, top + side), slice(left, left + side))
            result[window] = run(picture[window])
    return result


def row(result: Tensor, whole: Tensor, sharp: Tensor, side: int) -> str:
    """Return a table's cells; the jump is that of the difference from the whole picture, from column to column."""
    psnr = -10 * float((result - sharp).square().mean().log10())
    if not side:
        return f"{psnr:.2f} dB | | |"
    difference = (result - whole) * 255
    tiles = [part for strip in difference.split(side, 2) for part in strip.split(side, 3)]
    shift = max(float(part.mean((2, 3)).abs().max()) for part in tiles)
    jumps = (difference[..., 1:] - difference[..., :-1]).abs().mean((0, 1, 2))
    seams, elsewhere = float(jumps[side - 1 :: side].mean()), float(jumps.median())
    mean, largest = float(difference.abs().mean()), float(difference.abs().max())
    return f"{psnr:.2f} dB | {mean:.2f}, {largest:.1f} | {shift:.2f} | {seams:.2f}, {elsewhere:.2f}"


if __name__ == "__main__":
    run_command(main)
