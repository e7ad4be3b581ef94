"""Weights that real Paddle wrote, and PaddleGAN's own network; skipped where they are not installed.

``pip install paddlepaddle`` and ``pip install --no-deps ppgan`` (only its network's file is loaded).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.weights.checkpoint import infer_config, load_into, load_state_dict
from mprnet_plugin.weights.convert import save_weights
from mprnet_plugin.weights.paddle import to_paddle
from tests.helpers import TINY, fill

paddle = pytest.importorskip("paddle")


def paddlegan_network() -> Any:
    """Return PaddleGAN's MPRNet class; its packages' own initialisers, which import all of PaddleGAN, do not run."""
    spec = importlib.util.find_spec("ppgan")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("ppgan is not installed")
    root = Path(spec.submodule_search_locations[0])
    for name in ("", ".models", ".models.generators", ".modules"):
        package = types.ModuleType(f"bare_ppgan{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[package.__name__] = package
    builder = types.ModuleType("bare_ppgan.models.generators.builder")
    builder.GENERATORS = types.SimpleNamespace(register=lambda: lambda cls: cls)  # type: ignore[attr-defined]
    sys.modules[builder.__name__] = builder
    return importlib.import_module("bare_ppgan.models.generators.mpr").MPRNet


@pytest.mark.parametrize("protocol", [2, 4])
def test_weights_and_output_are_paddles(protocol: int, tmp_path: Path) -> None:
    # PaddleGAN's own initial weights give values of 1e4, where no absolute bound means anything.
    theirs = paddlegan_network()(**TINY)
    theirs.set_state_dict({key: paddle.to_tensor(v) for key, v in to_paddle(fill(MPRNet(**TINY)).state_dict()).items()})
    theirs.eval()
    paddle.save(theirs.state_dict(), str(tmp_path / "w.pdparams"), protocol=protocol)
    weights = load_state_dict(tmp_path / "w.pdparams")
    for key, value in theirs.state_dict().items():
        ours = weights[key.replace("._weight", ".weight")].numpy()
        assert ours.tobytes() == value.numpy().tobytes()
    net = MPRNet.from_config(infer_config(weights))
    load_into(net, weights, "w.pdparams")
    image = np.random.default_rng(1).random((1, 3, 40, 56), np.float32)
    with torch.no_grad():
        mine = net.eval()(torch.from_numpy(image))
    with paddle.no_grad():
        expected = theirs(paddle.to_tensor(image))
    for own, reference in zip(mine, expected, strict=True):
        assert np.abs(own.numpy() - reference.numpy()).max() < 1e-5


def test_nested_checkpoint_of_the_trainer(tmp_path: Path) -> None:
    theirs = paddlegan_network()(**TINY)
    paddle.save({"epoch": 3, "generator": theirs.state_dict()}, str(tmp_path / "w.pdparams"))
    weights = load_state_dict(tmp_path / "w.pdparams")
    assert weights.keys() == MPRNet(**TINY).state_dict().keys()


def test_paddle_reads_ours(tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    save_weights(net.state_dict(), tmp_path / "w.pdparams")
    theirs = paddlegan_network()(**TINY)
    missing, unexpected = theirs.set_state_dict(paddle.load(str(tmp_path / "w.pdparams")))
    assert (missing, unexpected) == ([], [])
    for key, value in theirs.state_dict().items():
        assert value.numpy().tobytes() == net.state_dict()[key.replace("._weight", ".weight")].numpy().tobytes()
