"""PaddleGAN's ``.pdparams`` files, read without paddle and without trusting them.

``paddle.save`` pickles a dictionary of name to numpy array (protocol 2 and up), with one more entry,
``StructuredToParameterName@@``, that maps names to Paddle's internal ones. A tensor inside a nested dictionary is
pickled as the pair (internal name, array). Layout facts: python/paddle/framework/io.py of Paddle 2.x and 3.x.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprnet_plugin.errors import InputError

__all__ = ["NAME_TABLE", "load_pdparams", "to_paddle"]

NAME_TABLE = "StructuredToParameterName@@"
"""Paddle's own entry beside the arrays."""


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, through which protocol 2 writes bytes, for the one encoding it uses."""
    if encoding != "latin1":
        raise _RefusedError(f"it names encoding {encoding!r}")
    return text.encode("latin1")


# `_reconstruct` is taken from what numpy itself would write, as its module moved between numpy 1 and 2.
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
# And so is what protocol 5 names: the memory of an array as bytes, its type, shape and order.
_FROM_BUFFER = np.zeros(0).__reduce_ex__(5)[0]
_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
    ("_codecs", "encode"): _latin1,
}


class _RefusedError(pickle.UnpicklingError):
    """A pickle names something that weights do not need."""


class _ArraysOnly(pickle.Unpickler):
    """Unpickler that knows numpy arrays and plain containers, and refuses every other name before importing it."""

    def find_class(self, module: str, name: str) -> object:
        """Return an allowed object; raise for anything else."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _RefusedError(f"it names {module}.{name}") from None


def load_pdparams(path: Path) -> Mapping[str, Any]:
    """Read the dictionary of a ``.pdparams`` file, its arrays as tensors, nested dictionaries kept.

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
            content = _ArraysOnly(stream, encoding="latin1").load()
        except _RefusedError as error:
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
    try:
        return _tensors(content)
    except RecursionError:
        raise InputError(f"{path}: is a dictionary that holds itself, expected name to array; get it anew") from None


def _tensors(content: Mapping[Any, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in content.items():
        if key == NAME_TABLE:
            continue
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
            value = value[1]
        if isinstance(value, Mapping):
            value = _tensors(value)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype.itemsize <= 8:
            # ascontiguousarray alone would keep a read-only or foreign-endian array, which torch does not take.
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C", copy=True))
        name = str(key)
        result[f"{name[: -len('_weight')]}weight" if name.endswith("._weight") else name] = value
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
