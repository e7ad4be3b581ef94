"""Networks in local folders: written, read, refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mprnet_plugin import MPRNet
from mprnet_plugin.archs.local_pooling import MPRNetLocal, pooling_sizes, use_local_pooling
from mprnet_plugin.errors import InputError
from mprnet_plugin.weights.choice import find_file
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import TINY, fill

IMAGE = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    with torch.no_grad():
        return all(torch.equal(a, b) for a, b in zip(first(IMAGE), second(IMAGE), strict=True))


@pytest.fixture
def net() -> MPRNet:
    return fill(MPRNet(**TINY, bias=True)).eval()


@pytest.fixture
def folder(net: MPRNet, tmp_path: Path) -> Path:
    net.save_pretrained(tmp_path / "folder")
    return tmp_path / "folder"


def test_round_trip(net: MPRNet, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    again = MPRNet.from_pretrained(folder)
    assert type(again) is MPRNet
    assert again.config == net.config
    assert not again.training
    assert same(again, net)
    blocks = {id(module) for module in again.modules() if isinstance(module, torch.nn.PReLU)}
    assert len(blocks) == 1
    assert same(MPRNet.from_pretrained(folder / "model.safetensors"), net)


def test_local_pooling_is_remembered(tmp_path: Path) -> None:
    local = fill(MPRNetLocal(train_size=64, base_size=16, **TINY)).eval()
    plain = fill(MPRNet(**TINY)).eval()
    assert not same(local, plain)
    local.save_pretrained(tmp_path / "local")
    use_local_pooling(fill(MPRNet(**TINY)), 64, 16).save_pretrained(tmp_path / "used")
    plain.save_pretrained(tmp_path / "plain")
    for name in ("local", "used"):
        again = MPRNet.from_pretrained(tmp_path / name)
        assert type(again) is MPRNetLocal
        assert pooling_sizes(again) == (64, 16)
        assert same(again, local)
    assert type(MPRNetLocal.from_pretrained(tmp_path / "plain")) is MPRNetLocal
    assert pooling_sizes(MPRNetLocal.from_pretrained(tmp_path / "plain")) == (256, 384)


def test_a_class_of_ones_own_stays(folder: Path) -> None:
    class Own(MPRNet):
        pass

    assert type(Own.from_pretrained(folder)) is Own


def test_spandrel_loads_the_file(net: MPRNet, folder: Path) -> None:
    spandrel = pytest.importorskip("spandrel")
    pytest.importorskip("spandrel_extra_arches").install(ignore_duplicates=True)
    theirs = spandrel.ModelLoader("cpu").load_from_file(folder / "model.safetensors")
    assert theirs.architecture.id == "MPRNet"
    with torch.no_grad():
        torch.testing.assert_close(theirs.model(IMAGE)[0], net(IMAGE)[0], atol=2e-6, rtol=1e-5)


def test_folders_of_the_hubs_own_mixin_go_both_ways(net: MPRNet, folder: Path, tmp_path: Path) -> None:
    mixin: Any = pytest.importorskip("huggingface_hub").PyTorchModelHubMixin

    class Theirs(mixin, MPRNet):  # type: ignore[misc]
        def __init__(self, n_feat: int, scale_unetfeats: int, scale_orsnetfeats: int, num_cab: int, bias: bool) -> None:
            MPRNet.__init__(self, 3, 3, n_feat, scale_unetfeats, scale_orsnetfeats, num_cab, bias=bias)

    theirs = fill(Theirs(**TINY, bias=True)).eval()
    mixin.save_pretrained(theirs, tmp_path / "theirs")
    stored = load_file(tmp_path / "theirs" / "model.safetensors")
    assert len(stored) < len(net.state_dict())  # one of the names that share the PReLU
    assert same(MPRNet.from_pretrained(tmp_path / "theirs"), net)
    assert same(Theirs.from_pretrained(folder), net)


def test_weights_of_any_kind(net: MPRNet, tmp_path: Path) -> None:
    for form, name in (("host", "net_g_latest.pth"), ("authors", "model.pth"), ("pdparams", "m.pdparams")):
        save_weights(net.state_dict(), tmp_path / form / name, form)  # type: ignore[arg-type]
        assert same(MPRNet.from_pretrained(tmp_path / form), net)
    assert same(MPRNet.from_pretrained(str(tmp_path / "host"), filename="net_g_latest.pth", param_key="params"), net)


def test_names_of_ours(tmp_path: Path) -> None:
    net = MPRNet.from_pretrained("mprnet://demo/denoise")
    assert same(net, MPRNet.from_pretrained(find_file("mprnet://demo/Denoising")))
    net.half().save_pretrained(tmp_path)
    assert MPRNet.from_pretrained(tmp_path).tail.weight.dtype == torch.float32


def test_a_card_that_is_there_stays(net: MPRNet, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "README.md").write_text("by hand")
    with caplog.at_level(logging.WARNING):
        net.save_pretrained(folder)
    assert "README.md is there already and stays; replace_card=True writes a new one" in caplog.text
    assert (folder / "README.md").read_text() == "by hand"
    net.save_pretrained(folder, replace_card=True)
    assert "# MPRNet" in (folder / "README.md").read_text()


DEEP = "[" * 60_000
HOSTILE = [
    ('{"n_feat": 8', r"is no configuration \(Expecting"),
    (DEEP, r"is no configuration \("),
    ("[" * 65_000 + "]" * 65_000, r"is no configuration \(more than 65536 bytes\)"),
    ('{"n_feat": 1' + "0" * 9_000 + "}", "is no configuration|must be a whole number"),
    ("[]", r"holds \[\], expected MPRNet's arguments"),
    ("null", "holds None, expected"),
    ('{"n_feat": "8"}', "n_feat: '8' must be a whole number, at least 1 and at most 4096"),
    ('{"n_feat": true}', "n_feat: True must be a whole number"),
    ('{"n_feat": NaN}', "n_feat: nan must be"),
    ('{"n_feat": 1e300}', "n_feat: .* must be"),
    ('{"num_cab": -1}', "num_cab: -1 must be"),
    ('{"n_feet": 8}', "option n_feet is read by nobody, did you mean 'n_feat'"),
    ('{"auto_map": {"AutoModel": "evil.Evil"}}', "option auto_map is read by nobody"),
    ('{"architecture": "os.system"}', "architecture: .* is not known"),
    ('{"architecture": "MPRNetLocal", "train_size": 7}', "train_size=7 must be a positive multiple of 8"),
    ('{"architecture": "MPRNetLocal", "base_size": 0}', "base_size: 0 must be"),
    ('{"n_feat": 4096, "num_cab": 256, "kernel_size": 31}', "is a custom checkpoint .* the network is custom"),
    ('{"n_feat": 16}', "the network is custom"),
    ('{"bias": false}', "is a custom checkpoint"),
    ('{"kernel_size": 4}', "kernel_size=4 must be odd"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_odd_configurations_are_one_line(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as refused:
        MPRNet.from_pretrained(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("text", ["{}", '{"n_feat": 8}', '{"n_feat": 8.0, "architecture": "MPRNet"}'])
def test_shapes_tell_what_a_configuration_leaves_out(net: MPRNet, folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert same(MPRNet.from_pretrained(folder), net)


def test_reduction_is_the_configurations(tmp_path: Path) -> None:
    """Several values give the same shapes; what was saved is what is read."""
    net = MPRNet(**TINY, reduction=8)
    net.save_pretrained(tmp_path)
    assert MPRNet.from_pretrained(tmp_path).config == net.config


def test_what_is_wrong_is_one_line(net: MPRNet, folder: Path, tmp_path: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    (tmp_path / "empty").mkdir()
    cases: list[tuple[object, str]] = [
        (tmp_path / "empty", "has no file of weights, such as model.safetensors"),
        (tmp_path / "missing" / "x" / "y", "no such folder or file, and no repository's name"),
        ("", "must be a folder, a file of weights or a repository"),
        (b"folder", "must be a folder"),
        ("mprnet://demo/x", "'x' is unknown"),
    ]
    for source, message in cases:
        with pytest.raises(InputError, match=message):
            MPRNet.from_pretrained(source)  # type: ignore[arg-type]
    for content in (whole[:-5], whole[:100], b"", b"\xff" * 8 + whole[8:], whole[:8] + b"{" * 90 + whole[98:]):
        weights.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.safetensors: is (a damaged|an empty|a file that starts)"):
            MPRNet.from_pretrained(folder)
    save_file({"a": torch.ones(3)}, weights)
    with pytest.raises(InputError, match="not the weights of an MPRNet"):
        MPRNet.from_pretrained(folder)
    weights.unlink()
    (tmp_path / "elsewhere.pth").write_bytes(b"")
    with pytest.raises(InputError, match="must be the name of a file in the folder"):
        MPRNet.from_pretrained(folder, filename="../elsewhere.pth")
    with pytest.raises(InputError, match=r"is a file; leave filename='x.pth' out"):
        MPRNet.from_pretrained(tmp_path / "elsewhere.pth", filename="x.pth")
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    weights.write_bytes(whole)
    with pytest.raises(InputError, match=r"config.json: cannot be read, as it is a folder"):
        MPRNet.from_pretrained(folder)
    with pytest.raises(InputError, match=r"model.safetensors: is a folder|could not be written"):
        net.save_pretrained(weights)


def test_what_a_config_says_is_json_of_the_arguments(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    assert content["architecture"] == "MPRNet"
    assert MPRNet(**{name: value for name, value in content.items() if name != "architecture"})
