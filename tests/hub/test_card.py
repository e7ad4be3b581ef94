"""The model card: whose figures are whose, and metadata that the Hub's own library reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.local_pooling import MPRNetLocal
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.hub.card import Card
from tests.helpers import TASKS, TINY


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("Deblurring", "| GoPro | 32.66 | 0.959 |"),
        ("Denoising", "| SIDD | 39.71 | 0.958 |"),
        ("Deraining", "| Rain100L | 36.40 | 0.965 |"),
    ],
)
def test_published_figures_are_called_published(task: str, row: str) -> None:
    text = Card.read().text(MPRNet(**PRESETS[task]))
    before, found, _ = text.partition(row)
    assert found
    assert "Published for a network of these widths (Zamir et al., CVPR 2021), not measured on these weights:" in before
    assert "Nothing was measured on these weights, or it was not stated." in before
    assert "model-index" not in text
    assert f"# MPRNet: {task}" in text


def test_another_network_has_no_published_figures() -> None:
    for task in (None, *TASKS):
        assert "Published for" not in Card.read(task).text(MPRNet(**TINY))
    local = Card.read().text(MPRNetLocal(**PRESETS["Deblurring"]))
    assert "| GoPro | 33.31 |  |" in local
    assert "train_size=256, base_size=384" in local


def test_the_hub_reads_what_was_measured() -> None:
    hub: Any = pytest.importorskip("huggingface_hub")
    figures: dict[str, dict[str, float]] = {"GoPro": {"psnr": 30.123, "ssim": 0.9}, "My | own": {"psnr": 31}}
    text = Card.read("deblur", "apache-2.0", figures, "Trained at night.").text(MPRNet(**TINY))
    data = hub.ModelCard(text).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "mprnet-plugin", "image-to-image")
    assert {"deblurring", "pytorch_model_hub_mixin"} <= set(data.tags)
    found = {(one.dataset_name, one.metric_name, one.metric_value) for one in data.eval_results}
    assert ("GoPro", "PSNR (gopro)", 30.123) in found
    assert ("My | own", "PSNR (gopro)", 31.0) in found
    assert "| GoPro | 30.12 | 0.900 |" in text
    assert "| My \\| own | 31.00 |  |" in text
    assert "Measured on these weights, by whoever saved them:" in text
    assert "Trained at night." in text


def test_a_licence_in_words_is_other() -> None:
    hub: Any = pytest.importorskip("huggingface_hub")
    text = Card.read(license="academic, non-commercial (the authors')").text(MPRNet(**TINY))
    data = hub.ModelCard(text).data
    assert (data.license, data.license_name) == ("other", "academic-non-commercial-the-authors")
    assert "Weights: academic, non-commercial (the authors')." in text
    assert "Weights: not stated by whoever saved them." in Card.read().text(MPRNet(**TINY))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "sharpen"}, "task 'sharpen' is unknown"),
        ({"license": "a\nb"}, "license=.* must be a text of one line"),
        ({"note": 3}, "note=3 must be a text"),
        ({"figures": [1]}, r"figures=\[1\] must be"),
        ({"figures": {"a\nb": {"psnr": 1.0}}}, "must be the name of a data set"),
        ({"figures": {"GoPro": 3}}, "figures of GoPro: 3 must be"),
        ({"figures": {"GoPro": {"pnsr": 3.0}}}, "'pnsr' is no metric, did you mean 'psnr'"),
        ({"figures": {"GoPro": {"psnr": float("nan")}}}, "psnr=nan must be a finite number"),
        ({"figures": {"GoPro": {"psnr": True}}}, "psnr=True must be a finite number"),
    ],
)
def test_bad_arguments_are_one_line(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        MPRNet(**TINY).save_pretrained(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
