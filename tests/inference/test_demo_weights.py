"""The weights that come with the package: small, loadable, and of use on photographs that nothing was trained on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from mprnet_plugin.inference.predictor import MPRPredictor
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.weights.checkpoint import infer_config, load_state_dict
from mprnet_plugin.weights.download import CACHE_VARIABLE, demo_weights

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
DATA = {"Deblurring": ("deblur", "GoPro/test"), "Denoising": ("denoise", "SIDD/val"), "Deraining": ("derain", "")}
GAIN = {"Deblurring": 0.5, "Denoising": 3.0, "Deraining": 2.0}


@pytest.mark.parametrize("task", list(TASKS))
def test_they_are_small_and_say_what_they_are(task: str) -> None:
    path = demo_weights(task)
    assert path is not None
    assert path.stat().st_size <= 3_000_000
    assert infer_config(load_state_dict(path)).n_feat == 16


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", list(TASKS))
def test_out_of_the_box_they_restore(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    demo = importlib.import_module("make_demo_data")
    monkeypatch.setitem(sys.modules, "make_demo_data", demo)
    name, folder = DATA[task]
    folder = folder or "Synthetic_Rain_Datasets/test/Test100"
    # chelsea, coffee and rocket of scikit-image: they were in no training.
    demo.make_demo_data(tmp_path, [find_task(name)], demo.Settings(seed=7, train=1, test=12))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "no weights here"))
    predictor = MPRPredictor(task, output_path=tmp_path / "out", target=tmp_path / folder / "target")
    scores = [outcome.scores for outcome in predictor.run(tmp_path / folder / "input")]
    assert len(scores) == 12
    gains = [one.psnr - one.psnr_before for one in scores if one is not None]
    assert np.mean(gains) >= GAIN[task], gains
