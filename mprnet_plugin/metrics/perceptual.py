"""Metrics of perceptual quality (LPIPS, DISTS, NIQE and others) through the package pyiqa, where it is installed."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.metrics.image_pair import MetricImage, check_pair

__all__ = ["perceptual", "perceptual_is_lower_better"]


def perceptual(restored: MetricImage, target: MetricImage, name: str) -> float:
    """Return a restored picture's value of one of pyiqa's metrics.

    Args:
        restored: (H, W, 3), RGB; uint8, or floating point in [0, 1].
        target: The same; metrics that look at one picture alone, such as NIQE, leave it out.
        name: ``lpips``, ``dists``, ``niqe`` or another of ``pyiqa.list_models()``.

    Raises:
        InputError: pyiqa is not there, knows no such metric or cannot load it, or images that do not fit.
    """
    check_pair(restored, target)
    metric = _metric(name)
    images = (restored, target) if metric.metric_mode == "FR" else (restored,)
    with torch.inference_mode():
        return float(metric(*map(_tensor, images)))


def perceptual_is_lower_better(name: str) -> bool:
    """Tell whether smaller values of a metric are better, as pyiqa says; loads it, so asking is a check as well.

    Raises:
        InputError: As :func:`perceptual`.
    """
    return bool(_metric(name).lower_better)


def _tensor(image: MetricImage) -> Tensor:
    values = image.astype(np.float32) / np.float32(255 if image.dtype == np.uint8 else 1)
    return torch.from_numpy(values).permute(2, 0, 1)[None]


@functools.cache
def _metric(name: str) -> Any:  # noqa: ANN401 - a class of an optional package
    if importlib.util.find_spec("pyiqa") is None:
        raise InputError(f"metric {name!r} needs the package pyiqa, which is not installed: pip install pyiqa")
    try:
        import pyiqa
    except Exception as error:  # whatever one of its many dependencies does
        raise InputError(f"metric {name!r}: pyiqa cannot be imported ({_reason(error)}): install it anew") from error
    if name not in pyiqa.list_models():
        raise InputError(f"metric {name!r} is not known to pyiqa, {nearest(name, pyiqa.list_models())}")
    try:
        return pyiqa.create_metric(name).eval()
    except Exception as error:  # of the network, of a file that is cut off, of one of its dependencies
        raise InputError(
            f"metric {name!r}: pyiqa cannot load it ({_reason(error)}); its weights are downloaded once: where there "
            "is no network, copy ~/.cache/torch/hub/pyiqa from a machine that has one"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
