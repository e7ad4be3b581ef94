"""The protocols' metrics as BasicSR calls them: ``calculate_NAME(img=restored, img2=target)`` on BGR arrays (H, W, 3).

The host hands over uint8, or float32 in [0, 1] where the model validates without rounding. None has options, so a
misspelt one in YAML is an error. There is one for each metric of :data:`~mprnet_plugin.metrics.protocols.PROTOCOLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.metrics.image_pair import MetricImage
from mprnet_plugin.metrics.perceptual import perceptual, perceptual_is_lower_better
from mprnet_plugin.metrics.protocols import PROTOCOLS, Metric, find_protocol
from mprnet_plugin.training.options import ValOptions
from mprnet_plugin.training.validation import BGRPicture, Scoring

__all__ = ["METRICS", "pyiqa", "registered_name", "scoring_of", "watched"]


def registered_name(metric: Metric) -> str:
    """Return the name by which a metric's adapter is registered."""
    return f"calculate_{metric.__name__}"


def _adapter(metric: Metric) -> Callable[[MetricImage, MetricImage], float]:
    def calculate(img: MetricImage, img2: MetricImage) -> float:
        return metric(np.ascontiguousarray(img[..., ::-1]), np.ascontiguousarray(img2[..., ::-1]))

    calculate.__name__ = calculate.__qualname__ = registered_name(metric)
    calculate.__doc__ = f"See :func:`{metric.__module__}.{metric.__name__}`."
    return calculate


def pyiqa(img: MetricImage, img2: MetricImage, name: str) -> float:
    """See :func:`mprnet_plugin.metrics.perceptual.perceptual`; ``{type: pyiqa, name: lpips}`` in an options file."""
    return perceptual(np.ascontiguousarray(img[..., ::-1]), np.ascontiguousarray(img2[..., ::-1]), name)


METRICS = {
    registered_name(metric): _adapter(metric) for protocol in PROTOCOLS.values() for metric in protocol.metrics.values()
}
"""Name to function: what the host's registry gets."""


def scoring_of(dataset: Mapping[str, Any], val: ValOptions) -> Scoring:
    """Return how a set is scored: by its protocol, and by its own metrics or, where it has none, by those of ``val``.

    Args:
        dataset: The set's section, with ``protocol`` and ``metrics`` where they are given.
        val: The options of validation.

    Raises:
        InputError: An unknown protocol, metrics of its names that are not its own, or rounding that is not its.
    """
    sections = dataset.get("metrics") or {}
    if not sections and val.metrics:
        sections = {name: one.model_dump() for name, one in val.metrics.items()}
    lower = frozenset(name for name, one in sections.items() if _lower_is_better(name, one))
    if not dataset.get("protocol"):
        return _scoring(sections, val.round_to_uint8 is not False, "", lower)
    protocol = find_protocol(dataset["protocol"])
    if val.round_to_uint8 not in (None, protocol.rounded):
        raise InputError(
            f"protocol {protocol.name} scores {'8-bit pictures' if protocol.rounded else 'floats'}, but "
            f"val:round_to_uint8 is {str(val.round_to_uint8).lower()}: leave it out"
        )
    own = {name: registered_name(metric) for name, metric in protocol.metrics.items()}
    for name, section in sections.items():
        if name in own and {key: value for key, value in section.items() if key != "better"} != {"type": own[name]}:
            raise InputError(
                f"metric {name} is {section.get('type')}, but protocol {protocol.name} means {own[name]}: leave the "
                "metric out, or the protocol"
            )
    sections = {**{name: {"type": kind} for name, kind in own.items()}, **sections}
    return _scoring(sections, protocol.rounded, protocol.name, lower)


def _lower_is_better(name: str, section: Mapping[str, Any]) -> bool:
    """Tell a metric's direction: what the options say, which may not contradict what pyiqa says."""
    said = section.get("better")
    if section.get("type") != pyiqa.__name__ or not isinstance(section.get("name"), str):
        return said == "lower"
    lower = perceptual_is_lower_better(section["name"])
    known = "lower" if lower else "higher"
    if said not in (None, known):
        raise InputError(f"metric {name}: better: {said}, but of {section['name']} {known} is better: leave it out")
    return lower


def _scoring(sections: Mapping[str, Any], rounded: bool, protocol: str, lower: frozenset[str]) -> Scoring:
    for name, section in sections.items():
        if not rounded and section["type"] not in (*METRICS, pyiqa.__name__):
            raise InputError(
                f"metric {name} is {section['type']}, which takes 8-bit pictures, but floats are scored: use one of "
                f"{', '.join(METRICS)}, or leave out what asks for floats"
            )
    metrics = {name: _by_the_host(section) for name, section in sections.items()}
    return Scoring(metrics, rounded, protocol, lower)


def _by_the_host(section: Mapping[str, Any]) -> Callable[[BGRPicture, BGRPicture], float]:
    """Return the host's metric of a ``{type: NAME, argument: value}`` section as a function of two pictures."""
    options = {key: value for key, value in section.items() if key != "better"}

    def calculate(restored: BGRPicture, target: BGRPicture) -> float:
        from basicsr.metrics import calculate_metric

        return float(calculate_metric({"img": restored, "img2": target}, options))

    return calculate


def watched(metric: str, scorings: Mapping[str, Scoring]) -> tuple[str, str]:
    """Return the validation set and the metric that ``psnr`` or ``SET/psnr`` means; ``psnr`` is of the first set.

    Args:
        metric: As an option has it.
        scorings: Validation set's name to how it is scored, in the order of the options.

    Raises:
        InputError: No set has it.
    """
    pairs = {f"{name}/{one}": (name, one) for name, scoring in scorings.items() for one in scoring.metrics}
    short = {one: (name, one) for name, one in reversed(pairs.values())}
    known = {**short, **pairs}
    if metric not in known:
        raise InputError(f"{metric!r} is not a metric of the validation sets, {nearest(metric, known)}")
    return known[metric]
