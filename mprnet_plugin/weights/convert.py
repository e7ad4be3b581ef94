"""Write weights in the form that another program reads."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save
from torch import Tensor

from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.files import whole_file
from mprnet_plugin.weights.checkpoint import infer_config, load_state_dict, tie_prelu
from mprnet_plugin.weights.paddle import to_paddle

__all__ = ["WEIGHT_FORMATS", "Format", "convert", "format_of", "save_weights"]

Format = Literal["host", "authors", "safetensors", "pdparams"]
WEIGHT_FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIXES: dict[str, Format] = {".pth": "host", ".pt": "host", ".safetensors": "safetensors", ".pdparams": "pdparams"}


def format_of(path: Path, name: str | None = None) -> Format:
    """Return the named format, or the one that a file name's suffix means.

    Raises:
        InputError: Neither is known.
    """
    known: dict[str, Format] = {form: form for form in WEIGHT_FORMATS} if name is not None else _SUFFIXES
    wanted = path.suffix.lower() if name is None else name
    if wanted not in known:
        what = f"format {name!r}" if name is not None else f"{path}: suffix {path.suffix!r}"
        raise InputError(f"{what} is not a known kind of weights; {nearest(wanted, known)}")
    return known[wanted]


def save_weights(state_dict: Mapping[str, Tensor], path: Path, form: Format | None = None) -> None:
    """Write an MPRNet's weights, whole or not at all.

    Args:
        state_dict: Weights by name.
        path: File to write; its folder is made where it is missing.
        form: ``host`` (``{"params": ...}``), ``authors`` (``{"epoch", "state_dict", "optimizer"}``), ``safetensors`` or
            ``pdparams``; None goes by the suffix, where ``.pth`` means ``host``.

    Raises:
        InputError: An unknown suffix, or the file cannot be written.
    """
    content = _encode(state_dict, form or format_of(path))
    with whole_file(path) as part:
        part.write_bytes(content)


def _encode(state_dict: Mapping[str, Tensor], form: Format) -> bytes:
    weights = {key: value.detach().cpu().contiguous() for key, value in state_dict.items()}
    if form == "safetensors":
        # Every name gets its own copy: readers such as spandrel ask for all of them, and the format shares nothing.
        copies = {key: value.clone() for key, value in weights.items()}
        return save(copies, {"format": "pt", "network": f"MPRNet {infer_config(weights).describe()}"})
    if form == "pdparams":
        return pickle.dumps(to_paddle(weights), protocol=4)
    # In memory first, as torch turns a full disk into errors of its own.
    buffer = io.BytesIO()
    torch.save(_torch_layout(weights, form), buffer)
    return buffer.getvalue()


def _torch_layout(weights: dict[str, Tensor], form: Format) -> dict[str, object]:
    if form == "authors":
        return {"epoch": 0, "state_dict": weights, "optimizer": {}}
    return {"params": weights}


def convert(
    source: Path, target: Path, form: Format | None = None, param_key: str | None = None, half: bool = False
) -> str:
    """Convert a checkpoint and compare every tensor of the result, read back, with the source.

    Args:
        source: Any file that :func:`~mprnet_plugin.weights.checkpoint.load_state_dict` reads.
        target: File to write.
        form: As in :func:`save_weights`.
        param_key: Which entry of a host checkpoint to take.
        half: Write numbers of 16 bits, rounded to nearest, which halves the file; everything reads them as before.

    Returns:
        What the network is, in words.

    Raises:
        InputError: A file is bad, or what was read back differs; then no target is left behind.
    """
    form = form or format_of(target)
    weights = load_state_dict(source, param_key)
    name = infer_config(weights).describe()
    if half:
        weights = tie_prelu({key: value.half() for key, value in weights.items()}, str(source))
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise InputError(f"{source}: has weights beyond 65,504, the largest number of 16 bits: leave out --half")
    # Checked before it gets its name, so an older target survives a failure.
    with whole_file(target) as part:
        part.write_bytes(_encode(weights, form))
        written = load_state_dict(part)
        wrong = written.keys() ^ weights.keys()
        wrong |= {key for key, value in weights.items() if key in written and not _identical(value, written[key])}
        if wrong:
            raise InputError(
                f"{target}: {len(wrong)} tensors came back changed, such as {min(wrong)}; nothing was written"
            )
    return name


def _identical(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and torch.equal(first, second)
