"""Small files that ask for much are refused by what they say, before any of it is made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.weights.checkpoint import load_into, load_network, load_state_dict
from tests.helpers import TINY, at_most
from tests.hostile.weights import (
    honest,
    paddle_bombs,
    pickle_bombs,
    safetensors_bombs,
    tiny_weights,
    torch_bombs,
    torch_file,
)

MESSAGES = {
    "beyond_storage.pth": r"a tensor of shape \(2700000000,\) reaches beyond its 4 numbers",
    "long_storage.pth": "damaged, cut short",
    "no_strides.pth": "declares 10800000000 bytes of weights, more than the file has",
    "wide.pth": r"declares \d+ bytes of weights, more than the file has",
    "wide_legacy.pth": r"declares \d+ bytes of weights, more than the file has",
    "bytearray_call.pth": r"it names builtins\.bytearray",
    "FloatTensor_call.pth": r"it names torch\.FloatTensor",
    "deflated.pth": "its records are compressed",
    "float8_e4m3fn.pth": "is torch.float8_e4m3fn",
    "float8_e4m3fn.safetensors": "is torch.float8_e4m3fn",
    "sparse.pth": "_rebuild_sparse_tensor",
    "bomb_1e9core.pdparams": "makes an array before its content",
    "morecore.pdparams": r"an array of shape \(1000000000,\) and type float32 comes with 4 bytes",
    "tuple_key.pdparams": "a key of type tuple",
    "tuple_key.pth": "a key of type tuple",
    "nested_dicts.pdparams": "holds no tensors by name",
    "same_hashes.pdparams": "a key of type int",
    "marks.pdparams": "takes more than 1000000 steps",
    "bytearray8.pdparams": "cut short or damaged",
    "long4.pdparams": r"takes the step b'\\x8b'",
    "encoded.pdparams": "copies one text over and over",
    "header_long.safetensors": "a header of 94371840 bytes",
    "endless_sides.pth": "is empty, of shape",
    "many_names.pth": "has 21000 entries",
}
FILES = dict([*torch_bombs(), *pickle_bombs(), *paddle_bombs(), *safetensors_bombs()])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", MESSAGES)
def test_bombs_end_at_once_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    start = time.monotonic()
    with at_most(300 << 20), pytest.raises(InputError, match=MESSAGES[name]) as caught:
        load_network(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(("name", "content"), honest(), ids=[name for name, _ in honest()])
def test_honest_files_become_their_network(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    net = load_network(tmp_path / name)
    expected = tiny_weights()
    assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())
    assert not any(value.is_meta for value in net.state_dict().values())
    assert len({id(value) for value in net.parameters()}) == len(list(MPRNet(**TINY).parameters()))


def test_shapes_are_compared_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    build = MPRNet.from_config

    def watched(config: Any) -> MPRNet:
        net = build(config)
        devices.append(net.tail.weight.device.type)
        return net

    monkeypatch.setattr(MPRNet, "from_config", watched)
    wrong = {**tiny_weights(), "concat12.weight": torch.zeros(2, 2)}
    (tmp_path / "w.pth").write_bytes(torch_file(wrong))
    with pytest.raises(InputError, match=r"of another shape: concat12\.weight"):
        load_network(tmp_path / "w.pth")
    assert devices == ["meta"]


def test_prefixes_of_any_number(tmp_path: Path) -> None:
    prefixed = {f"_orig_mod.module.module.{key}": value for key, value in tiny_weights().items()}
    (tmp_path / "w.pth").write_bytes(torch_file(prefixed))
    load_into(MPRNet(**TINY), load_state_dict(tmp_path / "w.pth"), "w.pth")
