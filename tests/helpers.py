"""What several tests need: the reference vectors, networks filled with their weights, and commands in processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "tests" / "data" / "vectors"
TASKS = ("Deblurring", "Denoising", "Deraining")
TINY: dict[str, Any] = {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 1}


def shapes(task: str) -> dict[str, list[int]]:
    """Return the published network's keys and shapes."""
    content: dict[str, dict[str, list[int]]] = json.loads((VECTORS / "state_dict_shapes.json").read_text())
    return content[task]


def fill(net: nn.Module) -> nn.Module:
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
