"""The model card, ``README.md`` of a network's folder: what it does, which figures are whose, how to load it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from typing_extensions import Self

from mprnet_plugin.archs.local_pooling import pooling_sizes
from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE, MPRNet
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.metrics.protocols import Figures, Protocol, find_protocol
from mprnet_plugin.tasks import TASKS, Task, find_task
from mprnet_plugin.typed_options import shorten

__all__ = ["LIBRARY", "Card"]

LIBRARY = "mprnet-plugin"
_PIPELINE = "image-to-image"
_TAGS = ("mprnet", "image-restoration", "model_hub_mixin", "pytorch_model_hub_mixin")
_METRICS = {"psnr": "PSNR", "ssim": "SSIM"}
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_LONGEST = 10_000


@dataclass(frozen=True)
class Card:
    """What whoever saves a network knows of its weights.

    Attributes:
        task: A task's full name, or None where the network's widths say it, if anything does.
        license: An identifier such as ``apache-2.0``, or words, or None.
        figures: Data set to metric to value, as measured by the caller.
        note: A paragraph.
    """

    task: str | None = None
    license: str | None = None
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str | None = None

    @classmethod
    def read(
        cls,
        task: str | None = None,
        license: str | None = None,
        figures: Mapping[str, Mapping[str, float]] | None = None,
        note: str | None = None,
    ) -> Self:
        """Check a caller's arguments.

        Raises:
            InputError: An unknown task or metric, a figure that is no finite number, a text that is none or too long.
        """
        for name, text in (("license", license), ("note", note)):
            if text is not None and not (isinstance(text, str) and 0 < len(text) <= _LONGEST and text.isprintable()):
                raise InputError(f"{name}={shorten(text)} must be a text of one line, or be left out")
        figures = {} if figures is None else figures
        if not isinstance(figures, Mapping):
            raise InputError(f"figures={shorten(figures)} must be data set's name to {{'psnr': dB, 'ssim': 0..1}}")
        return cls(
            None if task is None else find_task(task).name,
            license,
            {_checked_name(name): _checked_scores(name, scores) for name, scores in figures.items()},
            note,
        )

    def text(self, net: MPRNet) -> str:
        """Return the card of a network with these weights, as Markdown with the Hub's metadata on top."""
        name = self.task or net.config.task
        task = None if name is None else TASKS[name]
        metadata = yaml.safe_dump(self._metadata(task), sort_keys=False, allow_unicode=True)
        sections = [
            f"# MPRNet{f': {task.name}' if task else ''}",
            _summary(net, task),
            *([self.note] if self.note else []),
            _usage(),
            "## Figures",
            *self._figures(net, task),
            "## Licence",
            self._licence(),
        ]
        return f"---\n{metadata}---\n\n" + "\n\n".join(sections) + "\n"

    def _metadata(self, task: Task | None) -> dict[str, Any]:
        found: dict[str, Any] = {"library_name": LIBRARY, "pipeline_tag": _PIPELINE}
        if self.license is not None:
            known = _IDENTIFIER.fullmatch(self.license)
            found["license"] = self.license if known else "other"
            if not known:
                found["license_name"] = re.sub(r"[^a-z0-9]+", "-", self.license.lower()).strip("-")[:60] or "other"
        found["tags"] = [*_TAGS, *([task.name.lower()] if task else [])]
        if self.figures:
            results = [_result(name, scores, task) for name, scores in self.figures.items()]
            found["model-index"] = [{"name": f"MPRNet {task.name}" if task else "MPRNet", "results": results}]
        return found

    def _figures(self, net: MPRNet, task: Task | None) -> list[str]:
        protocol = find_protocol(task.protocol) if task else None
        parts = [f"Protocol `{protocol.name}`: {protocol.summary}."] if protocol else []
        if self.figures:
            rows = [(name, scores.get("psnr"), scores.get("ssim")) for name, scores in self.figures.items()]
            parts.append(_table("Measured on these weights, by whoever saved them:", rows))
        else:
            parts.append("Nothing was measured on these weights, or it was not stated.")
        if protocol and task and net.config.preset == task.name:
            parts += _published(protocol, local=pooling_sizes(net) is not None)
        return parts

    def _licence(self) -> str:
        weights = self.license or "not stated by whoever saved them"
        return (
            f"Weights: {weights}. The code of {LIBRARY} is under Apache-2.0, which says nothing about weights; those "
            "of MPRNet's authors, and what is converted from them, are for academic, non-commercial use."
        )


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 100:
        raise InputError(f"figures: {shorten(name)} must be the name of a data set, in one line")
    return name


def _checked_scores(name: str, scores: object) -> dict[str, float]:
    if not isinstance(scores, Mapping) or not scores:
        raise InputError(f"figures of {name}: {shorten(scores)} must be {{'psnr': dB, 'ssim': 0..1}}")
    for metric, value in scores.items():
        if metric not in _METRICS:
            raise InputError(f"figures of {name}: {shorten(metric)} is no metric, {nearest(str(metric), _METRICS)}")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise InputError(f"figures of {name}: {metric}={shorten(value)} must be a finite number")
    return {metric: float(value) for metric, value in scores.items()}


def _summary(net: MPRNet, task: Task | None) -> str:
    count = sum(parameter.numel() for parameter in net.parameters())
    purpose = f"Removes {task.removes}. " if task else ""
    sizes = pooling_sizes(net)
    local = "" if sizes is None else f" Local pooling (TLC) with train_size={sizes[0]}, base_size={sizes[1]}."
    return (
        f"{purpose}[MPRNet](https://arxiv.org/abs/2102.02808) ({net.config.differences()}), {count:,} parameters."
        f"{local} Takes (N, {net.in_c}, H, W) in [0, 1], RGB where there are three channels, H and W multiples of "
        f"{SIZE_MULTIPLE}; returns the images of three stages, the result first."
    )


def _usage() -> str:
    return f"""## Use

```python
# pip install '{LIBRARY}[hub]'
from mprnet_plugin import MPRNet, Restorer

restore = Restorer(MPRNet.from_pretrained("THIS REPOSITORY OR FOLDER"))  # pictures of any size, in windows where needed
restored = restore(pictures)  # (N, 3, H, W) in [0, 1]
```

`mprnet-restore photos --weight_path model.safetensors` restores files, and spandrel (chaiNNer, ComfyUI) loads the same
`model.safetensors`. No code of this repository runs: there is none."""


def _table(title: str, rows: list[tuple[str, float | None, float | None]]) -> str:
    def cell(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    lines = [f"| {name.replace('|', chr(92) + '|')} | {cell(psnr, 2)} | {cell(ssim, 3)} |" for name, psnr, ssim in rows]
    return "\n".join([title, "", "| data | PSNR (dB) | SSIM |", "|---|---|---|", *lines])


def _published(protocol: Protocol, local: bool) -> list[str]:
    def rows(figures: Mapping[str, Figures]) -> list[tuple[str, float | None, float | None]]:
        return [(name, one.psnr, one.ssim) for name, one in figures.items()]

    whose = f"Published for a network of these widths ({protocol.source}), not measured on these weights:"
    parts = [_table(whose, rows(protocol.published))]
    if local and protocol.published_local:
        title = "Published with local pooling (Chu et al., ECCV 2022), not measured on these weights:"
        parts.append(_table(title, rows(protocol.published_local)))
    return parts


def _result(name: str, scores: Mapping[str, float], task: Task | None) -> dict[str, Any]:
    """Return an entry of the Hub's ``model-index``."""
    protocol = f" ({task.protocol})" if task else ""
    kind = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "own"
    return {
        "task": {"type": _PIPELINE},
        "dataset": {"name": name, "type": kind},
        "metrics": [
            {"type": metric, "name": f"{_METRICS[metric]}{protocol}", "value": value}
            for metric, value in scores.items()
        ],
    }
