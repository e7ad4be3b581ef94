"""What fine-tuning the denoising demo weights gains on pictures of another camera, of photographs that it never saw.

The camera: a dim room, 30 to 60 electrons for white, read noise of 2 to 4, then JPEG of quality 60 to 80; the demo
weights were trained on 60 to 400 electrons without JPEG. Two ways:

- pairs: the pictures of --train, each with what the camera made of it (options/finetune_demo_denoise.yml);
- clean: the same pictures without that, and ranges around the camera (options/finetune_demo_denoise_clean.yml).

    python scripts/benchmarks/bench_finetuning.py --train mine --held-out others --workdir finetuning

Prints a Markdown table of the held-out pictures (256 x 256 pixels, one a photograph), scored by the protocol gopro.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from demo_data.folders import make_pair
from demo_data.images import SRGBImage, read_image, write_png
from demo_data.photographs import read_photograph
from mprnet_plugin.data.degradations import jpeg, sensor_noise
from mprnet_plugin.data.folders import list_images
from mprnet_plugin.data.linear_light import LinearImage, to_srgb
from mprnet_plugin.errors import run_command
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.metrics.protocols import PROTOCOLS
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.choice import find_file

OPTIONS = Path(__file__).parents[2] / "options"
WEIGHTS = "mprnet://demo/Denoising"
SHORTER_SIDE = 512
"""Pictures to train on are shrunk to this, so that their own noise is gone."""
SIDE = 256


def camera(linear: LinearImage, rng: np.random.Generator) -> LinearImage:
    """Take a picture with the camera of this benchmark."""
    return jpeg(sensor_noise(linear, rng, electrons=(30, 60), read_noise=(2, 4)), rng, quality=(60, 80))


def generator(name: str) -> np.random.Generator:
    """Return what a picture's noise is drawn by: its name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def write_training(source: Path, workdir: Path) -> None:
    """Write pictures, clean and as the camera takes them."""
    for name, path in list_images(source).items():
        linear = read_photograph(path)
        scale = min(SHORTER_SIDE / min(linear.shape[:2]), 1)
        size = (round(linear.shape[1] * scale), round(linear.shape[0] * scale))
        linear = cv2.resize(linear, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for side, picture in (("input", camera(linear, generator(name))), ("target", linear)):
            write(workdir / "train" / side / f"{name}.png", to_srgb(picture))


def write_held_out(source: Path, workdir: Path) -> list[str]:
    """Write one window of each photograph, clean and as the camera takes it; return their names."""
    names = []
    for name, path in list_images(source).items():
        pair = make_pair(read_photograph(path), SIDE, camera, generator(name))
        for side, picture in zip(("input", "target"), pair, strict=True):
            write(workdir / "val" / side / f"{name}.png", picture)
        names.append(name)
    return names


def write(path: Path, picture: SRGBImage) -> None:
    """Write a PNG and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, picture)


def train(options: str, workdir: Path, *overrides: str) -> Path:
    """Fine-tune by the host's command; return the weights."""
    started = time.monotonic()
    command = [sys.executable, "-m", "basicsr.train", "-opt", str(OPTIONS / f"{options}.yml"), "--force_yml"]
    subprocess.run([*command, *overrides], cwd=workdir, check=True)  # noqa: S603
    sys.stdout.write(f"{options}: {time.monotonic() - started:.0f} s\n")
    return workdir / "experiments" / options / "models" / "net_g_latest.pth"


def scores(workdir: Path, names: Sequence[str], weights: Path | None) -> list[float]:
    """Return each held-out picture's PSNR in dB, restored by the weights, or as the camera took it."""
    restore = None if weights is None else Restorer(load_network(weights), device="cpu", precision="fp32")
    result = []
    for name in names:
        degraded, target = (read_image(workdir / "val" / side / f"{name}.png") for side in ("input", "target"))
        restored = degraded if restore is None else restore(degraded)
        result.append(PROTOCOLS["gopro"].score(restored, target)["psnr"])
    return result


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="folder of clean photographs to fine-tune on")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of other photographs, to score")
    parser.add_argument("--workdir", type=Path, default=Path("finetuning"), help="where all goes (%(default)s)")
    parser.add_argument("--iterations", type=int, default=600, help="of each (%(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark."""
    args = parse_args()
    workdir: Path = args.workdir.resolve()
    write_training(args.train, workdir)
    names = write_held_out(args.held_out, workdir)
    # Scored here, once, at the end: validation sees training pictures, little of them, and chooses nothing.
    common = [f"train:total_iter={args.iterations}", "datasets:val:center_crop=64", "val:grid_images=0"]
    common.append(f"train:scheduler:iters_per_epoch={max(args.iterations // 20, 1)}")
    for phase in ("train", "val"):
        common.append(f"datasets:{phase}:dataroot_gt={workdir / 'train' / 'target'}")
    inputs = [f"datasets:{phase}:dataroot_lq={workdir / 'train' / 'input'}" for phase in ("train", "val")]
    pairs = train("finetune_demo_denoise", workdir, *common, *inputs)
    clean = train("finetune_demo_denoise_clean", workdir, *common)
    columns = [scores(workdir, names, weights) for weights in (None, find_file(WEIGHTS), pairs, clean)]
    sys.stdout.write(table(names, columns))
    return 0


def table(names: Sequence[str], columns: Sequence[Sequence[float]]) -> str:
    """Format scores and their mean as a Markdown table; the last two columns with their gain over the demo weights."""
    rows = [*zip(names, *columns, strict=True), ("mean", *(float(np.mean(column)) for column in columns))]
    lines = ["| picture | camera | demo weights | + ten pairs | + ten clean photographs |", "|---|---|---|---|---|"]
    for name, taken, demo, *tuned in rows:
        cells = [f"{taken:.2f}", f"{demo:.2f}", *(f"{value:.2f} ({value - demo:+.2f})" for value in tuned)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_command(main)
