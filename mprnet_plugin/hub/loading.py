"""Where a network comes from: a folder, a file, a name of ours, or a repository of the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.hub.folders import read_folder, read_network
from mprnet_plugin.typed_options import shorten
from mprnet_plugin.weights.choice import PREFIX, find_file

__all__ = ["Request", "load"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)


@dataclass(frozen=True)
class Request:
    """What of a source is wanted; the fields are ``MPRNet.from_pretrained``'s."""

    filename: str | None = None
    param_key: str | None = None
    revision: str | None = None
    cache_dir: Path | None = None
    force_download: bool = False
    local_files_only: bool = False
    token: str | bool | None = field(default=None, repr=False)


def load(cls: type[MPRNet], source: str | PathLike[str], request: Request) -> MPRNet:
    """Return the network that a folder, file, name of ours or repository holds; see ``MPRNet.from_pretrained``.

    A folder that is there goes before a repository of that name.

    Raises:
        InputError: See there.
    """
    name = fspath(source)
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{shorten(source)} must be a folder, a file of weights or a repository such as user/name")
    path = find_file(name)
    if path.is_dir():
        return read_folder(cls, path, request.filename, request.param_key)
    if path.exists() or name.startswith(PREFIX):
        if request.filename is not None:
            raise InputError(
                f"{name}: is a file; leave filename={request.filename!r} out, which chooses one of a folder"
            )
        return read_network(cls, path, None, request.param_key)
    if not _REPOSITORY.fullmatch(name):
        raise InputError(
            f"{shorten(name)}: no such folder or file, and no repository's name, such as user/name; check the path"
        )
    try:
        from mprnet_plugin.hub.remote import fetch  # here, as only this needs huggingface_hub
    except InputError as error:
        raise InputError(f"{name}: no such folder here, and {error}") from error
    weights, config = fetch(name, request)
    return read_network(cls, weights, config, request.param_key)
