"""What several tests need: reference vectors, networks filled with their weights, pictures, commands in processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from mprnet_plugin.memory import most_memory

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "tests" / "data" / "vectors"
TASKS = ("Deblurring", "Denoising", "Deraining")
Net = TypeVar("Net", bound=nn.Module)
TINY: dict[str, Any] = {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 1}


def shapes(task: str) -> dict[str, list[int]]:
    """Return the published network's keys and shapes."""
    content: dict[str, dict[str, list[int]]] = json.loads((VECTORS / "state_dict_shapes.json").read_text())
    return content[task]


def fill(net: Net) -> Net:
    """Give a network the recipe's weights."""
    spec = importlib.util.spec_from_file_location("weights_recipe", VECTORS / "weights_recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = {k: torch.from_numpy(module.recipe(k, tuple(v.shape))) for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    return net


def vectors(task: str) -> dict[str, NDArray[Any]]:
    """Return a task's reference arrays."""
    with np.load(VECTORS / f"arch_{task.lower()}.npz") as content:
        return dict(content)


def image_tensor(image: NDArray[Any]) -> Tensor:
    """Return (H, W, 3) bytes as (1, 3, H, W) float64 in [0, 1]."""
    return torch.from_numpy(image).double().div(255).permute(2, 0, 1)[None]


def picture(seed: int, height: int = 40, width: int = 48, dtype: Any = np.uint8) -> NDArray[Any]:
    """Return noise, (H, W, 3) over the whole range of an integer type."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)


def write_picture(path: Path, image: NDArray[Any]) -> None:
    """Write an RGB picture; the suffix says how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


def write_pairs(folder: Path, count: int, size: tuple[int, int] = (60, 70)) -> None:
    """Write ``target/N.png``, smooth, and ``input/N.png``, the same with noise that a network can lessen."""
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
        sharp = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        write_picture(folder / "target" / f"{number}.png", sharp)
        noisy = np.clip(sharp + rng.normal(0, 25, sharp.shape), 0, 255).astype(np.uint8)
        write_picture(folder / "input" / f"{number}.png", noisy)


def write_options(folder: Path, content: dict[str, Any], name: str = "run.yml") -> str:
    """Write an options file and return its name."""
    (folder / name).write_text(yaml.safe_dump(content))
    return name


Done = subprocess.CompletedProcess[str]


def run(folder: Path, *arguments: str, launcher: tuple[str, ...] = ("-m",), **env: str) -> Done:
    """Run ``python -m`` in a folder."""
    command = [sys.executable, *launcher, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def torchrun(folder: Path, *arguments: str) -> Done:
    """Run ``torchrun -m`` with two processes in a folder."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    return run(folder, *arguments, launcher=launcher)


def run_script(folder: Path, name: str, *arguments: str) -> Done:
    """Run a shell script of ``scripts`` in a folder, with this Python."""
    command = ["bash", str(ROOT / "scripts" / name), "--python", sys.executable, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fail if this process comes to hold ``size`` bytes more than at the start; what it held before does not count."""
    linux = Path("/proc/self/clear_refs")
    if linux.exists():
        linux.write_text("5")  # the largest size so far becomes the present one
    before = most_memory()
    yield
    assert most_memory() - before < size
