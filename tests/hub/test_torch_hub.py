"""hubconf.py, called as torch.hub calls it: from the repository's folder, in a process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.weights.checkpoint import infer_config, load_state_dict
from mprnet_plugin.weights.choice import find_file
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import ROOT, fill, run

CODE = """
import sys
import torch
folder = sys.argv[1]
for name, options in (
    ("mprnet_denoising", {"pretrained": "demo"}),
    ("mprnet_deblurring", {"pretrained": "demo", "local_pooling": True}),
    ("mprnet_deraining", {}),
    ("mprnet_deraining", {"pretrained": True}),
    ("mprnet_deraining", {"pretrained": "dmo"}),
):
    try:
        net = torch.hub.load(folder, name, source="local", **options)
    except ValueError as error:
        print(type(error).__name__, error)
        continue
    local = any(type(module).__name__ == "LocalChannelAttention" for module in net.modules())
    with torch.no_grad():
        shapes = [tuple(one.shape) for one in net(torch.rand(1, 3, 16, 24))]
    total = float(net.tail.weight.detach().double().sum())
    print(net.config.n_feat, local, net.training, len(shapes), shapes[0], total)
import mprnet_plugin
print(mprnet_plugin.__file__)
"""


@pytest.mark.slow
def test_the_repository_is_enough(tmp_path: Path) -> None:
    repository = tmp_path / "repository"  # a copy, so that what is installed cannot help
    shutil.copytree(ROOT / "mprnet_plugin", repository / "mprnet_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hubconf.py", repository)
    net = fill(MPRNet(**PRESETS["Deraining"]))
    save_weights(net.state_dict(), tmp_path / "cache" / "model_deraining.pth", "authors")
    cache = {"MPRNET_PLUGIN_CACHE": str(tmp_path / "cache"), "MPRNET_PLUGIN_DISABLE": "1"}
    done = run(tmp_path, CODE, str(repository), launcher=("-c",), **cache)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    widths = [
        infer_config(load_state_dict(find_file(f"mprnet://demo/{task}"))).n_feat for task in ("denoise", "deblur")
    ]
    assert lines[0].startswith(f"{widths[0]} False False 3 (1, 3, 16, 24)")
    assert lines[1].startswith(f"{widths[1]} True False 3 (1, 3, 16, 24)")
    assert lines[2].startswith("40 False False 3 (1, 3, 16, 24)")
    assert lines[3] == f"40 False False 3 (1, 3, 16, 24) {float(net.tail.weight.detach().double().sum())}"
    assert lines[4] == "InputError pretrained='dmo' must be True, False or weights by name, did you mean 'demo'?"
    assert lines[5] == str(repository / "mprnet_plugin" / "__init__.py")
