"""Our checkpoints in spandrel, the loader behind chaiNNer and ComfyUI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.weights.convert import WEIGHT_FORMATS, save_weights
from tests.helpers import TINY, fill

spandrel = pytest.importorskip("spandrel")
extra_arches = pytest.importorskip("spandrel_extra_arches")

extra_arches.install(ignore_duplicates=True)


@pytest.mark.parametrize("form", [form for form in WEIGHT_FORMATS if form != "pdparams"])
@pytest.mark.parametrize("kwargs", [TINY, PRESETS["Deraining"]], ids=["small", "Deraining"])
def test_same_picture(form: Any, kwargs: dict[str, Any], tmp_path: Path) -> None:
    net = fill(MPRNet(**kwargs))
    assert isinstance(net, MPRNet)
    net.tail.weight.data *= 0.02
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    save_weights(net.state_dict(), path, form)
    theirs = spandrel.ModelLoader("cpu").load_from_file(path)
    assert theirs.architecture.id == "MPRNet"
    image = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(image)
    # spandrel too returns stage 3, clamped.
    torch.testing.assert_close(Restorer(net, "cpu", "fp32", engine="torch")(image), expected, atol=2e-6, rtol=0)
