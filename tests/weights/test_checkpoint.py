from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model

from mprnet_plugin.archs.config import PRESETS, MPRNetConfig
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.weights.checkpoint import infer_config, load_into, load_state_dict
from mprnet_plugin.weights.paddle import NAME_TABLE, to_paddle
from tests.helpers import TASKS, TINY, fill, shapes


@pytest.fixture(scope="module")
def net() -> MPRNet:
    network = fill(MPRNet(**TINY))
    assert isinstance(network, MPRNet)
    return network


def write(net: MPRNet, kind: str, folder: Path) -> Path:
    weights = net.state_dict()
    path = folder / f"weights.{kind.split('-')[0]}"
    if kind == "pth-authors":
        prefixed = {f"module.{key}": value for key, value in weights.items()}
        optimizer = torch.optim.Adam(net.parameters())
        net.tail.weight.sum().backward()
        optimizer.step()
        torch.save({"epoch": 7, "state_dict": prefixed, "optimizer": optimizer.state_dict()}, path)
    elif kind == "pth-legacy":
        torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=False)
    elif kind == "pth-root":
        torch.save(weights, path)
    elif kind == "pth-host":
        torch.save({"params": {k: v + 1 for k, v in weights.items()}, "params_ema": weights}, path)
    elif kind == "safetensors":
        save_file({key: value.clone() for key, value in weights.items()}, path)
    elif kind == "safetensors-deduplicated":
        save_model(net, str(path))
    else:
        protocol = int(kind.split("-")[1])
        arrays: dict[str, Any] = {k: v.numpy() for k, v in weights.items()}
        arrays = {
            k.replace(".body.1.weight", ".body.1._weight") if v.shape == (1,) else k: v for k, v in arrays.items()
        }
        path.write_bytes(pickle.dumps({**arrays, NAME_TABLE: dict.fromkeys(arrays, "p_0")}, protocol=protocol))
    return path


KINDS = [
    "pth-authors",
    "pth-legacy",
    "pth-root",
    "pth-host",
    "safetensors",
    "safetensors-deduplicated",
    "pdparams-2",
    "pdparams-4",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_weights(kind: str, tmp_path: Path) -> None:
    net = MPRNet(**TINY)
    path = write(net, kind, tmp_path)
    loaded = load_state_dict(path)
    own = net.state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[key], own[key]) for key in own)
    slopes = {id(value) for value in loaded.values() if value.shape == (1,)}
    assert len(slopes) == 1


@pytest.mark.parametrize("prefix", ["generator.", "module.generator.", "net_g."])
def test_a_prefix_of_all_names_is_taken_off(prefix: str, net: MPRNet, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {f"{prefix}{key}": value for key, value in net.state_dict().items()}}, path)
    assert load_state_dict(path).keys() == net.state_dict().keys()
    some = {(prefix if key != "tail.weight" else "") + key: value for key, value in net.state_dict().items()}
    torch.save({"state_dict": some}, path)
    with pytest.raises(InputError):
        infer_config(load_state_dict(path))


def test_what_mmengine_puts_beside_weights_is_data(net: MPRNet, tmp_path: Path) -> None:
    """As its released runner writes it, without our hook."""
    logging = pytest.importorskip("mmengine.logging")
    history = logging.HistoryBuffer([0.5, 0.25], [1, 1])
    hub = {"log_scalars": {"train/loss": history}, "runtime_info": {"iter": np.int64(3)}, "resumed_keys": {}}
    path = tmp_path / "w.pth"
    torch.save({"meta": {"seed": np.float64(1)}, "state_dict": net.state_dict(), "message_hub": hub}, path)
    read = load_state_dict(path)
    assert all(torch.equal(read[key], value) for key, value in net.state_dict().items())


def test_loading_keeps_the_network_tied(net: MPRNet, tmp_path: Path) -> None:
    target = MPRNet(**TINY)
    before = len(list(target.parameters()))
    load_into(target, load_state_dict(write(net, "safetensors", tmp_path)), "file")
    assert len(list(target.parameters())) == before
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in target.state_dict().items())


def test_param_key_chooses_and_is_checked(net: MPRNet, tmp_path: Path) -> None:
    path = write(net, "pth-host", tmp_path)
    key = "tail.weight"
    assert torch.equal(load_state_dict(path, "params")[key], net.state_dict()[key] + 1)
    assert torch.equal(load_state_dict(path)[key], net.state_dict()[key])
    with pytest.raises(InputError, match="no weights under 'param'; did you mean 'params'"):
        load_state_dict(path, "param")
    root = write(net, "pth-root", tmp_path)
    with pytest.raises(InputError, match="lie at the top"):
        load_state_dict(root, "params")


@pytest.mark.parametrize("task", TASKS)
def test_presets_are_inferred_from_published_shapes(task: str) -> None:
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes(task).items()}
    config = infer_config(weights)
    assert config.task == task
    assert config.describe().startswith(f"{task} (n_feat={PRESETS[task]['n_feat']},")
    assert config == MPRNetConfig.read(PRESETS[task])


@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 6, "num_cab": 3, "kernel_size": 5, "bias": True},
        {
            "in_c": 1,
            "out_c": 1,
            "n_feat": 12,
            "scale_unetfeats": 7,
            "scale_orsnetfeats": 5,
            "num_cab": 1,
            "reduction": 3,
        },
        {
            "in_c": 4,
            "out_c": 3,
            "n_feat": 16,
            "scale_unetfeats": 8,
            "scale_orsnetfeats": 8,
            "num_cab": 2,
            "reduction": 8,
        },
    ],
)
def test_every_hyperparameter_is_inferred(kwargs: dict[str, Any]) -> None:
    config = infer_config(MPRNet(**kwargs).state_dict())
    assert config == MPRNetConfig(**kwargs)
    assert config.task is None


def test_differing_prelu_is_refused(net: MPRNet, tmp_path: Path) -> None:
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    weights["stage1_decoder.skip_attn1.body.1.weight"] += 1
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"PReLU entries .*skip_attn1.*differ"):
        load_state_dict(tmp_path / "w.pth")


def test_mismatch_names_both_networks(net: MPRNet) -> None:
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes("Deraining").items()}
    with torch.device("meta"):
        other = MPRNet(**PRESETS["Denoising"])
    with pytest.raises(
        InputError, match=r"is a Deraining checkpoint \(n_feat=40, .*the network is Denoising \(n_feat=80"
    ):
        load_into(other, weights, "x.pth")


def test_mismatch_lists_grouped_keys(net: MPRNet) -> None:
    weights = net.state_dict()
    for key in [key for key in weights if key.startswith("stage2_encoder.csff")]:
        del weights[key]
    weights["extra.weight"] = torch.zeros(1)
    weights["concat12.weight"] = torch.zeros(2, 2)
    with pytest.raises(InputError) as caught:
        load_into(net, weights, "x.pth")
    message = str(caught.value)
    assert "missing: stage2_encoder.csff_dec1.weight and 5 more" in message
    assert "unexpected: extra.weight" in message
    assert "of another shape: concat12.weight" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "value",
    [torch.zeros(3, dtype=torch.int8), torch.zeros(3, dtype=torch.complex64), torch.zeros(3).to(torch.float8_e5m2)],
    ids=["int8", "complex", "float8"],
)
def test_what_no_network_holds_is_refused(value: torch.Tensor, net: MPRNet, tmp_path: Path) -> None:
    torch.save({"params": {**net.state_dict(), "tail.weight": value}}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"entry 'tail\.weight' is torch\..* expected floating point"):
        load_state_dict(tmp_path / "w.pth")


def test_impossible_widths_are_named(net: MPRNet) -> None:
    weights = net.state_dict()
    weights["stage1_encoder.down12.down.1.weight"] = torch.zeros(1, 8, 1, 1)
    with pytest.raises(InputError, match="shapes fit no MPRNet"):
        infer_config(weights)


def test_a_pickle_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["inner"] = content
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(InputError, match=r"holds no tensors by name \(found inner\)"):
        load_state_dict(tmp_path / "w.pdparams")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_paddle_can_write(protocol: int, net: MPRNet, tmp_path: Path) -> None:
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(to_paddle(net.state_dict()), protocol=protocol))
    loaded = load_state_dict(tmp_path / "w.pdparams")
    assert all(torch.equal(value, loaded[key]) for key, value in net.state_dict().items())


def test_weights_that_are_not_finite_are_refused(net: MPRNet) -> None:
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    weights["tail.weight"][0, 0, 0, 0] = float("nan")
    before = net.tail.weight.clone()
    with pytest.raises(InputError, match=r"'tail\.weight' has values that are not finite"):
        load_into(net, weights, "x.pth")
    assert torch.equal(net.tail.weight, before)


class Malicious:
    """Writes a file when a trusting unpickler reads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_malicious_files_run_nothing(net: MPRNet, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    evil = {"tail.weight": np.zeros(3, np.float32), "x": Malicious(mark)}
    for protocol in (0, 2, 4):
        path = tmp_path / f"{protocol}.pdparams"
        path.write_bytes(pickle.dumps(evil, protocol=protocol))
        with pytest.raises(InputError, match=r"refused|expected weights"):
            load_state_dict(path)
    for zipped in (True, False):
        torch.save(
            {"state_dict": net.state_dict(), "x": Malicious(mark)},
            tmp_path / "evil.pth",
            _use_new_zipfile_serialization=zipped,
        )
        with pytest.raises(InputError, match="refused"):
            load_state_dict(tmp_path / "evil.pth")
    assert not mark.exists()
    with (tmp_path / "2.pdparams").open("rb") as stream:  # the file does what it says when it is trusted
        pickle.load(stream)  # noqa: S301
    assert mark.exists()


GLOBALS = [b"cbuiltins\neval\n", b"cnumpy\nload\n", b"cnumpy.core.multiarray\nscalar\n", b"cbuiltins\ngetattr\n"]


@pytest.mark.parametrize("name", GLOBALS)
def test_only_listed_names_are_looked_up(name: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pdparams").write_bytes(b"\x80\x02}" + b"X\x01\x00\x00\x00a" + name + b"s.")
    with pytest.raises(InputError, match="it names"):
        load_state_dict(tmp_path / "x.pdparams")


def test_other_codecs_are_refused(tmp_path: Path) -> None:
    body = b"\x80\x02}X\x01\x00\x00\x00ac_codecs\nencode\nX\x01\x00\x00\x00bX\x03\x00\x00\x00zip\x86Rs."
    (tmp_path / "x.pdparams").write_bytes(body)
    with pytest.raises(InputError, match="encoding 'zip'"):
        load_state_dict(tmp_path / "x.pdparams")


def zip_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")


def short_safetensors(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"12")


TRAINING_STATE = {"epoch": 1, "iter": 2, "optimizers": [], "schedulers": []}
DAMAGED: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
    (Path.touch, "is an empty file"),
    (lambda path: path.write_text("hello"), "starts with b'hello'"),
    (zip_of_text, "no PyTorch checkpoint"),
    (lambda path: torch.save(torch.zeros(3), path), "holds a Tensor"),
    (lambda path: torch.save(TRAINING_STATE, path), "found epoch, iter, optimizers, schedulers.*training state"),
    (short_safetensors, "damaged safetensors"),
    (lambda path: path.write_bytes(pickle.dumps([1, 2], protocol=4)), "holds a list"),
    (lambda path: torch.save({"params": {"a": torch.zeros(2), "b": "text"}}, path), "entry 'b' is a str"),
    (Path.mkdir, "cannot be read"),
    (lambda path: None, "no such file"),
]


@pytest.mark.parametrize(("make", "message"), DAMAGED, ids=[message for _, message in DAMAGED])
def test_what_is_no_checkpoint_is_named(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        load_state_dict(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = write(MPRNet(**TINY), kind, tmp_path)
    content = path.read_bytes()
    for size in (20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"damaged|cut short|starts with") as caught:
            load_state_dict(path)
        assert "\n" not in str(caught.value)


def test_another_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"not the weights of an MPRNet: no shallow_feat1\.0\.weight \(found 0\.weight"
    ):
        infer_config(torch.nn.Sequential(torch.nn.Linear(2, 2)).state_dict())
    with pytest.raises(InputError, match="do not fit the network"):
        load_into(MPRNet(**TINY), torch.nn.Linear(2, 2).state_dict(), "x.pth")
