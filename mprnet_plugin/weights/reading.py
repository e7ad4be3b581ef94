"""The content of a file of weights, read only after its header has been compared with the bytes that are there.

No file can run code: tensors and plain values are all that is read. Nor can it take more memory than it has bytes.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file

from mprnet_plugin.errors import InputError
from mprnet_plugin.files import open_regular
from mprnet_plugin.weights.paddle import load_pdparams
from mprnet_plugin.weights.pickles import BoundedUnpickler, Inert, RefusedError

__all__ = ["read_checkpoint"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
_LONGEST_SAFETENSORS_HEADER = 16 << 20
_MOST_RECORDS = 100_000
_DATA_OF_RUNNERS = (
    ("mmengine.logging.history_buffer", "HistoryBuffer"),
    *((module, "getattr") for module in ("builtins", "__builtin__")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(("numpy", name) for name in ("dtype", "ndarray")),
)
"""What mmengine's runner puts beside the weights: names, each read as an object that does nothing."""
_ITEM_SIZES = {
    **{"ComplexDouble": 16, "ComplexFloat": 8, "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2},
    **{"Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1},
}
"""Bytes of a number in each of torch's classes of storages, without their common ending."""


def read_checkpoint(path: Path) -> Mapping[Any, Any]:
    """Return the content of a ``.pth``, ``.safetensors`` or ``.pdparams`` file; its first bytes tell which it is.

    Raises:
        InputError: It is missing, unreadable, no regular file, cut short, none of these, or holds more than tensors and
            plain values.
    """
    try:
        with open_regular(path) as stream:
            head = stream.read(512)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the path of a .pth, .safetensors or .pdparams file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a readable file of weights") from error
    if head.startswith(b"PK") or (head.startswith(b"\x80") and _LEGACY_MAGIC in head[:32]):
        return _read_torch(path, head)
    if head[8:9] == b"{":
        return _read_safetensors(path, int.from_bytes(head[:8], "little"))
    if head.startswith(b"\x80"):
        return load_pdparams(path)
    if not head:
        found = "an empty file"
    elif head.lstrip()[:1] == b"<":
        found = "a web page (the download was not the file itself)"
    else:
        found = f"a file that starts with {head[:8]!r}"
    raise InputError(f"{path}: is {found}, expected weights as .pth, .safetensors or .pdparams; get the file again")


def _read_safetensors(path: Path, header: int) -> Mapping[Any, Any]:
    try:
        if header > _LONGEST_SAFETENSORS_HEADER:
            raise ValueError(f"a header of {header} bytes")
        return load_file(path)
    except Exception as error:  # its own errors for damage, KeyError for a type that torch has not
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: is a damaged safetensors file ({reason}); copy or download it again") from error


def _read_torch(path: Path, head: bytes) -> Mapping[Any, Any]:
    try:
        zipped = zipfile.is_zipfile(path)
        if head.startswith(b"PK") and not zipped:
            raise EOFError("a zip file's end is missing")
        with path.open("rb") as stream:
            _check_zip(stream, path) if zipped else _check_legacy(stream, path.stat().st_size)
        # Only zip files can be mapped; then an optimiser's state beside the weights is never read from the disk.
        with torch.serialization.safe_globals([(Inert, f"{module}.{name}") for module, name in _DATA_OF_RUNNERS]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (RefusedError, pickle.UnpicklingError) as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        why = str(error) if isinstance(error, RefusedError) else f"it names {name[1] if name else 'something else'}"
        raise InputError(
            f"{path}: refused, as a checkpoint is tensors and plain values alone but {why}; nothing of it ran: save "
            "its state_dict alone"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError and more for a damaged file
        raise InputError(
            f"{path}: is damaged, cut short or no PyTorch checkpoint ({type(error).__name__}); fetch it again"
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, expected a dictionary of name to tensor; save a state_dict"
        )
    return content


def _check_zip(stream: BinaryIO, path: Path) -> None:
    """Look over a ``torch.save`` file: its records lie in it as they are, and its tensors within its records."""
    with zipfile.ZipFile(stream) as archive:
        records = {record.filename: record for record in archive.infolist()}
        if len(records) != len(archive.filelist) or len(records) > _MOST_RECORDS:
            raise RefusedError(f"it has {len(archive.filelist)} records, {len(records)} of them by name")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records.values()):
        raise RefusedError("its records are compressed, which torch never does")
    if sum(record.file_size for record in records.values()) > path.stat().st_size:
        raise RefusedError("its records have more bytes than the file")
    pickles = [record for name, record in records.items() if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(pickles) != 1:
        raise ValueError("no data.pkl")  # some other zip file
    # Not through the archive, as torch can be told to write no check sums, which would be compared there.
    stream.seek(pickles[0].header_offset + 26)
    stream.seek(sum(struct.unpack("<HH", stream.read(4))), 1)
    folder = pickles[0].filename.removesuffix(".pkl")
    sizes = {name.removeprefix(f"{folder}/"): record.file_size for name, record in records.items()}
    _TorchOverview(stream, pickles[0].file_size, sizes, 0).load()


def _check_legacy(stream: BinaryIO, size: int) -> None:
    """Look over a file of torch before 1.6: three pickles about it, one with the content, then the tensors' bytes."""
    for _ in range(3):
        BoundedUnpickler(stream, size - stream.tell(), {}).load()
    _TorchOverview(stream, size - stream.tell(), {}, size).load()


class _StorageKind(Inert):
    """Stands for a class of storages, such as ``torch.FloatStorage``."""

    def __init__(self, item_size: int) -> None:
        self.item_size = item_size


class _Storage(Inert):
    """Stands for the numbers of a tensor."""

    def __init__(self, length: int) -> None:
        self.length = length


class _TorchOverview(BoundedUnpickler):
    """Goes through a checkpoint's pickle without building a tensor, and compares what they ask for with what is there.

    Args:
        stream: Where the pickle starts.
        size: Bytes of the pickle, at most.
        records: Bytes of each storage, by its key; those not in here share ``rest``.
        rest: Bytes for all other storages together.
    """

    def __init__(self, stream: BinaryIO, size: int, records: Mapping[str, int], rest: int) -> None:
        super().__init__(stream, size, _TORCH_NAMES)
        self._sizes, self._rest = dict(records), rest

    def persistent_load(self, pid: Any) -> Inert:  # noqa: ANN401 - as in the base class
        """Return what stands for a storage."""
        match pid:
            case ("storage", _StorageKind(item_size=item_size), str(key), _, int(length), *_) if length >= 0:
                needed = length * item_size
            case _:
                raise RefusedError("it refers to something else than a storage")
        if key not in self._sizes:
            self._sizes[key] = needed
            self._rest -= needed
        if needed > self._sizes[key] or self._rest < 0:
            raise EOFError(f"a storage of {needed} bytes has fewer in the file")
        return _Storage(length)


def _tensor(storage: object, offset: object, shape: object, strides: object, *_: object) -> Inert:
    """Check that a tensor lies within its storage, as torch would make a storage longer where it does not."""
    lengths = [offset, *shape, *strides] if isinstance(shape, tuple) and isinstance(strides, tuple) else [None]
    if not isinstance(storage, _Storage) or not all(type(length) is int and length >= 0 for length in lengths):
        raise RefusedError("it holds a tensor without storage, shape or strides")
    assert isinstance(shape, tuple) and isinstance(strides, tuple) and isinstance(offset, int)  # noqa: S101, PT018
    end = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) + 1
    if 0 not in shape and end > storage.length:
        raise RefusedError(f"a tensor of shape {shape} reaches beyond its {storage.length} numbers"[:200])
    return Inert()


_TORCH_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Inert,
    ("collections", "Counter"): Inert,
    ("builtins", "set"): Inert,
    ("__builtin__", "set"): Inert,
    ("torch", "Size"): Inert,
    ("torch", "device"): Inert,
    ("torch._utils", "_rebuild_parameter"): Inert,
    ("torch._utils", "_rebuild_parameter_with_state"): Inert,
    **{("torch._utils", f"_rebuild_tensor{version}"): _tensor for version in ("", "_v2", "_v3")},
    **{("torch", name): Inert for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    **dict.fromkeys(_DATA_OF_RUNNERS, Inert),
    ("torch.storage", "UntypedStorage"): _StorageKind(1),
    **{("torch", f"{name}Storage"): _StorageKind(size) for name, size in _ITEM_SIZES.items()},
}
"""What torch writes for dense tensors, a small part of what it would itself allow."""
