"""``mprnet-export WEIGHTS FOLDER/``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mprnet_plugin.archs.local_pooling import MPRNetLocal
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.export import cli, hub_folder
from mprnet_plugin.hub.card import Card
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import TINY, fill

FILES = {"model.safetensors", "config.json", "README.md"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "v0.2"
    assert cli.main(["mprnet://demo/denoise", f"{folder}/", "--license", "cc-by-4.0"]) == 0
    assert capsys.readouterr().out.startswith(f"{folder}: custom (n_feat=")
    assert names(folder) == FILES
    assert names(tmp_path / "new") == {"v0.2"}
    card = (folder / "README.md").read_text()
    assert "# MPRNet: Denoising" in card
    assert "Weights: cc-by-4.0." in card
    assert MPRNet.from_pretrained(folder).config == MPRNet.from_pretrained("mprnet://demo/denoise").config


def test_published_weights_carry_their_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPRNET_PLUGIN_CACHE", str(tmp_path / "cache"))
    save_weights(fill(MPRNet(n_feat=40, scale_unetfeats=20, scale_orsnetfeats=16)).state_dict(), tmp_path / "w.pth")
    (tmp_path / "cache").mkdir()
    (tmp_path / "w.pth").rename(tmp_path / "cache" / "model_deraining.pth")
    assert cli.main(["mprnet://derain", f"{tmp_path}/out/"]) == 0
    assert "Weights: academic, non-commercial (the authors')." in (tmp_path / "out" / "README.md").read_text()


def test_what_is_there_stays(tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").write_text("mine")
    (tmp_path / "full" / "other.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"full: is there already, with files in it; .*--overwrite"):
        hub_folder.export_folder(net, tmp_path / "full", Card())
    with pytest.raises(InputError, match="file: is there already and no folder"):
        hub_folder.export_folder(net, tmp_path / "file", Card(), overwrite=True)
    assert (tmp_path / "full" / "config.json").read_text() == "mine"
    hub_folder.export_folder(net, tmp_path / "full", Card(), overwrite=True)
    assert names(tmp_path / "full") == {*FILES, "other.txt"}
    assert MPRNet.from_pretrained(tmp_path / "full").config == net.config


def test_local_pooling_and_half_precision_are_kept(tmp_path: Path) -> None:
    hub_folder.export_folder(fill(MPRNetLocal(**TINY)).half(), tmp_path / "out", Card())
    assert type(MPRNet.from_pretrained(tmp_path / "out")) is MPRNetLocal


def test_what_comes_back_changed_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(cls: type[MPRNet], folder: Path) -> MPRNet:
        net = cls.from_pretrained(folder)
        with torch.no_grad():
            net.tail.weight.add_(1)
        return net

    monkeypatch.setattr(hub_folder, "read_folder", wrong)
    with pytest.raises(InputError, match=r"read back as another network \(1 tensors\); nothing was written"):
        hub_folder.export_folder(fill(MPRNet(**TINY)), tmp_path / "out", Card())
    assert names(tmp_path) == set()


def test_options_of_the_card_need_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--task and --license are for a folder's model card"):
        cli.main(["mprnet://demo/denoise", str(tmp_path / "net.onnx"), "--license", "mit"])
    with pytest.raises(InputError, match="a folder for the Hub ends with a slash"):
        cli.main(["mprnet://demo/denoise", str(tmp_path / "net")])
