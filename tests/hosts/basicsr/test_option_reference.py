"""The generated reference and schema: fresh, complete, and agreeing with the checks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mprnet_plugin.errors import InputError

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.command_line import _parser, read_options
from mprnet_plugin.hosts.basicsr.option_reference import SECTIONS, explain, reference, schema

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "options").glob("*.yml"))
STALE = "is stale: run python -m mprnet_plugin.hosts.basicsr.option_reference ."


def test_the_reference_is_fresh() -> None:
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == reference(), f"docs/options.md {STALE}"


def test_the_schema_is_fresh() -> None:
    written = json.loads((ROOT / "options" / "mprnet.schema.json").read_text(encoding="utf-8"))
    assert written == schema(), f"options/mprnet.schema.json {STALE}"


def test_every_option_has_a_sentence() -> None:
    for section in SECTIONS:
        for name, field in section.options.model_fields.items():
            assert field.description, f"{section.path}:{name}"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_editors_accept_what_we_ship(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=mprnet.schema.json\n")
    jsonschema.validate(read_options(str(path)), schema())


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "total_itr", 1),
        ("train", "ema_decay", 1),
        ("train", "precision", "fp8"),
        ("val", "self_ensemble", "maybe"),
        ("network_g", "n_feats", 8),
        ("logger", "print_freq", 0),
    ],
)
def test_editors_mark_what_the_checks_refuse(section: str, key: str, value: Any) -> None:
    opt = copy.deepcopy(read_options(str(ROOT / "options" / "train_MPRNet_Deblur.yml")))
    jsonschema.validate(opt, schema())
    opt[section][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(opt, schema())


def test_help_names_every_option() -> None:
    text = _parser(is_train=True).format_help()
    assert "train:mixup: alpha, start_iter" in text
    for section in SECTIONS:
        assert all(name in text for name in section.options.model_fields)


def test_options_are_explained() -> None:
    assert explain("train:mixup").startswith("alpha: a number, at least 1e-06")
    assert "accumulate" in explain("train:micro_batch_size")
    assert "datasets" in explain("")
    with pytest.raises(InputError, match="option 'train:mixpu' is unknown, did you mean 'train:mixup'"):
        explain("train:mixpu")
