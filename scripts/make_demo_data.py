"""Build small GoPro, SIDD and Rain13k folders from photographs that installed packages ship; nothing is downloaded.

Each picture is a window of a real photograph, degraded the way a camera does it: in linear light, before the sRGB
curve. Photographs for training and for testing are different ones. Equal settings give equal bytes.

    python scripts/make_demo_data.py --output datasets --tasks denoise deblur derain
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mprnet_plugin.errors import InputError, run_command

# H×W×3 RGB in linear light, 0 to 1; and as stored in a file, 0 to 255, sRGB curve applied.
Image = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

Degradation = Callable[[Image, np.random.Generator], Image]

# Photographs by (package, file). Pictures in shades of grey (grass, gravel, ...) only train: tests are in colour.
# Packages' second views of one scene (motorcycle_right) are left out: they are no new photograph.
PHOTOGRAPHS: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/motorcycle_left.png"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        ("skimage", "data/ihc.png"),
        ("skimage", "data/retina.jpg"),
        ("skimage", "data/hubble_deep_field.jpg"),
        ("skimage", "data/grass.png"),
        ("skimage", "data/gravel.png"),
        ("skimage", "data/brick.png"),
        ("skimage", "data/camera.png"),
    ),
    "test": (("skimage", "data/chelsea.png"), ("skimage", "data/coffee.png"), ("skimage", "data/rocket.jpg")),
}

# What the camera sees around a window while it shakes, so that blur at the border is real wherever the photograph
# goes on. In pixels; longer than half the longest path below.
MARGIN = 24

# Photographs are shrunk to this shorter side at most: more pixels than that are seldom sharp ones.
SHORTER_SIDE = 1440

RECORD = "demo_data.json"


@dataclass(frozen=True)
class Settings:
    """What decides every byte of a task's folder.

    Args:
        seed: Any integer from 0 up.
        size: Side of the square windows in pixels, 64 to 256.
        train: Pictures in the training set, 1 or more.
        test: Pictures in each test set, 1 or more.
        photographs: Folder of the caller's photographs, see :func:`list_photographs`; empty for the packages' alone.
    """

    seed: int = 0
    size: int = 256
    train: int = 60
    test: int = 6
    photographs: str = ""

    def __post_init__(self) -> None:
        limits = {"seed": (0, 2**32 - 1), "size": (64, 256), "train": (1, 10_000), "test": (1, 10_000)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name} is {value}; expected an integer from {low} to {high}")


@dataclass(frozen=True)
class PictureSet:
    """One pair of folders, ``input`` and ``target``.

    Args:
        folder: Where it lies inside the task's folder.
        split: Which photographs it uses, ``train`` or ``test``.
        degrade: What is done to them.
    """

    folder: str
    split: str
    degrade: Degradation


@dataclass(frozen=True)
class Task:
    """A data set as the tools of the field expect it on disk.

    Args:
        root: Name of its folder.
        sets: Its pairs of folders.
    """

    root: str
    sets: tuple[PictureSet, ...]


def to_linear(picture: Picture) -> Image:
    """Undo the sRGB curve of an 8-bit picture (IEC 61966-2-1)."""
    values = np.arange(256) / 255
    curve = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear: Image = curve.astype(np.float32)[picture]
    return linear


def to_picture(linear: Image) -> Picture:
    """Clip to [0, 1], apply the sRGB curve and round to 8 bits, as a camera does last (16 bits linear in between)."""
    values = np.arange(65536) / 65535
    curve = np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
    steps = np.rint(np.clip(linear, 0, 1) * 65535).astype(np.uint16)
    picture: Picture = np.rint(curve * 255).astype(np.uint8)[steps]
    return picture


def shake_path(rng: np.random.Generator, steps: int = 33) -> npt.NDArray[np.float64]:
    """Draw a hand's movement during one exposure.

    A velocity that changes slowly and keeps some of its direction, as an arm with inertia does; no kinks.

    Returns:
        steps×3: shift right and down in pixels, turn in degrees. The mean is zero, so blur moves nothing on average.
    """
    drift = rng.normal(size=(1, 3))
    tremor = cv2.GaussianBlur(rng.normal(size=(steps, 3)), (1, 0), sigmaX=1e-3, sigmaY=steps / 8)
    velocity = drift + 2.5 * tremor / tremor.std()
    path = np.cumsum(velocity, axis=0)
    shift, turn = path[:, :2], path[:, 2:]
    travelled = np.linalg.norm(np.diff(shift, axis=0), axis=1).sum()
    shift = shift * (rng.uniform(6, 18) / travelled)
    turn = turn * (rng.uniform(0, 0.5) / max(float(np.ptp(turn)), 1e-9))
    path = np.concatenate([shift, turn], axis=1)
    centred: npt.NDArray[np.float64] = path - path.mean(axis=0)
    return centred


def shake(linear: Image, rng: np.random.Generator) -> Image:
    """Expose while the camera moves: the mean of the frames seen along :func:`shake_path`."""
    height, width = linear.shape[:2]
    total = np.zeros_like(linear)
    path = shake_path(rng)
    for right, down, turn in path:
        move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, 1.0)
        move[:, 2] += right, down
        total += cv2.warpAffine(
            linear, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    blurred: Image = total / np.float32(len(path))
    return blurred


def sensor_noise(linear: Image, rng: np.random.Generator) -> Image:
    """Count photons in a dim room: shot (Poisson) and read (Gaussian) noise before the white balance.

    The sensor sees red and blue fainter than green; white balance scales them back, and their noise with them.
    """
    balance = np.array([rng.uniform(1.5, 2.4), 1.0, rng.uniform(1.4, 2.0)])
    electrons = np.exp(rng.uniform(np.log(60), np.log(400)))  # what white gives on green: high ISO, short exposure
    read = rng.uniform(1.0, 3.0)  # electrons, standard deviation
    light = linear.astype(np.float64) / balance * electrons
    counted = rng.poisson(light) + rng.normal(scale=read, size=light.shape)
    noisy: Image = (counted / electrons * balance).astype(np.float32)
    return noisy


def streaks(shape: tuple[int, int], rng: np.random.Generator, density: float) -> npt.NDArray[np.float32]:
    """Draw falling rain: how much of each pixel's exposure drops covered, H×W in [0, 1).

    Far drops are many, short, thin and dim; near ones few, long, wide, bright and out of focus. One wind for all,
    a little scatter for each.
    """
    height, width = shape
    clear = np.ones(shape, np.float32)
    wind = rng.normal(scale=12)  # degrees from the vertical
    # drops on 256×256 pixels, length and width in pixels, opacity, blur of the focus in pixels
    depths = ((240, 9, 1, 0.30, 0.4), (90, 20, 1, 0.5, 0.6), (14, 42, 2, 0.6, 1.1))
    for drops, length, thickness, opacity, focus in depths:
        layer = np.zeros(shape, np.uint8)
        count = rng.poisson(density * drops * height * width / 256**2)
        angle = np.deg2rad(wind + rng.normal(scale=2.5, size=count))
        run = length * rng.uniform(0.6, 1.5, (count, 1)) * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        start = rng.uniform((-length, -length), (width + length, height), (count, 2))
        brightness = np.minimum(255 * opacity * rng.uniform(0.4, 1.4, count), 250)
        ends = np.rint(np.stack([start, start + run], axis=1) * 256).astype(int)  # 8 bits of subpixel
        for (top, bottom), shade in zip(ends.tolist(), brightness.tolist(), strict=True):
            cv2.line(layer, top, bottom, shade, thickness, cv2.LINE_AA, 8)
        clear *= 1 - cv2.GaussianBlur(layer, (0, 0), focus).astype(np.float32) / 255
    return 1 - clear


def rain(density: float) -> Degradation:
    """Make the degradation that lays rain of a density (1 is plain rain) over a picture."""

    def fall(linear: Image, rng: np.random.Generator) -> Image:
        cover = streaks(linear.shape[:2], rng, density * rng.uniform(0.7, 1.3))[..., None]
        sky = np.float32(rng.uniform(0.55, 0.95)) * np.array([0.96, 0.98, 1.0], np.float32)  # drops bend sky into view
        wet: Image = linear * (1 - cover) + sky * cover
        return wet

    return fall


TASKS: dict[str, Task] = {
    "deblur": Task("GoPro", (PictureSet("train", "train", shake), PictureSet("test", "test", shake))),
    "denoise": Task("SIDD", (PictureSet("train", "train", sensor_noise), PictureSet("val", "test", sensor_noise))),
    "derain": Task(
        "Synthetic_Rain_Datasets",
        (
            PictureSet("train", "train", rain(1.0)),
            PictureSet("test/Test100", "test", rain(1.0)),
            PictureSet("test/Rain100H", "test", rain(2.0)),
            PictureSet("test/Rain100L", "test", rain(0.4)),
            PictureSet("test/Test1200", "test", rain(0.8)),
            PictureSet("test/Test2800", "test", rain(1.2)),
        ),
    ),
}


def list_photographs(folder: str) -> dict[str, dict[str, Path]]:
    """List photographs by split and name: the packages', or with a folder of one's own those joined for training.

    Args:
        folder: Has ``train`` and ``test``. Its ``test`` replaces the packages' photographs for testing; ``""`` is none.

    Raises:
        InputError: A photograph is missing, or a part of the folder has none.
    """
    found = {
        split: {Path(file).stem: find_photograph(package, file) for package, file in sources}
        for split, sources in PHOTOGRAPHS.items()
    }
    if folder:
        own = {
            split: {path.stem: path for path in sorted((Path(folder) / split).glob("*.*"))}
            for split in ("train", "test")
        }
        for split, paths in own.items():
            if not paths:
                raise InputError(f"{str(Path(folder) / split)!r} holds no photographs; --photographs needs some there")
        found = {"train": found["train"] | own["train"], "test": own["test"]}
    return found


def read_photograph(path: Path) -> Image:
    """Read a photograph, shrunk where it has more pixels than it can have of detail.

    Raises:
        InputError: It cannot be read.
    """
    linear = to_linear(read_png(path))
    scale = SHORTER_SIDE / min(linear.shape[:2])
    if scale >= 1:
        return linear
    size = (round(linear.shape[1] * scale), round(linear.shape[0] * scale))
    return cv2.resize(linear, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def find_photograph(package: str, file: str) -> Path:
    """Find a photograph in an installed package, without importing the package.

    Raises:
        InputError: The package or the photograph is not there.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / file
        if path.is_file():
            return path
    raise InputError(
        f"photograph {file!r} of package {package!r} is not there; install it: pip install scikit-image matplotlib"
    )


def window(photograph: Image, size: int, rng: np.random.Generator) -> Image:
    """Cut one view out of a photograph at a scale between 1:1 and 1:2; shrinking also averages its own noise away.

    Of four places the one with the most contrast is used: much of a star field or of a fundus is black.

    Returns:
        A square of side ``size + 2 * MARGIN``; outside the photograph it is mirrored.
    """
    height, width = photograph.shape[:2]
    scale = rng.uniform(1, min(2.0, min(height, width) / size))
    inner, border = round(size * scale), int(MARGIN * scale)
    places = rng.integers(0, (height - inner + 1, width - inner + 1), (4, 2)).tolist()
    top, left = max(places, key=lambda yx: float(photograph[yx[0] : yx[0] + inner, yx[1] : yx[1] + inner].std()))
    rows, columns = (
        np.pad(np.arange(length), border, "reflect")[start : start + inner + 2 * border]
        for start, length in ((top, height), (left, width))
    )
    side = size + 2 * MARGIN
    view = cv2.resize(photograph[rows[:, None], columns], (side, side), interpolation=cv2.INTER_AREA)
    return view.astype(np.float32)


def make_pair(photograph: Image, size: int, degrade: Degradation, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Make a degraded picture and its target, size×size×3 each."""
    clean = window(photograph, size, rng)
    inner = slice(MARGIN, MARGIN + size)
    return to_picture(degrade(clean, rng)[inner, inner]), to_picture(clean[inner, inner])


def read_png(path: Path) -> Picture:
    """Read a picture as RGB.

    Raises:
        InputError: It is absent or damaged.
    """
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if read is None:
        raise InputError(f"{str(path)!r} cannot be read as a picture; replace it or make it again")
    return np.ascontiguousarray(read[..., ::-1], dtype=np.uint8)


def write_png(path: Path, picture: Picture) -> None:
    """Write an RGB picture as PNG."""
    _, data = cv2.imencode(".png", picture[..., ::-1])
    path.write_bytes(data.tobytes())


def write_set(
    folder: Path, task: str, pictures: PictureSet, settings: Settings, photographs: dict[str, Image]
) -> dict[str, str]:
    """Write one pair of folders.

    Returns:
        For each picture's name the photograph that it was cut from.
    """
    for side in ("input", "target"):
        (folder / side).mkdir(parents=True)
    sources: dict[str, str] = {}
    names = sorted(photographs)
    for index in range(settings.train if pictures.split == "train" else settings.test):
        name = f"{names[index % len(names)]}_{index // len(names) + 1:02d}"
        # Seeded by what it is: a picture does not change with the tasks asked for or with the number of pictures.
        rng = np.random.default_rng([settings.seed, zlib.crc32(f"{task}/{pictures.folder}/{name}".encode())])
        degraded, target = make_pair(photographs[names[index % len(names)]], settings.size, pictures.degrade, rng)
        write_png(folder / "input" / f"{name}.png", degraded)
        write_png(folder / "target" / f"{name}.png", target)
        sources[name] = names[index % len(names)]
    return sources


def is_there(folder: Path, settings: Settings, overwrite: bool) -> bool:
    """Tell whether a task's folder already holds what the settings would write.

    Raises:
        InputError: Something else is there. Only earlier demo data is ever replaced, and only if ``overwrite``.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        record = json.loads((folder / RECORD).read_text())
        previous = record["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{str(folder)!r} exists and is no demo data, so it stays as it is; give another --output"
        ) from None
    if previous == asdict(settings):
        return True
    if not overwrite:
        raise InputError(f"{str(folder)!r} holds demo data of other settings; add --overwrite or another --output")
    return False


def write_task(output: Path, name: str, settings: Settings, photographs: dict[str, dict[str, Image]]) -> None:
    """Write one task's folder: beside its place first, then in one rename, so that it is whole or not there."""
    task = TASKS[name]
    final = output / task.root
    with tempfile.TemporaryDirectory(prefix=f".{task.root}.", dir=output) as scratch:
        partial = Path(scratch) / task.root
        record: dict[str, Any] = {"settings": asdict(settings), "photographs": {}}
        for pictures in task.sets:
            record["photographs"][pictures.folder] = write_set(
                partial / pictures.folder, name, pictures, settings, photographs[pictures.split]
            )
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        if final.exists():
            final.replace(Path(scratch) / "previous")
        partial.replace(final)


def side_by_side(pictures: Sequence[tuple[str, Picture]]) -> Picture:
    """Put pictures of one size in a row, each under its caption; for previews, RGB."""
    captioned = []
    for caption, picture in pictures:
        bar = np.full((24, picture.shape[1], 3), 255, np.uint8)
        cv2.putText(bar, caption, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        captioned.append(np.vstack([bar, picture]))
    row: Picture = np.hstack(captioned)
    return row


def write_preview(output: Path, name: str) -> Path:
    """Write degraded beside target, for the first picture of every test photograph of a task."""
    task = TASKS[name]
    folder = output / task.root / task.sets[1].folder
    rows = []
    for path in sorted((folder / "input").glob("*_01.png")):
        target = read_png(folder / "target" / path.name)
        rows.append(side_by_side([(f"{path.stem}, input", read_png(path)), ("target", target)]))
    preview = output / "previews" / f"{name}.png"
    preview.parent.mkdir(exist_ok=True)
    write_png(preview, np.vstack(rows))
    return preview


def make_demo_data(
    output: Path, tasks: Sequence[str], settings: Settings, *, overwrite: bool = False, previews: bool = False
) -> None:
    """Write the folders of the tasks below ``output``; what is there already with equal settings is kept.

    Args:
        output: Made when absent.
        tasks: Keys of :data:`TASKS`.
        settings: What decides the pictures.
        overwrite: Replace demo data of other settings. Data that is not from here is never replaced.
        previews: Also write ``previews/<task>.png``.

    Raises:
        InputError: A folder is in the way, cannot be written, or a photograph is missing.
    """
    missing = [name for name in tasks if not is_there(output / TASKS[name].root, settings, overwrite)]
    if missing:
        photographs = {
            split: {name: read_photograph(path) for name, path in paths.items()}
            for split, paths in list_photographs(settings.photographs).items()
        }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in tqdm(missing, desc="demo data", unit="task"):
            write_task(output, name, settings, photographs)
        for name in tasks if previews else ():
            sys.stdout.write(f"preview: {write_preview(output, name)}\n")
    except OSError as error:
        raise InputError(f"{str(output)!r} cannot be written ({error.strerror}); give another --output") from error


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    default = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("datasets"), help="folder for the data (%(default)s)")
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASKS), default=sorted(TASKS), help="which (all)")
    parser.add_argument("--seed", type=int, default=default.seed, help="decides every random choice (%(default)s)")
    parser.add_argument("--size", type=int, default=default.size, help="side of a picture, 64-256 (%(default)s)")
    parser.add_argument("--train", type=int, default=default.train, help="pictures to train on (%(default)s)")
    parser.add_argument("--test", type=int, default=default.test, help="pictures in each test set (%(default)s)")
    parser.add_argument(
        "--photographs",
        type=Path,
        help="folder of your own: its train joins the packages' photographs, its test replaces them",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace demo data of other settings")
    parser.add_argument("--previews", action="store_true", help="also write before/after pictures")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    folder = "" if args.photographs is None else str(args.photographs)
    settings = Settings(args.seed, args.size, args.train, args.test, folder)
    make_demo_data(args.output, args.tasks, settings, overwrite=args.overwrite, previews=args.previews)
    for name in args.tasks:
        sys.stdout.write(f"{name}: {args.output / TASKS[name].root}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
