"""A training that explodes, and the same one with the gradients clipped: a search over rates and seeds on demo data.

Both have the same network, pictures, rate and seed; each curve is the summed loss of a batch. The first rate and seed
at which the one explodes and the other does not are drawn.

    python scripts/make_demo_data.py --tasks deblur
    python scripts/benchmarks/explode.py --data datasets/GoPro/train --picture docs/explode.png
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor, nn

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.data.paired_dataset import PairedRestorationDataset
from mprnet_plugin.data.sampler import Draw
from mprnet_plugin.errors import InputError, run_command
from mprnet_plugin.losses.charbonnier import charbonnier_loss
from mprnet_plugin.losses.edge import EdgeLoss
from mprnet_plugin.training.options import StepOptions
from mprnet_plugin.training.step import TrainingStep

WIDTHS: dict[str, Any] = {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 1}
PATCH, BATCH = 32, 2
CLIP = 0.01
"""The robust recipes' limit."""
EXPLODED = 100
"""Times the first losses: where a training's last losses are above it, it has exploded."""


class Charbonnier(nn.Module):
    """The recipes' pixel loss."""

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean over (N, C, H, W) images."""
        return charbonnier_loss(restored, sharp)


class Curve(NamedTuple):
    """What each iteration logged."""

    losses: list[float]
    norms: list[float]

    @property
    def ends(self) -> tuple[float, float]:
        """The mean loss of the first tenth and of the last; infinite where it diverged."""
        tenth = max(len(self.losses) // 10, 1)
        return float(np.mean(self.losses[:tenth])), float(np.mean(self.losses[-tenth:]))

    @property
    def exploded(self) -> bool:
        """Whether the last losses are far above the first."""
        first, last = self.ends
        return last > EXPLODED * first

    @property
    def learnt(self) -> bool:
        """Whether the last losses are below the first."""
        first, last = self.ends
        return last < first


def train(data: Path, rate: float, seed: int, clip: float | None, iterations: int) -> Curve:
    """Train a small network with Adam at a constant rate, the losses of the deblurring recipe.

    Args:
        data: Folder with ``input`` and ``target``.
        rate: Adam's.
        seed: Of the weights and of the pictures' order and crops.
        clip: Limit of the gradients' norm, or None.
        iterations: Steps; fewer where it diverged.
    """
    torch.manual_seed(seed)
    net = MPRNet(**WIDTHS)
    roots = {"dataroot_lq": str(data / "input"), "dataroot_gt": str(data / "target")}
    schedule = {"seed": seed, "batch_size": BATCH}
    pairs = PairedRestorationDataset({**roots, "gt_size": PATCH, "augment": "geometric", "schedule": schedule})
    generator = np.random.default_rng(seed)
    step = TrainingStep(StepOptions(grad_clip=clip), {"l_pix": Charbonnier(), "l_edge": EdgeLoss(0.05)}, seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    curve = Curve([], [])
    for iteration in range(1, iterations + 1):
        places = range((iteration - 1) * BATCH, iteration * BATCH)
        batch = [pairs[Draw(int(generator.integers(len(pairs))), 0, place)] for place in places]
        lq, gt = (torch.stack([sample[side] for sample in batch]) for side in ("lq", "gt"))
        try:
            found = step(net, optimizer, lq, gt, iteration)
        except InputError:  # more steps that are not finite than may be skipped
            curve.losses.append(math.inf)
            break
        curve.losses.append(float(found["l_total"]))
        curve.norms.append(float(found["grad_norm"]))
    return curve


def search(data: Path, rates: list[float], seeds: list[int], iterations: int) -> tuple[float, int, Curve, Curve]:
    """Return the first rate and seed, and both curves, where a training explodes that learns with clipping.

    Raises:
        InputError: There is none.
    """
    for rate, seed in itertools.product(rates, seeds):
        free = train(data, rate, seed, None, iterations)
        clipped = train(data, rate, seed, CLIP, iterations) if free.exploded else None
        for name, curve in (("as it is", free), ("clipped", clipped)):
            if curve is not None:
                first, last = curve.ends
                sys.stdout.write(f"rate {rate:g}, seed {seed}, {name}: loss {first:.3g} to {last:.3g}\n")
        sys.stdout.flush()
        if clipped is not None and clipped.learnt:
            return rate, seed, free, clipped
    raise InputError("at none of these rates and seeds does clipping decide: try others (--rates, --seeds)")


def draw(path: Path, title: str, free: Curve, clipped: Curve) -> None:
    """Draw both trainings' losses, on a logarithmic scale."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), dpi=100, layout="constrained")
    axes.semilogy(range(1, len(free.losses) + 1), free.losses, color="tab:red", label="as it is", lw=1)
    axes.semilogy(range(1, len(clipped.losses) + 1), clipped.losses, color="tab:blue", label=f"grad_clip: {CLIP}", lw=1)
    axes.set(title=title, xlabel="iteration", ylabel="loss of the batch")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    """Search, and draw what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("datasets/GoPro/train"), help="input and target (%(default)s)"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[4e-3, 7e-3, 1e-2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--picture", type=Path, default=Path("explode.png"), help="curves (%(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rate, seed, free, clipped = search(args.data, args.rates, args.seeds, args.iterations)
    draw(args.picture, f"Adam, rate {rate:g}, batches of {BATCH}, seed {seed}", free, clipped)
    return 0


if __name__ == "__main__":
    run_command(main)
