"""Pickles read within bounds: only the steps, names and keys that weights need, as many as weights need.

Refusing foreign names keeps a pickle from running code, yet a few bytes of harmless steps can still build what takes
all memory, or a key whose hash takes years. Here every step is counted, nothing longer than the file is read, and
only plain values are keys.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

__all__ = ["BoundedUnpickler", "Inert", "RefusedError"]

_MOST_STEPS = 1_000_000
"""The largest published checkpoint, with its optimiser's state, takes about a tenth."""
_KEYS = (str, int, float, bool, bytes, type(None))
_LARGEST_KEY = 1 << 32
_LONGEST_LINE = 1000
"""Lines hold nothing but names."""
_STEPS = {
    getattr(pickle, name)[0]
    for name in (
        *("PROTO", "FRAME", "MARK", "STOP", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS"),
        *("BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    )
}
"""What paddle and torch write; left out are numbers of any length, copies of the stack, and pickle's older forms."""


class RefusedError(pickle.UnpicklingError):
    """A pickle holds something that weights do not need; the text says what."""


class Inert:
    """Stands for an object that a pickle builds: takes what is done to it and does nothing."""

    def __init__(self, *values: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass


class BoundedUnpickler(pickle._Unpickler):
    """Python's own unpickler, in Python, with every step looked at before it is taken.

    Args:
        stream: Where the pickle starts.
        size: Bytes that the stream may still have; nothing longer is read.
        names: What a pickle may name, and what stands for it.
    """

    def __init__(self, stream: BinaryIO, size: int, names: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(_Remaining(stream, size), encoding="latin1")
        self.dispatch = _Steps(pickle._Unpickler.dispatch)  # type: ignore[misc, assignment]
        self._names = names
        self._unread_text = size

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in the base class
        """Return what stands for a name; nothing is imported."""
        if (module, name) == ("_codecs", "encode"):
            return self._latin1
        try:
            return self._names[module, name]
        except KeyError:
            raise RefusedError(f"it names {module}.{name}"[:200]) from None

    def _latin1(self, text: str, encoding: str) -> bytes:
        """Stand in for ``_codecs.encode``, through which protocol 2 writes bytes, for the one encoding it uses."""
        if encoding != "latin1":
            raise RefusedError(f"it names encoding {encoding!r}"[:200])
        self._unread_text -= len(text)
        if self._unread_text < 0:
            raise RefusedError("it copies one text over and over")
        return text.encode("latin1")


class _Remaining:
    """What is left of a file: asking for more than that is refused before room is made for it."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self._left:
            raise EOFError(f"{count} bytes are asked for and {self._left} are left")
        self._left -= count
        return self._stream.read(count)

    def readline(self) -> bytes:
        line = self._stream.readline(_LONGEST_LINE)
        self._left -= len(line)
        return line


class _Steps:
    """The unpickler's table of steps, with a count of how often it was asked."""

    def __init__(self, table: Mapping[int, Callable[[Any], None]]) -> None:
        self._table = {code: step for code, step in table.items() if code in _STEPS} | _CHECKED_STEPS
        self._left = _MOST_STEPS

    def __getitem__(self, code: int) -> Callable[[Any], None]:
        self._left -= 1
        if self._left < 0:
            raise RefusedError(f"it takes more than {_MOST_STEPS} steps to build")
        try:
            return self._table[code]
        except KeyError:
            raise RefusedError(f"it takes the step {bytes([code])!r}") from None


# The unpickler's own state has no types.
def _set_item(unpickler: Any) -> None:  # noqa: ANN401
    _check_keys(unpickler.stack[-2:-1])
    pickle._Unpickler.load_setitem(unpickler)  # type: ignore[attr-defined]


def _set_items(unpickler: Any) -> None:  # noqa: ANN401
    _check_keys(unpickler.stack[::2])
    pickle._Unpickler.load_setitems(unpickler)  # type: ignore[attr-defined]


def _add_items(unpickler: Any) -> None:  # noqa: ANN401
    _check_keys(unpickler.stack)
    pickle._Unpickler.load_additems(unpickler)  # type: ignore[attr-defined]


def _build(unpickler: Any) -> None:  # noqa: ANN401
    """Give an object its state; only those that stand for one have any."""
    state = unpickler.stack.pop()
    target = unpickler.stack[-1]
    if isinstance(target, Inert):
        target.__setstate__(state)
    elif not isinstance(target, OrderedDict):  # whose attributes are of no use here
        raise RefusedError(f"it gives a state to a {type(target).__name__}")


def _byte_array(unpickler: Any) -> None:  # noqa: ANN401
    # The base class makes room for as many bytes as are announced before it reads the first.
    unpickler.append(bytearray(unpickler.read(int.from_bytes(unpickler.read(8), "little"))))


_CHECKED_STEPS: dict[int, Callable[[Any], None]] = {
    pickle.SETITEM[0]: _set_item,
    pickle.SETITEMS[0]: _set_items,
    pickle.ADDITEMS[0]: _add_items,
    pickle.BUILD[0]: _build,
    pickle.BYTEARRAY8[0]: _byte_array,
}


def _check_keys(keys: list[object]) -> None:
    """Refuse keys whose hashes take endless time (tuples of tuples) or can be made alike (numbers of any length)."""
    for key in keys:
        if not isinstance(key, _KEYS) or (isinstance(key, int) and abs(key) > _LARGEST_KEY):
            raise RefusedError(f"it has a key of type {type(key).__name__}, which is no text or small number")
