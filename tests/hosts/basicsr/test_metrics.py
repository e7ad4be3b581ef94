from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mprnet_plugin.errors import InputError
from mprnet_plugin.metrics.protocols import PROTOCOLS

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.metrics import METRICS, registered_name, scoring_of
from mprnet_plugin.training.options import ValOptions
from mprnet_plugin.training.validation import Restored


def pair(dtype: Any = np.uint8) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    target = rng.integers(20, 236, (40, 36, 3)).astype(np.uint8)
    restored = (target + rng.integers(-9, 10, target.shape)).astype(np.uint8)
    restored[..., 0] = target[..., 0]  # channels differ, so that their order counts
    if dtype == np.uint8:
        return restored, target
    return (restored / 255).astype(np.float32), (target / 255).astype(np.float32)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "realblur"])
def test_every_metric_is_registered_and_takes_bgr(name: str) -> None:
    protocol = PROTOCOLS[name]
    restored, target = pair(np.uint8 if protocol.rounded else np.float32)
    for metric in protocol.metrics.values():
        adapter = METRICS[registered_name(metric)]
        assert adapter(restored[..., ::-1], target[..., ::-1]) == metric(restored, target)


def test_a_protocol_implies_metrics_and_rounding() -> None:
    assert not scoring_of({"protocol": "sidd"}, ValOptions()).rounded
    scoring = scoring_of({"protocol": "rain"}, ValOptions())
    assert (scoring.rounded, scoring.protocol, list(scoring.metrics)) == (True, "rain", ["psnr", "ssim"])
    restored, target = pair()
    scores = scoring.score(Restored("x", restored, restored[..., ::-1], target[..., ::-1]))
    assert scores == PROTOCOLS["rain"].score(restored, target)


def test_further_metrics_stand_beside_the_protocols() -> None:
    section = {"protocol": "gopro", "metrics": {"y": {"type": "calculate_psnr_y_uint8", "better": "lower"}}}
    scoring = scoring_of(section, ValOptions())
    assert list(scoring.metrics) == ["psnr", "ssim", "y"]
    assert scoring.lower_is_better == {"y"}


@pytest.mark.parametrize(
    ("section", "val", "message"),
    [
        ({"protocol": "gorpo"}, {}, "protocol 'gorpo' is unknown, did you mean 'gopro'"),
        (
            {"protocol": "gopro", "metrics": {"psnr": {"type": "calculate_psnr_y_uint8"}}},
            {},
            "metric psnr is calculate_psnr_y_uint8, but protocol gopro means calculate_psnr_rgb",
        ),
        ({"protocol": "gopro"}, {"metrics": {"ssim": {"type": "calculate_ssim", "crop_border": 0}}}, "metric ssim is"),
        ({"protocol": "sidd"}, {"round_to_uint8": True}, "protocol sidd scores floats, but val:round_to_uint8 is true"),
        ({"protocol": "gopro"}, {"round_to_uint8": False}, "protocol gopro scores 8-bit pictures"),
    ],
)
def test_contradictions_are_errors(section: dict[str, Any], val: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scoring_of(section, ValOptions.read(val))
