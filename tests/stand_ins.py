"""Packages that the tests' environment lacks, as far as they are used: written into a folder to be imported from."""

from __future__ import annotations

from pathlib import Path

PYIQA = '''
import torch


def list_models():
    return ["broken", "darkness", "lpips"]


class create_metric(torch.nn.Module):
    """As pyiqa 0.1.16: RGB tensors (N, 3, H, W) in [0, 1], first the picture, then its reference."""

    def __init__(self, name):
        super().__init__()
        if name == "broken":
            raise OSError("<urlopen error no network>\\nmore")
        self.lower_better = True
        self.metric_mode = "FR" if name == "lpips" else "NR"

    def forward(self, target, ref=None):
        assert target.shape[:2] == (1, 3) and 0 <= target.min() and target.max() <= 1
        assert (ref is None) == (self.metric_mode == "NR")
        return target[:, :1].mean() if ref is None else (target - ref).abs().mean().reshape(1, 1)
'''
WANDB = """
import json


class util:
    @staticmethod
    def generate_id():
        return "abc"


def init(**arguments):
    with open("wandb.json", "w") as file:
        json.dump({name: arguments[name] for name in ("project", "name", "sync_tensorboard")}, file)
"""


def write_stand_ins(folder: Path) -> str:
    """Write the packages below a folder; return the path to import them from."""
    for name, source in {"pyiqa": PYIQA, "wandb": WANDB}.items():
        (folder / "packages").mkdir(exist_ok=True)
        (folder / "packages" / f"{name}.py").write_text(source)
    return str(folder / "packages")
