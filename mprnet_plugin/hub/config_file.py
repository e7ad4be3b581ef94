"""``config.json``: MPRNet's arguments, and whether it pools locally; what it leaves out, the weights' shapes tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mprnet_plugin.archs.config import MPRNetConfig
from mprnet_plugin.archs.local_pooling import MPRNetLocal, pooling_sizes, use_local_pooling
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import open_regular
from mprnet_plugin.typed_options import shorten

__all__ = ["CONFIG_NAME", "FolderConfig", "config_text", "read_config"]

CONFIG_NAME = "config.json"
_LONGEST = 1 << 16
"""Bytes; ours have 300."""
_Size = Annotated[int, Field(ge=1, le=1 << 16)]


class FolderConfig(MPRNetConfig):
    """What ``config.json`` may hold; a key that nobody reads is an error."""

    architecture: Literal["MPRNet", "MPRNetLocal"] = Field("MPRNet", description="the class that it was saved from")
    train_size: _Size = Field(256, description="MPRNetLocal's argument")
    base_size: _Size = Field(384, description="MPRNetLocal's argument")

    def build(self, cls: type[MPRNet], inferred: MPRNetConfig) -> MPRNet:
        """Return the network, its weights not set.

        Args:
            cls: What the caller wants; MPRNet stands for MPRNetLocal too where that was saved.
            inferred: From the weights' shapes; what stands in the file goes before it.

        Raises:
            InputError: Values that cannot be built.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set & MPRNetConfig.model_fields.keys()}
        config = MPRNetConfig.read({**inferred.model_dump(), **given})
        if self.architecture == "MPRNet":
            return cls.from_config(config)
        net = (MPRNetLocal if cls is MPRNet else cls).from_config(config)
        return use_local_pooling(net, self.train_size, self.base_size)


def config_text(net: MPRNet) -> str:
    """Return the content of ``config.json`` for a network."""
    content: dict[str, Any] = {"architecture": "MPRNet", **net.config.model_dump()}
    sizes = pooling_sizes(net)
    if sizes is not None:
        content |= {"architecture": "MPRNetLocal", "train_size": sizes[0], "base_size": sizes[1]}
    return json.dumps(content, indent=2) + "\n"


def read_config(path: Path) -> FolderConfig:
    """Read a ``config.json``.

    Raises:
        InputError: It is no regular file, no JSON, holds a key that nobody reads, or a value of another type or range.
    """
    try:
        with open_regular(path) as stream:
            text = stream.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise ValueError(f"more than {_LONGEST} bytes")
        content = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except (ValueError, RecursionError) as error:  # text that is no UTF-8 and numbers of too many digits among them
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: is no configuration ({reason}); remove it, as the weights' shapes tell most of it"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {shorten(content)}, expected MPRNet's arguments by name; remove it")
    try:
        config = FolderConfig.read(content)
    except InputError as error:
        raise InputError(f"{path}: {error}; correct it there, or remove the file") from error
    return config
