"""Read weights of any origin safely, and tell from their shapes which network they belong to.

Known are the authors' ``.pth`` (``{"epoch", "state_dict", "optimizer"}``, names perhaps behind ``module.``), the host's
(``{"params", "params_ema"}``), safetensors and PaddleGAN's ``.pdparams``; the content decides, not the suffix. No file
can run code: tensors and plain values are all that is read.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mprnet_plugin.archs.config import MPRNetConfig
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.weights.paddle import load_pdparams

__all__ = ["infer_config", "load_into", "load_state_dict", "tie_prelu"]

WEIGHT_KEYS = ("params_ema", "params", "state_dict", "generator")
"""Where weights lie inside a checkpoint, best first: host, host, authors, PaddleGAN's trainer."""
PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
_CAB_MARK = ".CA.conv_du.0.weight"


def load_state_dict(path: str | PathLike[str], param_key: str | None = None) -> dict[str, Tensor]:
    """Read a checkpoint's weights onto the CPU.

    Args:
        path: ``.pth``, ``.safetensors`` or ``.pdparams`` file.
        param_key: The entry that holds the weights, such as ``"params"``; None takes ``params_ema``, else ``params``,
            else ``state_dict``, else the whole file.

    Returns:
        Names, without ``module.``, to tensors. All PReLU entries are one tensor, as in the network, those that
        safetensors left out included.

    Raises:
        InputError: The file is missing, unreadable, cut short, not a checkpoint, holds more than tensors and plain
            values, has no entry ``param_key``, or PReLU entries that differ.
    """
    file = Path(path)
    weights = _select(_read(file), param_key, file)
    result: dict[str, Tensor] = {}
    for key, value in weights.items():
        name = str(key)
        while name.startswith(PREFIXES):
            name = name.split(".", 1)[1]
        if not isinstance(value, Tensor):
            raise InputError(
                f"{file}: entry {name!r} is a {type(value).__name__}, expected a tensor; give a file of network weights"
            )
        if not (value.is_floating_point() and value.layout == torch.strided and value.device.type == "cpu"):
            kind = f"{value.dtype} on {value.device}, {value.layout}"
            raise InputError(
                f"{file}: entry {name!r} is {kind}, expected floating point; give a file of network weights"
            )
        result[name] = value
    return tie_prelu(result, str(file))


def _read(path: Path) -> Mapping[Any, Any]:
    """Return the file's content after its first bytes told what it is."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the path of a .pth, .safetensors or .pdparams file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a readable file of weights") from error
    if head.startswith(b"PK") or (head.startswith(b"\x80") and _LEGACY_MAGIC in head[:32]):
        return _read_torch(path)
    if head[8:9] == b"{":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{path}: is a damaged safetensors file ({error}); copy or download it again") from error
    if head.startswith(b"\x80"):
        return load_pdparams(path)
    if not head:
        found = "an empty file"
    elif head.lstrip()[:1] == b"<":
        found = "a web page (the download was not the file itself)"
    else:
        found = f"a file that starts with {head[:8]!r}"
    raise InputError(f"{path}: is {found}, expected weights as .pth, .safetensors or .pdparams; get the file again")


def _read_torch(path: Path) -> Mapping[Any, Any]:
    try:
        # Only zip files can be mapped; then an optimiser's state beside the weights is never read from the disk.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(
            f"{path}: refused, as it holds more than tensors and plain values"
            f"{f' ({name.group(1)})' if name else ''} and could run code; save its state_dict alone"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError and more for a damaged file
        raise InputError(
            f"{path}: is damaged, cut short or no PyTorch checkpoint ({type(error).__name__}); fetch it again"
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, expected a dictionary of name to tensor; save a state_dict"
        )
    return content


def _select(content: Mapping[Any, Any], param_key: str | None, path: Path) -> Mapping[Any, Any]:
    """Return the weights inside a checkpoint's dictionary."""
    if param_key is None:
        param_key = next((key for key in WEIGHT_KEYS if isinstance(content.get(key), Mapping)), None)
    elif not isinstance(content.get(param_key), Mapping):
        known = [str(key) for key, value in content.items() if isinstance(value, Mapping)]
        hint = nearest(param_key, known) if known else "the weights lie at the top: leave the key out"
        raise InputError(f"{path}: has no weights under {param_key!r}; {hint}")
    weights: Mapping[Any, Any] = content if param_key is None else content[param_key]
    if not any(isinstance(value, Tensor) for value in weights.values()):
        names = ", ".join(sorted(map(str, weights))[:6]) or "nothing"
        state = "optimizers" in weights or "optimizer" in weights
        fix = "this is a training state: give the net_g_*.pth beside it" if state else "give a file of network weights"
        raise InputError(f"{path}: holds no tensors by name (found {names}); {fix}")
    return weights


def tie_prelu(state_dict: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the weights with every block's PReLU entry the same tensor.

    The network has one PReLU under many names. Formats without shared tensors hold it once, or as equal copies.

    Args:
        state_dict: Weights by name.
        source: What messages call them.

    Raises:
        InputError: Two entries differ, so no network of this kind computes what the file means.
    """
    blocks = [key[: -len(_CAB_MARK)] for key in state_dict if key.endswith(_CAB_MARK)]
    slopes = [f"{block}.body.1.weight" for block in blocks]
    present = [key for key in slopes if key in state_dict]
    if not present:
        return dict(state_dict)
    first = state_dict[present[0]]
    for key in present:
        if not torch.equal(state_dict[key], first):
            raise InputError(
                f"{source}: PReLU entries {present[0]!r} and {key!r} differ, but MPRNet shares one PReLU; "
                "tie them in the network that was trained"
            )
    return {**state_dict, **dict.fromkeys(slopes, first)}


def infer_config(state_dict: Mapping[str, Tensor]) -> MPRNetConfig:
    """Return the configuration of the network that weights belong to, from their shapes.

    Several values of ``reduction`` can build the same network, since widths are divided by it and rounded down. Then 4,
    the published one, is preferred, and after it the largest that divides all widths.

    Raises:
        InputError: These are not the weights of an MPRNet; the message names what is missing.
    """
    needed = ("shallow_feat1.0.weight", "stage1_encoder.down12.down.1.weight", "tail.weight")
    missing = [key for key in needed if key not in state_dict or state_dict[key].dim() != 4]
    blocks = [key for key in state_dict if re.fullmatch(rf"stage3_orsnet\.orb1\.body\.\d+{re.escape(_CAB_MARK)}", key)]
    if missing or not blocks:
        found = ", ".join(list(state_dict)[:3]) or "nothing"
        lacks = missing[0] if missing else f"stage3_orsnet.orb1.body.0{_CAB_MARK}"
        raise InputError(
            f"these are not the weights of an MPRNet: no {lacks} (found {found}); give an MPRNet checkpoint"
        )
    n_feat, in_c, kernel_size = state_dict[needed[0]].shape[:3]
    out_c, width = state_dict[needed[2]].shape[:2]
    try:
        return MPRNetConfig.read(
            {
                "in_c": in_c,
                "out_c": out_c,
                "n_feat": n_feat,
                "scale_unetfeats": state_dict[needed[1]].shape[0] - n_feat,
                "scale_orsnetfeats": width - n_feat,
                "num_cab": len(blocks),
                "kernel_size": kernel_size,
                "reduction": _infer_reduction(state_dict, n_feat),
                "bias": "shallow_feat1.0.bias" in state_dict,
            }
        )
    except InputError as error:
        shapes = ", ".join(f"{key} {tuple(state_dict[key].shape)}" for key in needed)
        raise InputError(f"shapes fit no MPRNet ({error}): {shapes}; give an MPRNet checkpoint") from error


def _infer_reduction(state_dict: Mapping[str, Tensor], n_feat: int) -> int:
    pairs = {tuple(value.shape[:2]) for key, value in state_dict.items() if key.endswith(_CAB_MARK)}
    fitting = [r for r in range(1, n_feat + 1) if all(width // r == hidden for hidden, width in pairs)]
    if not fitting:
        raise InputError(f"channel attention widths {sorted(pairs)} fit no reduction; give an MPRNet checkpoint")
    divides = [r for r in fitting if all(width % r == 0 for _, width in pairs)]
    return 4 if 4 in fitting else (divides or fitting)[-1]


def load_into(net: nn.Module, state_dict: Mapping[str, Tensor], source: str | PathLike[str]) -> None:
    """Copy weights into a network, every one of them or none.

    Args:
        net: An MPRNet or a network with its names; not wrapped.
        state_dict: Weights as :func:`load_state_dict` returns them.
        source: Where they are from, for messages.

    Raises:
        InputError: Names or shapes differ: both networks are named where the widths tell them apart, else the differing
            names are listed; or a weight is not finite.
    """
    own = net.state_dict()
    missing = own.keys() - state_dict.keys()
    unexpected = state_dict.keys() - own.keys()
    shapes = [key for key in own.keys() & state_dict.keys() if own[key].shape != state_dict[key].shape]
    if missing or unexpected or shapes:
        raise InputError(f"{source}: {_two_networks(own, state_dict) or _differences(missing, unexpected, shapes)}")
    broken = next((key for key, value in state_dict.items() if not bool(torch.isfinite(value).all())), None)
    if broken is not None:
        raise InputError(
            f"{source}: {broken!r} has values that are not finite: that training diverged; take an earlier one"
        )
    net.load_state_dict(dict(state_dict), strict=True)


def _two_networks(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """Return a message when both are MPRNets of different configurations."""
    try:
        theirs, ours = infer_config(given), infer_config(own)
    except InputError:
        return None
    if theirs == ours:
        return None
    wanted = f"preset {theirs.task}" if theirs.task else "same options for the network"
    return (
        f"is a {theirs.task or 'custom'} checkpoint ({theirs.differences()}), the network is {ours.describe()}; "
        f"use the {wanted} or give another file"
    )


def _differences(missing: Iterable[str], unexpected: Iterable[str], shapes: Iterable[str]) -> str:
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    parts = [f"{kind}: {_grouped(keys)}" for kind, keys in kinds.items() if keys]
    return f"weights do not fit the network ({'; '.join(parts)}); give an MPRNet checkpoint of the same options"


def _grouped(keys: Iterable[str], limit: int = 4) -> str:
    """Shorten a set of names to one example and a count for each top-level module."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys):
        groups[key.split(".", 1)[0]].append(key)
    shown = [f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}" for names in groups.values()]
    rest = len(shown) - limit
    return ", ".join(shown[:limit]) + (f", and {rest} more modules" if rest > 0 else "")
