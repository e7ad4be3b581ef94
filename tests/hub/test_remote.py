"""Repositories of the Hub, by a server that stands for it; each process is a user's, with a cache of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mprnet_plugin.archs.local_pooling import MPRNetLocal
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import TINY, Done, fill, run
from tests.hub.hub_server import TOKEN, Hub, serving

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.slow

CALLS = """
import json, sys
from mprnet_plugin import MPRNet
for source, options in json.loads(sys.argv[1]):
    try:
        net = MPRNet.from_pretrained(source, **options)
        print(type(net).__name__, net.config.n_feat, net.training, float(net.tail.weight.detach().double().sum()))
    except ValueError as error:
        print(type(error).__name__, error)
"""
PUSH = """
import json, sys
from mprnet_plugin import MPRNet
options = json.loads(sys.argv[2])
try:
    print(MPRNet.from_pretrained(sys.argv[1]).push_to_hub("me/mine", **options))
except ValueError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        yield server


def call(hub: Hub, folder: Path, code: str, *arguments: str, **env: str) -> Done:
    """Run code as somebody would whose Hub that is."""
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "NO_PROXY": "127.0.0.1", "HF_TOKEN": "", **env}
    return run(folder, code, *arguments, launcher=("-c",), **own)


def load(hub: Hub, folder: Path, *calls: tuple[str, dict[str, Any]], **env: str) -> list[str]:
    done = call(hub, folder, CALLS, json.dumps(calls), **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def line(net: MPRNet) -> str:
    return f"{type(net).__name__} {net.config.n_feat} False {float(net.tail.weight.detach().double().sum())}"


def files(net: MPRNet, folder: Path) -> dict[str, bytes]:
    net.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_repository_loads_and_then_from_the_cache_alone(hub: Hub, tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    hub.repositories["me/net"] = files(net, tmp_path / "made")
    hub.repositories["local"] = files(fill(MPRNetLocal(**TINY)), tmp_path / "local")
    assert load(hub, tmp_path, ("me/net", {}), ("local", {"revision": "main"})) == [
        line(net),
        line(net).replace("MPRNet", "MPRNetLocal"),
    ]
    hub.requests.clear()
    online = [("me/net", {"local_files_only": True})]
    assert load(hub, tmp_path, *online) == [line(net)]
    offline = load(hub, tmp_path, ("me/net", {}), ("local", {}), ("me/other", {}), HF_HUB_OFFLINE="1")
    assert offline[:2] == [line(net), line(net).replace("MPRNet", "MPRNetLocal")]
    assert offline[2].startswith(
        "InputError me/other: no folder of that name here, not in the Hub's cache, and the Hub"
    )
    assert not any(wanted in request for request in hub.requests for wanted in ("resolve", "models"))


def test_weights_alone_are_enough(hub: Hub, tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    save_weights(net.state_dict(), tmp_path / "w.pth", "authors")
    content = (tmp_path / "w.pth").read_bytes()
    hub.repositories["me/one"] = {"README.md": b"", "net_g_latest.pth": content}
    hub.repositories["me/two"] = {"a.pth": content, "b.pth": content}
    hub.repositories["me/none"] = {"README.md": b""}
    found = load(hub, tmp_path, ("me/one", {}), ("me/two", {}), ("me/two", {"filename": "b.pth"}), ("me/none", {}))
    assert found[0] == found[2] == line(net)
    assert found[1] == "InputError me/two: has several files of weights (['a.pth', 'b.pth']); choose one as filename"
    assert found[3].startswith("InputError me/none: has no file of weights, such as model.safetensors")
    # Without a network too, config.json is known not to be there.
    assert load(hub, tmp_path, ("me/two", {"filename": "b.pth"}), HF_HUB_OFFLINE="1") == [line(net)]


def test_what_is_wrong_is_one_line(hub: Hub, tmp_path: Path) -> None:
    good = files(fill(MPRNet(**TINY)), tmp_path / "made")
    hub.repositories["me/net"] = good
    hub.repositories["me/cut"] = {**good, "model.safetensors": good["model.safetensors"][:-9]}
    hub.repositories["me/odd"] = {**good, "config.json": b'{"n_feat": "9", "auto_map": "x.py"}'}
    hub.repositories["me/pickle"] = {"w.pth": b"\x80\x04cos\nsystem\n(S'true'\ntR."}
    hub.repositories["me/huge"] = {**good, "huge.safetensors": b"0"}
    hub.claims["huge.safetensors"] = 1 << 40
    found = load(
        hub,
        tmp_path,
        ("me/nothing", {}),
        ("me/net", {"revision": "v9"}),
        ("me/net", {"filename": "w.pth"}),
        ("me/net", {"filename": "../w.pth"}),
        ("me/cut", {}),
        ("me/odd", {}),
        ("me/pickle", {}),
        ("me/huge", {"filename": "huge.safetensors"}),
        ("a//b", {}),
        ("me/a..b", {}),
    )
    expected = [
        "me/nothing: neither a folder here nor a repository of the Hub that may be read; check the name",
        "me/net: has no revision 'v9'; give a branch",
        "me/net: has no such file; its page lists",
        "me/net: ",
        "model.safetensors: is a damaged safetensors file",
        "config.json: option auto_map is read by nobody",
        "w.pth: ",
        "me/huge: huge.safetensors has 1099511627776 bytes, more than any MPRNet's",
        "'a//b': no such folder or file, and no repository's name",
        "'me/a..b' is no repository's name, expected user/name",
    ]
    assert len(found) == len(expected)
    for one, words in zip(found, expected, strict=True):
        assert one.startswith("InputError ")
        assert words in one


def test_push_and_load(hub: Hub, tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    net.save_pretrained(tmp_path / "made")
    options = {"task": "derain", "figures": {"Rain100L": {"psnr": 30.5}}, "token": TOKEN}
    refused = call(hub, tmp_path, PUSH, "made", json.dumps({**options, "token": "hf_" + "b" * 34}))
    assert refused.stdout.startswith("InputError me/mine: the Hub refused (401); log in with `hf auth login`")
    assert "bbbb" not in refused.stdout + refused.stderr
    assert hub.repositories == {}

    done = call(hub, tmp_path, PUSH, "made", json.dumps(options))
    assert done.stdout == f"{hub.url}/me/mine/commit/{hub.commit('me/mine')}\n", done.stderr
    assert hub.repositories["me/mine"].keys() == {"model.safetensors", "config.json", "README.md"}
    card = hub.repositories["me/mine"]["README.md"].decode()
    assert "| Rain100L | 30.50 |  |" in card
    assert load(hub, tmp_path, ("me/mine", {})) == [line(net)]

    # A card that somebody wrote stays, unless it is to be replaced.
    hub.repositories["me/mine"]["README.md"] = b"by hand"
    with torch.no_grad():
        net.tail.weight.mul_(2)
    net.save_pretrained(tmp_path / "made", replace_card=True)
    done = call(hub, tmp_path, PUSH, "made", json.dumps(options))
    assert "me/mine has a model card, which stays; replace_card=True" in done.stderr
    assert hub.repositories["me/mine"]["README.md"] == b"by hand"
    assert load(hub, tmp_path, ("me/mine", {})) == [line(net)]
    call(hub, tmp_path, PUSH, "made", json.dumps({**options, "replace_card": True}))
    assert hub.repositories["me/mine"]["README.md"].decode() == card


def test_offline_push_is_one_line(hub: Hub, tmp_path: Path) -> None:
    fill(MPRNet(**TINY)).save_pretrained(tmp_path / "made")
    done = call(hub, tmp_path, PUSH, "made", json.dumps({"token": TOKEN}), HF_HUB_OFFLINE="1")
    assert done.stdout.startswith("InputError me/mine: the Hub may not be asked, as HF_HUB_OFFLINE is set")
    assert done.stdout.count("\n") == 1


def test_without_huggingface_hub_folders_work_and_the_rest_says_what_to_install(hub: Hub, tmp_path: Path) -> None:
    net = fill(MPRNet(**TINY))
    code = "import sys; sys.modules['huggingface_hub'] = None\n"
    net.save_pretrained(tmp_path / "made")
    done = call(hub, tmp_path, code + CALLS, json.dumps([("made", {}), ("me/net", {})]))
    lines = done.stdout.splitlines()
    assert lines[0] == line(net)
    assert lines[1].startswith("InputError me/net: no such folder here, and the Hub needs huggingface_hub")
    assert "pip install 'mprnet-plugin[hub]'" in lines[1]
    done = call(hub, tmp_path, code + PUSH, "made", "{}")
    assert done.stdout.startswith("InputError the Hub needs huggingface_hub, which is not there: pip install")
