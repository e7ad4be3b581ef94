"""MATLAB's files, version 5 to 7.3: arrays in MATLAB's order of axes. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError, nearest

__all__ = ["load_mat", "open_hdf5"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512
"""Bytes that MATLAB writes before the HDF5 part of a version 7.3 file."""


def load_mat(path: str | Path, variable: str | None = None) -> NDArray[Any]:
    """Read one numeric array of a ``.mat`` file of version 5 to 7.3, axes in MATLAB's order.

    Args:
        path: The file.
        variable: The array's name; without it the file must hold exactly one variable.

    Raises:
        InputError: No such file, not a ``.mat`` file, damaged, or no such variable.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(USER_BLOCK + len(HDF5_SIGNATURE))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): give a .mat file") from error
    try:
        if HDF5_SIGNATURE in (head[: len(HDF5_SIGNATURE)], head[USER_BLOCK:]):
            return _load_hdf5(path, variable)
        if head[126:128] in (b"IM", b"MI"):  # byte order mark at the end of the version 5 header
            return _load_v5(path, variable)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # scipy and h5py raise many types on damaged files
        raise InputError(f"{path}: is damaged ({error}): fetch the file again") from error
    raise InputError(f"{path}: is not a .mat file of version 5 to 7.3: save it with MATLAB's save or scipy.io.savemat")


def _load_v5(path: Path, variable: str | None) -> NDArray[Any]:
    from scipy import io

    name = _choose(path, variable, (name for name, _, _ in io.whosmat(path)))
    array: NDArray[Any] = io.loadmat(path, variable_names=[name])[name]
    return array


def _load_hdf5(path: Path, variable: str | None) -> NDArray[Any]:
    with open_hdf5(path) as file:
        arrays = [name for name, item in file.items() if hasattr(item, "shape")]  # groups have none
        array: NDArray[Any] = file[_choose(path, variable, arrays)][()]
    # HDF5 is row-major, MATLAB column-major: the same bytes with the axes reversed.
    return np.ascontiguousarray(array.T)


def _choose(path: Path, variable: str | None, names: Iterable[str]) -> str:
    """Return the variable to read out of a file that holds ``names``."""
    known = sorted(names)
    if variable is None and len(known) == 1:
        return known[0]
    if variable is None:
        raise InputError(f"{path}: holds {len(known)} variables ({', '.join(known)}), expected one: name it")
    if variable not in known:
        raise InputError(f"{path}: has no variable {variable!r}: {nearest(variable, known)}")
    return variable


@contextmanager
def open_hdf5(path: Path, what: str = "a .mat file") -> Iterator[Any]:
    """Open a file of version 7.3 to read parts of its arrays; what goes wrong inside of the block is said of the file.

    Args:
        path: The file.
        what: What it should be, for messages.

    Raises:
        InputError: h5py is not installed, no such file, or it lacks what the block asks for.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: a .mat file of version 7.3 needs h5py: pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: give the path of a .mat file") from error
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged, or not {what} ({error}): fetch the file again") from error
