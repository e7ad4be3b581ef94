"""A folder for the Hugging Face Hub, read back and compared before it gets its name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.hub.card import Card
from mprnet_plugin.hub.folders import read_folder, write_folder

__all__ = ["export_folder"]


def export_folder(net: MPRNet, folder: str | os.PathLike[str], card: Card, overwrite: bool = False) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``README.md``, once the first two are read back the same.

    Args:
        net: On any device, of any precision, local pooling included; it is not changed.
        folder: It gets its name when all is right. One that is there must be empty, unless ``overwrite`` is set.
        card: What is known of the weights.
        overwrite: Replace the three files in a folder that is there; others in it stay.

    Raises:
        InputError: A folder that is there, one that cannot be written, or files that give another network.
    """
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise InputError(
            f"{target}: is there already, with files in it; choose another name, or --overwrite (overwrite=True) "
            "replaces the network's files"
        )
    if os.path.lexists(target) and not target.is_dir():
        raise InputError(f"{target}: is there already and no folder; choose another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".mprnet-", dir=target.parent) as temporary:
            made = Path(temporary) / "folder"
            write_folder(net, made, card)
            _compare(net, read_folder(MPRNet, made), target)
            if not target.is_dir():
                made.rename(target)
                return
            for path in sorted(made.iterdir()):
                path.replace(target / path.name)
    except OSError as error:
        raise InputError(f"{target}: could not be written ({error.strerror}); choose another place") from error


def _compare(net: MPRNet, again: MPRNet, target: Path) -> None:
    ours, theirs = net.state_dict(), again.state_dict()
    same = ours.keys() == theirs.keys() and net.config == again.config
    # What was read is fp32, which holds every number of 16 bits.
    changed = [key for key in ours if not same or not torch.equal(ours[key].cpu().to(theirs[key].dtype), theirs[key])]
    if changed or not same:
        raise InputError(f"{target}: was read back as another network ({len(changed)} tensors); nothing was written")
