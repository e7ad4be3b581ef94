"""A network's folder: ``model.safetensors``, ``config.json`` and a model card. Nothing here needs huggingface_hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file
from mprnet_plugin.hub.card import Card
from mprnet_plugin.hub.config_file import CONFIG_NAME, FolderConfig, config_text, read_config
from mprnet_plugin.typed_options import shorten
from mprnet_plugin.weights.checkpoint import build_network, load_state_dict
from mprnet_plugin.weights.convert import save_weights

__all__ = ["CARD_NAME", "WEIGHTS_NAME", "choose_weights", "read_folder", "read_network", "write_folder"]

logger = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
_USUAL = (WEIGHTS_NAME, "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".pdparams")


def write_folder(net: MPRNet, folder: Path, card: Card, replace_card: bool = False) -> None:
    """Write a network's folder, each file whole or not at all.

    Args:
        net: On any device, of any precision; local pooling is noted in the configuration.
        folder: It is made where it is missing.
        card: What the caller knows of the weights.
        replace_card: Replace a card that is there; otherwise it stays, and a line says so.

    Raises:
        InputError: A file cannot be written.
    """
    text = card.text(net)
    save_weights(net.state_dict(), folder / WEIGHTS_NAME)
    with whole_file(folder / CONFIG_NAME) as part:
        part.write_text(config_text(net), encoding="utf-8")
    if os.path.lexists(folder / CARD_NAME) and not replace_card:
        logger.warning("%s is there already and stays; replace_card=True writes a new one", folder / CARD_NAME)
        return
    with whole_file(folder / CARD_NAME) as part:
        part.write_text(text, encoding="utf-8")


def choose_weights(names: Iterable[str], source: object) -> str:
    """Return which of a folder's files holds the weights: by its usual name, else the only one by its suffix.

    Raises:
        InputError: None, or several; the message names them.
    """
    there = sorted(name for name in names if "/" not in name and name.lower().endswith(_SUFFIXES))
    usual = [name for name in _USUAL if name in there]
    if usual or len(there) == 1:
        return (usual or there)[0]
    if there:
        raise InputError(f"{source}: has several files of weights ({shorten(there)}); choose one as filename")
    raise InputError(f"{source}: has no file of weights, such as {WEIGHTS_NAME}; give a folder that has one")


def read_folder(cls: type[MPRNet], folder: Path, filename: str | None = None, param_key: str | None = None) -> MPRNet:
    """Return the network of a folder; see :func:`read_network`.

    Raises:
        InputError: There is no file of weights, or several; a ``filename`` that is not in the folder; a bad file.
    """
    if filename is None:
        filename = choose_weights((path.name for path in folder.iterdir()), folder)
    elif Path(filename).name != filename:
        raise InputError(f"{folder}: filename={filename!r} must be the name of a file in the folder")
    config = folder / CONFIG_NAME
    return read_network(cls, folder / filename, config if os.path.lexists(config) else None, param_key)


def read_network(cls: type[MPRNet], weights: Path, config: Path | None, param_key: str | None = None) -> MPRNet:
    """Build the network that a file of weights and a configuration describe; every shape is compared first.

    Args:
        cls: What to build.
        weights: Any file that :func:`~mprnet_plugin.weights.checkpoint.load_state_dict` reads.
        config: ``config.json``, or None where there is none.
        param_key: Entry of a checkpoint that holds the weights.

    Returns:
        The network on the CPU, in evaluation mode.

    Raises:
        InputError: A bad file, or two that do not belong together.
    """
    given = FolderConfig() if config is None else read_config(config)
    state_dict = load_state_dict(weights, param_key)
    net = build_network(state_dict, weights, lambda inferred: given.build(cls, inferred))
    return net.eval()
