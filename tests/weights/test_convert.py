from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.weights import convert as module
from mprnet_plugin.weights.checkpoint import load_network, load_state_dict
from mprnet_plugin.weights.command import main
from mprnet_plugin.weights.convert import WEIGHT_FORMATS, convert, format_of, save_weights
from tests.helpers import TINY, fill
from tests.hostile.limits import full_disk

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_weights.py"


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    path = tmp_path / "authors.pth"
    weights = {f"module.{key}": value for key, value in fill(MPRNet(**TINY)).state_dict().items()}
    torch.save({"epoch": 1, "state_dict": weights, "optimizer": {}}, path)
    return path


@pytest.mark.parametrize("form", WEIGHT_FORMATS)
def test_round_trip_is_bit_for_bit(form: Any, authors: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "deep" / "there", tmp_path / "back.pth"
    assert convert(authors, there, form).startswith("custom (n_feat=8")
    convert(there, back, "authors")
    own = fill(MPRNet(**TINY)).state_dict()
    for path in (there, back):
        loaded = load_state_dict(path)
        assert loaded.keys() == own.keys()
        assert all(torch.equal(loaded[key], own[key]) for key in own)
    assert torch.load(back, weights_only=True).keys() == {"epoch", "state_dict", "optimizer"}
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["authors.pth", "back.pth", "there"]


def test_file_onto_itself(authors: Path) -> None:
    convert(authors, authors)
    assert torch.load(authors, weights_only=True).keys() == {"params"}


def test_unknown_forms_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"suffix '\.onnx' is not a known.*\.safetensors"):
        format_of(tmp_path / "x.onnx")
    with pytest.raises(InputError, match=r"format 'author'.*did you mean 'authors'"):
        format_of(tmp_path / "x.pth", "author")


def test_a_change_on_the_way_is_noticed(authors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = module._encode

    def lossy(weights: dict[str, torch.Tensor], form: Any) -> bytes:
        return encode({key: value.half().float() for key, value in weights.items()}, form)

    monkeypatch.setattr(module, "_encode", lossy)
    target = tmp_path / "out.pth"
    target.write_bytes(b"old")
    with pytest.raises(InputError, match=r"tensors came back changed, such as .*nothing was written"):
        convert(authors, target)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["authors.pth", "out.pth"]


@pytest.mark.parametrize("form", WEIGHT_FORMATS)
def test_full_disk_leaves_nothing(form: Any, tmp_path: Path) -> None:
    with full_disk(), pytest.raises(InputError, match=r"could not be written \(File too large\)"):
        save_weights(MPRNet(**TINY).state_dict(), tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


def test_half_the_size_and_the_nearest_numbers(authors: Path, tmp_path: Path) -> None:
    own = load_state_dict(authors)
    target = tmp_path / "half.safetensors"
    convert(authors, target, half=True)
    written = load_state_dict(target)
    assert all(torch.equal(written[key], value.half()) for key, value in own.items())
    loaded = load_network(target).state_dict()  # and a network of 32 bits takes them
    assert all(value.dtype == torch.float32 and torch.equal(value, own[key].half()) for key, value in loaded.items())
    content = torch.load(authors, weights_only=True)
    content["state_dict"]["module.tail.weight"][0, 0, 0, 0] = 7e4
    torch.save(content, authors)
    with pytest.raises(InputError, match="weights beyond 65,504"):
        convert(authors, target, half=True)
    assert load_state_dict(target).keys() == own.keys()


def test_the_optimiser_stays_behind_and_the_sizes_are_said(
    authors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(authors, weights_only=True)
    moments = {key: value.clone() for key, value in content["state_dict"].items()}
    torch.save({**content, "optimizer": {"state": {"exp_avg": moments, "exp_avg_sq": moments}}}, authors)
    assert main([str(authors), str(tmp_path / "out.pth")]) == 0
    before, now = (path.stat().st_size / 1e6 for path in (authors, tmp_path / "out.pth"))
    assert f"the same numbers, every tensor read back and compared; {before:.1f} MB before, {now:.1f} MB now" in (
        capsys.readouterr().out
    )
    assert now < before * 0.6
    assert main([str(authors), str(tmp_path / "half.pth"), "--half"]) == 0
    assert "rounded to 16 bits" in capsys.readouterr().out


def test_command(authors: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, env=environment)

    good = run(str(authors), str(tmp_path / "out.safetensors"))
    assert (good.returncode, good.stderr) == (0, "")
    assert "custom (n_feat=8" in good.stdout
    bad = run(str(tmp_path / "none.pth"), str(tmp_path / "out.pth"))
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert "no such file" in bad.stderr
