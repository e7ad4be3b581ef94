"""PaddleGAN's ``.pdparams`` files, read without paddle and without trusting them.

``paddle.save`` pickles a dictionary of name to numpy array (protocol 2 and up), with one more entry,
``StructuredToParameterName@@``, that maps names to Paddle's internal ones. A tensor inside a nested dictionary is
pickled as the pair (internal name, array). Layout facts: python/paddle/framework/io.py of Paddle 2.x and 3.x.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprnet_plugin.errors import InputError
from mprnet_plugin.weights.pickles import BoundedUnpickler, Inert, RefusedError

__all__ = ["NAME_TABLE", "load_pdparams", "to_paddle"]

NAME_TABLE = "StructuredToParameterName@@"
"""Paddle's own entry beside the arrays."""
_MOST_SIDES = 8


_KINDS = frozenset({"f2", "f4", "f8", *(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)), "b1"})


class _Kind(Inert):
    """Stands for ``numpy.dtype``."""

    def __init__(self, name: str, *_: object) -> None:
        if name not in _KINDS:
            raise RefusedError(f"it names the type {name!r}"[:200])
        self.dtype = np.dtype(name)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order in ("<", ">", "="):
            self.dtype = self.dtype.newbyteorder(order)


class _Array(Inert):
    """Stands for an array: made empty, then given shape, type and bytes, which must agree."""

    tensor: Tensor

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("it holds an array of another kind")
        _, shape, kind, fortran, content = state
        self.fill(content, kind, shape, "F" if fortran else "C")

    def fill(self, content: object, kind: object, shape: object, order: object) -> None:
        """Take the array's content.

        Raises:
            RefusedError: Shape and type ask for other than the bytes that are there.
        """
        content = content.encode("latin1") if isinstance(content, str) else content  # as Python 2 wrote bytes
        sides = shape if isinstance(shape, tuple) and len(shape) <= _MOST_SIDES else (None,)
        if not isinstance(kind, _Kind) or not isinstance(content, (bytes, bytearray)) or order not in ("C", "F"):
            raise RefusedError("it holds an array of another kind")
        if not all(type(side) is int and side >= 0 for side in sides):
            raise RefusedError("it holds an array without a shape")
        if math.prod(sides) * kind.dtype.itemsize != len(content):
            raise RefusedError(f"an array of shape {sides} and type {kind.dtype} comes with {len(content)} bytes"[:200])
        array = np.frombuffer(content, kind.dtype).reshape(sides, order=order)
        # A copy, as torch takes neither foreign byte orders nor memory that is only read.
        self.tensor = torch.from_numpy(array.astype(kind.dtype.newbyteorder("="), order="C", copy=True))


def _reconstruct(_: object, shape: object, __: object) -> _Array:
    if shape != (0,):  # numpy would make room for it
        raise RefusedError("it makes an array before its content")
    return _Array()


def _from_buffer(content: object, kind: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.fill(content, kind, shape, order)
    return array


def _pair(values: object) -> tuple[Any, ...]:
    """Stand in for ``tuple``, by which Paddle pickles the internal name and the array of a nested tensor."""
    if not isinstance(values, tuple) or len(values) != 2:
        raise RefusedError("it names tuple for something else than a name and an array")
    return values


def _ordered(*values: object) -> OrderedDict[Any, Any]:
    if values:
        raise RefusedError("it fills a dictionary from a list")
    return OrderedDict()


_NAMES: dict[tuple[str, str], Any] = {
    # The modules that these are in moved between numpy 1 and 2.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("collections", "OrderedDict"): _ordered,
    ("builtins", "tuple"): _pair,
    ("__builtin__", "tuple"): _pair,
}


def load_pdparams(path: Path) -> Mapping[str, Any]:
    """Read the dictionary of a ``.pdparams`` file, its arrays and those of the dictionaries in it as tensors.

    Args:
        path: A pickle as ``paddle.save`` writes it.

    Returns:
        Names to tensors (or dictionaries of them), with PReLU's ``_weight`` renamed ``weight`` as in PyTorch;
        convolution weights have the same order in both.

    Raises:
        InputError: It holds anything but arrays and plain containers (nothing of it is run), or is cut short.
    """
    with path.open("rb") as stream:
        try:
            content = BoundedUnpickler(stream, path.stat().st_size, _NAMES).load()
        except RefusedError as error:
            raise InputError(
                f"{path}: refused, as weights are arrays alone but {error}; nothing of it ran: do not trust this file"
            ) from error
        except Exception as error:  # a damaged pickle can raise nearly anything
            raise InputError(
                f"{path}: is cut short or damaged ({type(error).__name__}); copy or download it again"
            ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, expected a dictionary of name to array; give a file of weights"
        )
    # One dictionary may lie under many names, and is turned into tensors once.
    inner = {id(value): _tensors(value) for value in content.values() if isinstance(value, Mapping)}
    return {key: inner.get(id(value), value) for key, value in _tensors(content).items()}


def _tensors(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a dictionary with its arrays as tensors, what else it holds as it is."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        if key == NAME_TABLE:
            continue
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], _Array):
            value = value[1]
        name = str(key)
        name = f"{name[: -len('_weight')]}weight" if name.endswith("._weight") else name
        result[name] = getattr(value, "tensor", value) if isinstance(value, _Array) else value
    return result


def to_paddle(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what ``pickle.dump(..., protocol=4)`` turns into a ``.pdparams`` that ``paddle.load`` reads.

    Args:
        state_dict: An MPRNet's weights; entries of shape (1,) are PReLU slopes, which Paddle calls ``_weight``.
    """
    arrays: dict[str, Any] = {}
    for key, value in state_dict.items():
        slope = key.endswith(".body.1.weight") and value.shape == (1,)
        arrays[f"{key[: -len('weight')]}_weight" if slope else key] = value.detach().cpu().numpy()
    return arrays
