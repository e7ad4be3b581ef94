"""The manifest of a packed database: from what and how it was packed, and the hash of every value."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from mprnet_plugin.data.meta_info import META_NAME, is_plain_key
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import open_regular

__all__ = ["FORMAT", "MANIFEST_NAME", "Entry", "Manifest", "read_manifest"]

FORMAT = 1
MANIFEST_NAME = "manifest.json"

_HEAD_BYTES_MAX = 64 << 10
_BYTES_PER_LISTED = 16  # an entry is up to eight times as long as its line of meta_info.txt


def _plain(key: str) -> str:
    if not is_plain_key(key) or not key.isascii():
        raise ValueError(f"{key[:80]!r} is no key")
    return key


Size = Annotated[StrictInt, Field(ge=0, lt=1 << 48)]
Side = Annotated[StrictInt, Field(ge=1, lt=1 << 24)]
Text = Annotated[StrictStr, Field(max_length=1000)]


class Entry(NamedTuple):
    """What the manifest says of one value."""

    key: Annotated[StrictStr, AfterValidator(_plain)]
    bytes: Size
    shape: tuple[Side, Side, Side]
    sha256: Text


class StoredOptions(BaseModel):
    """What the manifest says of :class:`lmdb_tools.codec.PackOptions`."""

    model_config = ConfigDict(frozen=True)

    storage: Text
    patch: Size


class Manifest(BaseModel):
    """A manifest.

    Attributes:
        format: Which version of this description it follows.
        plan: Identifies sources and options; equal in the two databases of a split.
        layout: Which layout the sources had, in words.
        options: How they were stored.
        count: Number of values.
        bytes: Sum of their sizes.
        listed: One entry a value.
    """

    model_config = ConfigDict(frozen=True)

    format: Size
    plan: Text
    layout: Text
    options: StoredOptions
    count: Size
    bytes: Size
    listed: tuple[Entry, ...] = Field(alias="entries")

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The entries by key."""
        return {entry.key: entry for entry in self.listed}


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of a database.

    Raises:
        InputError: It is missing, too long, not JSON, of a format that this version does not know, holds other things
            than a manifest, or names something twice.
    """
    path = root / MANIFEST_NAME
    content = _load(path, _HEAD_BYTES_MAX + _BYTES_PER_LISTED * _size(root / META_NAME))
    found = content.get("format") if isinstance(content, dict) else None
    if type(found) is int and found != FORMAT:
        raise InputError(f"{path} has format {str(found)[:20]}, this version reads {FORMAT}; update mprnet-plugin")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{place or 'the whole'}: {first['msg']}") from None
    if len(manifest.entries) < len(manifest.listed):
        key, count = Counter(entry.key for entry in manifest.listed).most_common(1)[0]
        raise _damaged(path, f"it lists {key!r} {count} times")
    return manifest


def _load(path: Path, limit: int) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        with open_regular(path) as file:
            text = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; pack the database again") from error
    if len(text) > limit:
        raise _damaged(path, f"more than {limit} bytes, which {META_NAME} does not explain")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise _damaged(path, "nested too deeply") from None
    except ValueError as error:  # no JSON, no text, or a number of thousands of digits
        raise _damaged(path, str(error)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it says {name[:80]!r} twice")
    return result


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} is damaged ({what}); pack the database again with --overwrite")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
