"""Files of weights that somebody made to do harm, and broken ones: any number, from a seed."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.weights.paddle import to_paddle
from tests.helpers import TINY, fill

Named = tuple[str, bytes]
HUGE = 2_700_000_000


def torch_file(content: object, zipped: bool = True) -> bytes:
    """Return what ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def tiny_weights() -> dict[str, Tensor]:
    """Return the weights of the smallest network; its results are near their inputs, so nothing is said of them."""
    weights = {key: value.clone() for key, value in fill(MPRNet(**TINY)).state_dict().items()}
    weights["tail.weight"] /= 1000
    return weights


def honest() -> list[Named]:
    """Return the same weights in each format."""
    weights = tiny_weights()
    paddle = to_paddle(weights)
    return [
        ("zip.pth", torch_file({"params": weights})),
        ("authors.pth", torch_file({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}})),
        ("legacy.pth", torch_file(weights, zipped=False)),
        ("plain.safetensors", save(weights)),
        ("two.pdparams", pickle.dumps(paddle, protocol=2)),
        ("four.pdparams", pickle.dumps(paddle, protocol=4)),
        ("five.pdparams", pickle.dumps(paddle, protocol=5)),
    ]


def zip_of(records: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def checkpoint(program: bytes, storage: bytes = bytes(16)) -> bytes:
    """Return a zip checkpoint with this pickle in it."""
    return zip_of({"a/data.pkl": program, "a/byteorder": b"little", "a/data/0": storage, "a/version": b"3\n"})


def text(value: str | bytes) -> bytes:
    """Return a pickle's step that makes a text."""
    content = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    """Return a pickle's step that makes a whole number."""
    content = value.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + content


def rebuilt(shape: tuple[int, ...], strides: tuple[int, ...], length: int, offset: int = 0) -> bytes:
    """Return the steps that make a tensor of float32 over storage 0, said to have this length."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(length) + b"tQ"
    sides = b"(" + b"".join(map(number, shape)) + b"t" + b"(" + b"".join(map(number, strides)) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sides + b"\x89}tR"


def entry(value: bytes, name: str = "tail.weight") -> bytes:
    """Return a pickle of a dictionary with one entry."""
    return b"\x80\x02}" + text(name) + value + b"s."


def torch_bombs() -> Iterator[Named]:
    """Yield small checkpoints that ask torch for much."""
    yield "long_storage.pth", checkpoint(entry(rebuilt((HUGE,), (1,), HUGE)))
    yield "beyond_storage.pth", checkpoint(entry(rebuilt((HUGE,), (1,), 4)))
    yield "no_strides.pth", checkpoint(entry(rebuilt((HUGE,), (0,), 4)))
    yield "offset.pth", checkpoint(entry(rebuilt((1,), (1,), 4, HUGE)))
    yield "negative.pth", checkpoint(entry(rebuilt((-5,), (1,), 4)))
    yield "negative_stride.pth", checkpoint(entry(rebuilt((2,), (-1,), 4)))
    yield "many_sides.pth", checkpoint(entry(rebuilt((1,) * 3000, (1,) * 3000, 4)))
    yield "endless_sides.pth", checkpoint(entry(rebuilt((1 << 62, 0, 3, 3), (1, 1, 1, 1), 4)))
    call = b"(" + number(HUGE * 4) + b"tR"
    for name in ("builtins\nbytearray", "torch\nFloatTensor", "torch\nFloatStorage", "torch\nTensor", "builtins\nlist"):
        yield f"{name.split()[1]}_call.pth", checkpoint(entry(f"c{name}\n".encode() + call))
    for name in (
        "_rebuild_qtensor",
        "_rebuild_sparse_tensor",
        "_rebuild_meta_tensor_no_storage",
        "_rebuild_nested_tensor",
    ):
        yield f"{name}.pth", checkpoint(entry(f"ctorch._utils\n{name}\n".encode() + call))
    yield "system.pth", checkpoint(entry(b"cos\nsystem\n(" + text("touch ran") + b"tR"))
    weights = tiny_weights()
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.complex64, torch.bool, torch.uint16):
        odd = {**weights, "tail.weight": torch.zeros(3, 12, 3, 3).to(dtype)}
        yield f"{str(dtype)[6:]}.pth", torch_file(odd)
        yield f"{str(dtype)[6:]}.safetensors", save(odd)
    yield "sparse.pth", torch_file({**weights, "tail.weight": torch.eye(3).to_sparse()})
    yield "meta.pth", torch_file({key: value.to("meta") for key, value in weights.items()})
    yield "expanded.pth", torch_file({key: torch.zeros(1).expand(value.shape) for key, value in weights.items()})
    wide = {key: torch.zeros(1).expand([4096 if side > 3 else side for side in v.shape]) for key, v in weights.items()}
    yield "wide.pth", torch_file(wide)
    yield "wide_legacy.pth", torch_file(wide, zipped=False)
    yield "one_for_all.pth", torch_file(dict.fromkeys(weights, torch.zeros(4000)))
    yield "not_finite.pth", torch_file({**weights, "tail.weight": torch.full((3, 12, 3, 3), torch.nan)})
    yield "deflated.pth", zip_of({"a/data.pkl": entry(b"N"), "a/data/0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    yield "nested_module.pth", torch_file({"module." * 200_000 + "a": torch.zeros(1)})
    yield "long_name.pth", torch_file({"a" * 2_000_000: "text"})
    yield "many_names.pth", torch_file({str(index): torch.zeros(1) for index in range(21_000)})
    marks = {f"{index}.CA.conv_du.0.weight": torch.zeros(index + 1, 2, 1, 1) for index in range(200)}
    yield "many_widths.pth", torch_file({**weights, **marks})


def pickle_bombs() -> Iterator[Named]:
    """Yield steps that take all time or memory, each for both of the formats that are pickles."""
    deep_tuple = b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(120))
    pair = b"(" + text("a") + b"h%c" + text("b") + b"h%c" + b"u"
    doubled = b"q\0" + b"".join(b"}q%c" % n + pair % (n - 1, n - 1) for n in range(1, 120))
    lists = b"".join(b"q" + bytes([n]) + b"]h%ca" % n + b"h%ca" % n for n in range(120))
    sums = b"".join(b"\x8a\x10" + (n * ((1 << 61) - 1)).to_bytes(16, "little") + b"N" for n in range(60_000))
    programs = {
        "tuple_key": b"}()" + deep_tuple + b"Ns.",
        "nested_dicts": b"}" + doubled + b".",
        "lists": b"}" + text("a") + b"]" + lists + b"s.",
        "same_hashes": b"}(" + sums + b"u.",
        "long4": b"}" + text("a") + b"\x8b\xff\xff\xff\x7f" + bytes(99),
        "text8": b"}" + b"\x8d" + struct.pack("<Q", 1 << 40) + b"a",
        "bytes8": b"}" + b"\x8e" + struct.pack("<Q", 1 << 40) + b"a",
        "bytes_most": b"}" + b"\x8e" + b"\xff" * 8 + b"a",
        "bytearray8": b"}" + b"\x96" + struct.pack("<Q", 1 << 34) + b"a",
        "frame": b"\x95" + struct.pack("<Q", 1 << 40) + b"}.",
        "marks": b"(" * 3_000_000,
        "dictionaries": b"}" * 3_000_000,
        "deep": b"]" * 200_000 + b"a" * 199_999 + b".",
        "memo": b"}r\xff\xff\xff\xff.",
        "copies": b"}" + b"2" * 100_000,
        "state_of_class": b"}ccollections\nOrderedDict\n}" + text("fromkeys") + b"Nsbs.",
        "empty_stack": b"0" * 9,
        "number": b"I" + b"9" * 100_000 + b"\n.",
        "persistent": b"Pabc\n.",
        "extension": b"\x82\x01.",
    }
    for name, program in programs.items():
        yield f"{name}.pdparams", b"\x80\x04" + program
        yield f"{name}.pth", checkpoint(b"\x80\x02" + program)


def paddle_bombs() -> Iterator[Named]:
    """Yield small files that ask numpy for much."""
    for core in ("core", "_core"):
        start = f"cnumpy.{core}.multiarray\n_reconstruct\n(cnumpy\nndarray\n".encode()
        kind = b"cnumpy\ndtype\n(" + text("f4") + b"\x89\x88tR"
        yield f"bomb_1e9{core}.pdparams", entry(start + b"(" + number(10**9) + b"tC\x01btR")
        empty = start + b"(K\0tC\x01btR"
        for name, shape, content in (
            ("more", number(10**9), b"C\x04abcd"),
            ("less", number(1), b"C\x08abcdabcd"),
            ("minus", number(-1), b"C\x04abcd"),
            ("zero", number(0) + number(10**12), b"C\x00"),
            ("words", text("a"), b"C\x04abcd"),
        ):
            state = b"(K\x01(" + shape + b"t" + kind + b"\x89" + content + b"tb"
            yield f"{name}{core}.pdparams", entry(empty + state)
    for name in ("V1000000000", "f4," * 50_000, "O", "S9999999", "U99999999"):
        yield f"kind_{name[:4]}.pdparams", entry(b"cnumpy\ndtype\n(" + text(name) + b"\x89\x88tR")
    yield "array_call.pdparams", entry(b"cnumpy\nndarray\n((" + number(10**10) + b"ttR")
    yield "load.pdparams", entry(b"cnumpy\nload\n(" + text("/etc/passwd") + b"tR")
    copies = b"".join(b"c_codecs\nencode\n(h\x01" + text("latin1") + b"tR0" for _ in range(20_000))
    yield "encoded.pdparams", b"\x80\x02}" + text("a" * 1_000_000) + b"q\x01" + copies.replace(b"R0", b"R") + b"."
    tuples = b"cbuiltins\ntuple\n(" + text("a" * 100_000) + b"q\x01tR" + b"cbuiltins\ntuple\n(h\x01tR" * 5000
    yield "tuples.pdparams", b"\x80\x02}" + tuples + b"."
    arrays = pickle.dumps({"a": to_paddle(tiny_weights())["tail.weight"]}, protocol=4)
    yield "array_of_all.pdparams", arrays
    shared: dict[str, Any] = to_paddle(tiny_weights())
    yield "under_many.pdparams", pickle.dumps({str(index): shared for index in range(3000)}, protocol=4)


def safetensors_of(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file with this header."""
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


def safetensors_bombs() -> Iterator[Named]:
    """Yield headers that do not fit their file."""
    for kind in ("F32", "F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "F8_E8M0", "C64", "BOOL", "X", "U64"):
        for name, shape, end in (("fits", [4], 4), ("long", [HUGE], HUGE * 4), ("none", [0, 1 << 60], 0)):
            header = {"tail.weight": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}
            yield f"{kind}_{name}.safetensors", safetensors_of(header, bytes(16))
    yield "header.safetensors", safetensors_of({}, length=1 << 60)
    yield "header_long.safetensors", safetensors_of({}, b" " * 99, length=(90 << 20))
    yield "deep.safetensors", struct.pack("<Q", 200_000) + b'{"a":' * 40_000
    yield "metadata.safetensors", safetensors_of({"__metadata__": {str(n): "x" for n in range(50_000)}})
    twice = {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("a", "b")}
    yield "twice.safetensors", safetensors_of(twice, bytes(16))


def mutated(random: Random) -> Iterator[Named]:
    """Yield honest files with something broken, without end."""
    files = honest()
    while True:
        name, content = random.choice(files)
        stem, suffix = name.split(".")
        result = bytearray(content)
        kind = random.randrange(4)
        if kind == 0:
            del result[random.randrange(len(result)) :]
        elif kind == 1:
            start = random.randrange(len(result))
            del result[start : start + random.randrange(1, 40)]
        else:
            within = len(result) if kind == 2 else min(3000, len(result))
            for _ in range(random.randrange(1, 12)):
                result[random.randrange(within)] = random.randrange(256)
        yield f"{stem}_{random.randrange(1 << 40):x}.{suffix}", bytes(result)


def hostile_weights(seed: int, count: int) -> Iterator[Named]:
    """Yield names and contents."""
    made = [*honest(), *torch_bombs(), *pickle_bombs(), *paddle_bombs(), *safetensors_bombs()]
    made += [("empty.pth", b""), ("page.pth", b"<html>"), ("zip.zip", b"PK\3\4"), ("other.pth", zip_of({"a": b"b"}))]
    yield from made
    endless = mutated(Random(seed))  # noqa: S311 - it has to be the same each time
    for _ in range(count - len(made)):
        yield next(endless)
