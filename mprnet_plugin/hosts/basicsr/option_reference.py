"""The option reference and the JSON schema for editors, generated from the typed sections.

``python -m mprnet_plugin.hosts.basicsr.option_reference FOLDER`` writes ``docs/options.md`` and
``options/mprnet.schema.json`` below the project's folder; a test fails while they are stale.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mprnet_plugin.archs.config import MPRNetConfig
from mprnet_plugin.archs.local_pooling import MPRNetLocal
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.data.dnd import DNDDataset
from mprnet_plugin.data.paired_dataset import PairedRestorationDataset, SourceOptions
from mprnet_plugin.data.samples import PatchOptions
from mprnet_plugin.data.sidd_blocks import SIDDBlocksDataset
from mprnet_plugin.data.synthetic_dataset import (
    BlurOptions,
    JpegOptions,
    NoiseOptions,
    RainOptions,
    SoftOptions,
    SyntheticDegradationDataset,
)
from mprnet_plugin.errors import InputError, nearest, run_command
from mprnet_plugin.files import whole_file
from mprnet_plugin.hosts.basicsr.run_options import (
    EvaluationSetOptions,
    HostPairedOptions,
    LoggerOptions,
    PathOptions,
    RunOptions,
    TrainingSetOptions,
    WandbOptions,
    dataset_options,
)
from mprnet_plugin.metrics.protocols import PROTOCOLS
from mprnet_plugin.shipped_options import SCHEMA
from mprnet_plugin.training.options import (
    EarlyStoppingOptions,
    LocalPoolingOptions,
    LossOptions,
    MixupOptions,
    TrainOptions,
    ValOptions,
)
from mprnet_plugin.training.schedules import ScheduleOptions
from mprnet_plugin.typed_options import Options, expected

__all__ = ["SECTIONS", "explain", "names", "reference", "schema"]

DATASETS = (PairedRestorationDataset, SyntheticDegradationDataset, SIDDBlocksDataset, DNDDataset)


class LocalNetworkOptions(LocalPoolingOptions, MPRNetConfig):
    """MPRNet with local pooling from the start."""


class Section(NamedTuple):
    """One table of the reference: where its options stand in a file, and the class that defines them."""

    path: str
    options: type[Options]


SECTIONS = (
    Section("", RunOptions),
    Section("datasets:train", TrainingSetOptions),
    Section("datasets:val", EvaluationSetOptions),
    *(Section(f"datasets:NAME (type: {dataset.__name__})", dataset.options_class) for dataset in DATASETS),
    Section("datasets:NAME (type: PairedImageDataset)", HostPairedOptions),
    Section("datasets:train:sources", SourceOptions),
    Section("datasets:train:patch_schedule", PatchOptions),
    Section("datasets:train:soft", SoftOptions),
    Section("datasets:train:rain", RainOptions),
    Section("datasets:train:blur", BlurOptions),
    Section("datasets:train:noise", NoiseOptions),
    Section("datasets:train:jpeg", JpegOptions),
    Section("network_g (type: MPRNet)", MPRNetConfig),
    Section("path", PathOptions),
    Section("train", TrainOptions),
    Section("train:mixup", MixupOptions),
    Section("train:losses", LossOptions),
    Section("train:scheduler (type: WarmupCosineLR)", ScheduleOptions),
    Section("val", ValOptions),
    Section("val:early_stopping", EarlyStoppingOptions),
    Section("val:local_pooling, network_g (type: MPRNetLocal)", LocalPoolingOptions),
    Section("logger", LoggerOptions),
    Section("logger:wandb", WandbOptions),
)

HEAD = """\
# Options

Generated from the typed sections of the code; edit those, then run
`python -m mprnet_plugin.hosts.basicsr.option_reference .` in the source folder. An option that nobody reads is an error
that names the nearest known one. `mprnet-options --explain train:mixup` prints a section of this page. A whole number
may be written as `4e5`.

What a section names by `type`, a loss, an optimiser of `torch.optim`, a schedule or a metric of the host, takes that
part's own arguments; they are checked against its signature before the run creates anything.
"""


_INDENT: Any = {"initial_indent": "  ", "subsequent_indent": "      "}


class Row(NamedTuple):
    """One option."""

    name: str
    values: str
    default: str
    meaning: str


def rows(options: type[Options]) -> Iterator[Row]:
    """Yield a section's options in the order of their definition."""
    for name, field in options.model_fields.items():
        default = "required" if field.is_required() else _default(field.default)
        yield Row(name, expected(field), default, field.description or "")


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "its defaults" if isinstance(value, Options) else str(value)


def reference() -> str:
    """Return the option reference as Markdown."""
    parts = [HEAD]
    for section in SECTIONS:
        parts.append(f"## {section.path or 'Top level'}\n\n{_about(section.options)}\n")
        lines = ["| option | value | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{row.name}` | {row.values} | {row.default} | {row.meaning} |" for row in rows(section.options)]
        parts.append("\n".join(lines) + "\n")
    parts.append("## Protocols\n\nWhat `protocol` may be; metrics and rounding follow from it.\n")
    lines = ["| protocol | what is computed | on |", "|---|---|---|"]
    lines += [
        f"| `{one.name}` | {one.summary} | {'8-bit pictures' if one.rounded else 'floats'} |"
        for one in PROTOCOLS.values()
    ]
    return "\n".join([*parts, "\n".join(lines) + "\n"])


def _about(options: type[Options]) -> str:
    return (options.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ")


def names() -> str:
    """Return the names of all options by section, for ``--help``."""
    lines = [
        textwrap.fill(f"{section.path or 'top level'}: {', '.join(section.options.model_fields)}", 100, **_INDENT)
        for section in SECTIONS
    ]
    return "\n".join(lines) + "\n"


def explain(name: str) -> str:
    """Return a section's options as plain text, or one option's line.

    Args:
        name: Such as ``train``, ``train:mixup`` or ``train:micro_batch_size``.

    Raises:
        InputError: Neither; the message names the nearest.
    """
    text = {_plain(section.path): _as_text(rows(section.options)) for section in SECTIONS}
    for section in SECTIONS:
        for row in rows(section.options):
            text.setdefault(f"{_plain(section.path)}:{row.name}".lstrip(":"), _as_text([row]))
    if name not in text:
        raise InputError(f"option {name!r} is unknown, {nearest(name, [key for key in text if key])}")
    return text[name]


def _plain(path: str) -> str:
    return path.partition(" (")[0].partition(",")[0]


def _as_text(lines: Iterator[Row] | Sequence[Row]) -> str:
    return "".join(f"{row.name}: {row.values} (default: {row.default})\n    {row.meaning}\n" for row in lines)


def schema() -> dict[str, Any]:
    """Return the JSON schema of an options file, for editors' completion and checks."""
    result = RunOptions.model_json_schema()
    definitions = result["$defs"]
    kinds = {True: "training", False: "evaluation"}
    for training, kind in kinds.items():
        for dataset in DATASETS:
            section = dataset_options(dataset, training) or Options
            _define(definitions, f"{dataset.__name__} ({kind})", dataset.__name__, section)
    _define(definitions, "MPRNet", MPRNet.__name__, MPRNetConfig)
    _define(definitions, "MPRNetLocal", MPRNetLocal.__name__, LocalNetworkOptions)
    properties = result["properties"]
    properties["network_g"] = _chosen_by_type(["MPRNet", "MPRNetLocal"], [MPRNet, MPRNetLocal])
    properties["datasets"] = {
        "type": "object",
        "description": properties["datasets"]["description"],
        "patternProperties": {
            pattern: _chosen_by_type([f"{dataset.__name__} ({kinds[training]})" for dataset in DATASETS], DATASETS)
            for pattern, training in (("^train", True), ("^(val|test)", False))
        },
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Options of mprnet-plugin for BasicSR's runners",
        **{key: value for key, value in result.items() if key != "title"},
    }


def _define(definitions: dict[str, Any], name: str, kind: str, options: type[Options]) -> None:
    section = options.model_json_schema()
    definitions.update(section.pop("$defs", {}))
    section["properties"]["type"] = {"const": kind}
    section["title"] = name
    definitions[name] = section


def _chosen_by_type(names: Sequence[str], classes: Sequence[type]) -> dict[str, Any]:
    """Return the schema of a section whose ``type`` is one of ours, or anybody else's, whose arguments are unknown."""
    others = {"properties": {"type": {"type": "string", "not": {"enum": [one.__name__ for one in classes]}}}}
    return {
        "type": "object",
        "required": ["type"],
        "anyOf": [*({"$ref": f"#/$defs/{name}"} for name in names), others],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write both files; return 0."""
    parser = argparse.ArgumentParser(description="Write docs/options.md and options/mprnet.schema.json.")
    parser.add_argument("folder", type=Path, help="the project's folder")
    folder: Path = parser.parse_args(argv).folder
    contents = {
        folder / "docs" / "options.md": reference(),
        folder / "options" / SCHEMA: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
    }
    for path, content in contents.items():
        with whole_file(path) as part:
            part.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_command(main)
