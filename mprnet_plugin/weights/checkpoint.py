"""Take weights of any origin out of their file, and tell from their shapes which network they belong to.

Known are the authors' ``.pth`` (``{"epoch", "state_dict", "optimizer"}``, names perhaps behind ``module.``), BasicSR's
(``{"params", "params_ema"}``), mmengine's (``{"meta", "state_dict"}``, names perhaps behind ``generator.`` or another
common prefix), safetensors and PaddleGAN's ``.pdparams``; the content decides, not the suffix.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mprnet_plugin.archs.config import WIDEST, MPRNetConfig
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.archs.shapes_only import shapes_only
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.weights.reading import read_checkpoint

__all__ = [
    "build_network",
    "check_weights",
    "infer_config",
    "load_into",
    "load_network",
    "load_state_dict",
    "tie_prelu",
]

WEIGHT_KEYS = ("params_ema", "params", "state_dict", "generator")
"""Where weights lie inside a checkpoint, best first: host, host, authors, PaddleGAN's trainer."""
_PREFIXES = re.compile(r"(?:module\.|_orig_mod\.)*")
"""What DistributedDataParallel and torch.compile put before every name."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MOST_ENTRIES = 20_000
"""Twice as many as the deepest network that a configuration allows."""
_MOST_PAIRS = 32
_LONGEST_NAME = 100
_FIRST = "shallow_feat1.0.weight"
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
    weights = _select(read_checkpoint(file), param_key, file)
    if len(weights) > _MOST_ENTRIES:
        raise InputError(f"{file}: has {len(weights)} entries, no MPRNet has over {_MOST_ENTRIES}; give one's weights")
    result = {_bare_name(key): _floating(value, _bare_name(key), file) for key, value in weights.items()}
    result = _without_wrapper(result)
    # Strides of 0 and a tensor under many names let a small file declare what would take all memory to copy. PReLU's
    # single number may have many names.
    declared = sum(value.numel() * value.element_size() for value in result.values() if value.numel() > 1)
    if declared > file.stat().st_size:
        raise InputError(f"{file}: declares {declared} bytes of weights, more than the file has; get the file anew")
    return tie_prelu(result, str(file))


def _bare_name(key: object) -> str:
    name = str(key) if isinstance(key, (str, int)) else type(key).__name__
    match = _PREFIXES.match(name)
    return name[match.end() if match else 0 :]


def _without_wrapper(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what all names have in common before an MPRNet's, as in models that hold one as ``generator``."""
    first = next((key for key in weights if key.endswith(f".{_FIRST}")), "")
    prefix = first.removesuffix(_FIRST)
    if not prefix or not all(key.startswith(prefix) for key in weights):
        return weights
    return {key.removeprefix(prefix): value for key, value in weights.items()}


def _floating(value: object, name: str, file: Path) -> Tensor:
    """Return an entry that a network can hold."""
    shown = repr(name[:_LONGEST_NAME])
    if not isinstance(value, Tensor):
        raise InputError(
            f"{file}: entry {shown} is a {type(value).__name__}, expected a tensor; give a file of network weights"
        )
    if value.dtype not in _FLOATS or value.layout != torch.strided or value.device.type != "cpu":
        kind = f"{value.dtype} on {value.device}, {value.layout}"
        raise InputError(
            f"{file}: entry {shown} is {kind}, expected floating point of 16, 32 or 64 bits; give a file of network "
            "weights"
        )
    if value.numel() == 0:
        raise InputError(f"{file}: entry {shown} is empty, of shape {tuple(value.shape)}; give a file of weights")
    return value


def load_network(path: str | PathLike[str], param_key: str | None = None) -> MPRNet:
    """Build the network that a file of weights belongs to; raises as :func:`load_state_dict` and the next do."""
    return build_network(load_state_dict(path, param_key), path, MPRNet.from_config)


def build_network(
    state_dict: Mapping[str, Tensor], source: str | PathLike[str], build: Callable[[MPRNetConfig], MPRNet]
) -> MPRNet:
    """Build a network with these weights, on the CPU; every shape is compared before memory is taken for it.

    ``build`` gets the configuration that the shapes tell; a network of other shapes is an error.

    Raises:
        InputError: As :func:`infer_config` and :func:`load_into` do.
    """
    try:
        config = infer_config(state_dict)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    with shapes_only():
        net = build(config)
    _check_match(net, state_dict, source)
    load_into(net.to_empty(device="cpu"), state_dict, source)
    return net


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
        names = ", ".join(sorted(str(key)[:_LONGEST_NAME] for key in weights)[:6]) or "nothing"
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
    needed = (_FIRST, "stage1_encoder.down12.down.1.weight", "tail.weight")
    missing = [key for key in needed if key not in state_dict or state_dict[key].dim() != 4]
    blocks = [key for key in state_dict if re.fullmatch(rf"stage3_orsnet\.orb1\.body\.\d+{re.escape(_CAB_MARK)}", key)]
    if missing or not blocks:
        found = ", ".join(key[:_LONGEST_NAME] for key in list(state_dict)[:3]) or "nothing"
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
    if len(pairs) > _MOST_PAIRS:
        raise InputError(f"channel attention has {len(pairs)} different widths; give an MPRNet checkpoint")
    fitting = [r for r in range(1, min(n_feat, WIDEST) + 1) if all(width // r == hidden for hidden, width in pairs)]
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
    check_weights(net, state_dict, source)
    net.load_state_dict(dict(state_dict), strict=True)


def check_weights(net: nn.Module, state_dict: Mapping[str, Tensor], source: str | PathLike[str]) -> None:
    """Check that weights are those of a network, as :func:`load_into` does, and load nothing.

    Raises:
        InputError: See there.
    """
    _check_match(net, state_dict, source)
    broken = next((key for key, value in state_dict.items() if not bool(torch.isfinite(value).all())), None)
    if broken is not None:
        raise InputError(
            f"{source}: {broken!r} has values that are not finite: that training diverged; take an earlier one"
        )


def _check_match(net: nn.Module, state_dict: Mapping[str, Tensor], source: str | PathLike[str]) -> None:
    own = net.state_dict()
    missing = own.keys() - state_dict.keys()
    unexpected = state_dict.keys() - own.keys()
    shapes = [key for key in own.keys() & state_dict.keys() if own[key].shape != state_dict[key].shape]
    if missing or unexpected or shapes:
        raise InputError(f"{source}: {_two_networks(own, state_dict) or _differences(missing, unexpected, shapes)}")


def _two_networks(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """Return a message when both are MPRNets of different configurations."""
    try:
        theirs, ours = infer_config(given), infer_config(own)
    except InputError:
        return None
    if theirs == ours:
        return None
    wanted = f"preset {theirs.preset}" if theirs.preset else "same options for the network"
    return (
        f"is a {theirs.preset or 'custom'} checkpoint ({theirs.differences()}), the network is {ours.describe()}; "
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
