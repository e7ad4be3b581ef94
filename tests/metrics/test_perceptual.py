from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr import metrics
from mprnet_plugin.metrics import perceptual as module
from mprnet_plugin.metrics.perceptual import perceptual, perceptual_is_lower_better
from mprnet_plugin.training.options import ValOptions
from tests.helpers import picture
from tests.stand_ins import write_stand_ins

installed = importlib.util.find_spec("pyiqa") is not None


@pytest.fixture
def _pyiqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(write_stand_ins(tmp_path))
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    module._metric.cache_clear()
    yield
    module._metric.cache_clear()
    sys.modules.pop("pyiqa", None)


@pytest.mark.usefixtures("_pyiqa")
def test_pictures_go_as_rgb_and_in_their_order() -> None:
    restored, target = picture(1, 12, 14), picture(2, 12, 14)
    expected = np.abs(restored / 255 - target / 255).mean()
    assert perceptual(restored, target, "lpips") == pytest.approx(expected, abs=1e-6)
    floats = (restored / 255).astype(np.float32)
    assert perceptual(floats, (target / 255).astype(np.float32), "lpips") == pytest.approx(expected, abs=1e-6)
    assert perceptual(restored, target, "darkness") == pytest.approx(restored[..., 0].mean() / 255, abs=1e-6)
    host = metrics.pyiqa(restored[..., ::-1], target[..., ::-1], "darkness")  # the host's are BGR
    assert host == pytest.approx(restored[..., 0].mean() / 255, abs=1e-6)


@pytest.mark.usefixtures("_pyiqa")
def test_what_cannot_be_had_is_said_in_a_line() -> None:
    assert perceptual_is_lower_better("lpips")
    with pytest.raises(InputError, match=r"'lpisp' is not known to pyiqa, did you mean 'lpips'"):
        perceptual_is_lower_better("lpisp")
    with pytest.raises(InputError, match=r"cannot load it \(<urlopen error no network>\).*copy ~/.cache/torch"):
        perceptual_is_lower_better("broken")


@pytest.mark.usefixtures("_pyiqa")
def test_the_direction_is_pyiqas() -> None:
    section = {"protocol": "sidd", "metrics": {"lpips": {"type": "pyiqa", "name": "lpips"}}}
    scoring = metrics.scoring_of(section, ValOptions())
    assert scoring.lower_is_better == {"lpips"}
    assert list(scoring.metrics) == ["psnr", "ssim", "lpips"]
    section["metrics"] = {"lpips": {"type": "pyiqa", "name": "lpips", "better": "higher"}}
    with pytest.raises(InputError, match="better: higher, but of lpips lower is better"):
        metrics.scoring_of(section, ValOptions())


@pytest.mark.skipif(installed, reason="pyiqa is here")
def test_without_pyiqa_it_is_said_how_to_get_it() -> None:
    with pytest.raises(InputError, match="metric 'lpips' needs the package pyiqa, which is not installed: pip install"):
        metrics.scoring_of({"metrics": {"lpips": {"type": "pyiqa", "name": "lpips"}}}, ValOptions())
