"""Which engine and precision are the fastest that are right for a machine, and running a network by them."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import nn

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.inference.winograd import banded, convolutions, ncnn_is_there, winograd

__all__ = [
    "Choice",
    "Engine",
    "Machine",
    "Precision",
    "arithmetic",
    "choose",
    "describe",
    "may_use",
    "needed_memory",
    "running",
    "this_machine",
    "validating",
]

Engine = Literal["auto", "torch", "ncnn"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
_CPUINFO = Path("/proc/cpuinfo")
_FLAGS = {"amx": "amx_bf16", "avx512_bf16": "avx512_bf16", "amx_fp16": "amx_fp16", "avx512_fp16": "avx512_fp16"}
"""Our names of what a processor may have to the kernel's."""
_MAPS = {"whole": 13.0, "torch": 7.5, "ncnn": 8.0}
"""Peak memory in full-resolution maps of stage 3's width, without and with bands of rows; measured by
scripts/benchmarks/bench_engines.py."""
_FIXED = 100 << 20
"""Bytes that do not depend on the picture."""
_TRANSFORMED = 6
"""What ncnn keeps beside the weights, in sizes of the weights."""


class Machine(NamedTuple):
    """What the choice depends on.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        ncnn: Whether ncnn can be imported.
        features: Of the processor: ``amx``, ``avx512_bf16``, ``amx_fp16``, ``avx512_fp16``.
        gpu_bf16: Whether the GPU computes with bf16.
    """

    device: str
    ncnn: bool = False
    features: frozenset[str] = frozenset()
    gpu_bf16: bool = False


class Choice(NamedTuple):
    """An engine, a precision, and why; ``warning`` says what is slow about them."""

    engine: Literal["torch", "ncnn"]
    precision: Literal["fp32", "bf16", "fp16"]
    why: str
    warning: str = ""

    @property
    def half(self) -> torch.dtype | None:
        """The 16-bit type of the convolutions, if they are."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)


def this_machine(device: torch.device) -> Machine:
    """Look at the machine for a device."""
    gpu_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return Machine(device.type, ncnn_is_there(), _processor(), gpu_bf16)


@functools.cache
def _processor() -> frozenset[str]:
    """Return what the processor has by torch, and by the kernel's list where torch has no answer."""
    known = {"amx": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:  # another system
        lines = []
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    answers = {name: getattr(torch.cpu, known[name], None) if name in known else None for name in _FLAGS}
    there = {name for name, flag in _FLAGS.items() if (answer() if (answer := answers[name]) else flag in flags)}
    return frozenset(name for name in there if may_use(name, os.environ.get("ONEDNN_MAX_CPU_ISA", "")))


def may_use(feature: str, limit: str) -> bool:
    """Tell whether oneDNN, which runs torch's convolutions, may use a feature under its own limit.

    Args:
        feature: As in :class:`Machine`.
        limit: The variable ``ONEDNN_MAX_CPU_ISA``; empty where it is not set.

    Example:
        >>> may_use("amx", ""), may_use("amx", "AVX512_CORE_BF16"), may_use("avx512_bf16", "AVX512_CORE_BF16")
        (True, False, True)
    """
    if limit.upper() in ("", "DEFAULT", "ALL"):
        return True
    marks = ("AMX",) if feature.startswith("amx") else ("BF16", "FP16", "AMX", "AVX10")
    return any(mark in limit.upper() for mark in marks)


def choose(engine: Engine, precision: Precision, machine: Machine, compiled: bool = False) -> Choice:
    """Choose the fastest engine and precision that are right.

    Args:
        engine: ``torch``, ``ncnn`` (3×3 convolutions on a CPU), or ``auto``.
        precision: ``fp32``, ``bf16``, ``fp16``; or ``auto``, which may differ from fp32 by less than 0.02 dB.
        machine: What there is.
        compiled: Whether torch compiles the network, which leaves ncnn out.

    Raises:
        InputError: An unknown name, or an engine that cannot be had or does not go with the rest.

    Example:
        >>> choose("auto", "auto", Machine("cpu", ncnn=True))[:2]
        ('ncnn', 'fp32')
        >>> choose("auto", "auto", Machine("cpu", ncnn=True, features=frozenset({"amx"})))[:2]
        ('torch', 'bf16')
    """
    if engine not in get_args(Engine):
        raise InputError(f"engine {engine!r} is unknown; {nearest(str(engine), get_args(Engine))}")
    if precision not in get_args(Precision):
        raise InputError(f"precision {precision!r} is unknown; {nearest(str(precision), get_args(Precision))}")
    if engine == "ncnn":
        _check_ncnn(precision, machine, compiled)
        return Choice("ncnn", "fp32", "ncnn was asked for")
    if machine.device != "cpu":
        return _on_gpu(precision, machine)
    if precision == "auto" and "amx" in machine.features:
        return Choice("torch", "bf16", "the processor has AMX, whose bf16 is some 9 times as fast as fp32")
    if precision in ("bf16", "fp16"):
        return Choice("torch", precision, f"ncnn runs fp32, and {precision} was asked for", _slow(precision, machine))
    if engine == "torch" or compiled:
        return Choice("torch", "fp32", "torch was asked for" if engine == "torch" else "torch compiles the network")
    if not machine.ncnn:
        return Choice(
            "torch", "fp32", "ncnn is not installed", "ncnn, which is faster, is not installed: pip install ncnn"
        )
    return Choice("ncnn", "fp32", "its Winograd convolutions are exact, and the fastest on a processor without AMX")


def _check_ncnn(precision: Precision, machine: Machine, compiled: bool) -> None:
    if machine.device != "cpu":
        raise InputError(f"engine ncnn runs on the CPU, not on {machine.device}: use engine auto, or device cpu")
    if precision in ("bf16", "fp16"):
        raise InputError(f"engine ncnn computes in fp32, not in {precision}: use precision fp32, or engine torch")
    if compiled:
        raise InputError("engine ncnn is not compiled by torch: leave compile out, or use engine torch")
    if not machine.ncnn:
        raise InputError("engine ncnn needs the package ncnn, which is not installed: pip install ncnn")


def _on_gpu(precision: Precision, machine: Machine) -> Choice:
    if precision != "auto":
        return Choice("torch", precision, f"{precision} was asked for")
    if machine.device != "cuda":
        return Choice("torch", "fp32", f"half precision is not measured on {machine.device}")
    half: Literal["bf16", "fp16"] = "bf16" if machine.gpu_bf16 else "fp16"
    return Choice("torch", half, "a GPU is fastest in half precision")


def _slow(precision: str, machine: Machine) -> str:
    """Return a warning where a processor has no instructions for a precision: some 100 times slower, as measured."""
    able = {"bf16": {"amx", "avx512_bf16"}, "fp16": {"amx_fp16", "avx512_fp16"}}[precision]
    if able & machine.features:
        return ""
    return f"this processor has no instructions for {precision}: it may take 100 times as long as with fp32"


def running(net: nn.Module, choice: Choice) -> AbstractContextManager[None]:
    """Return the context in which calls of a network are run as chosen; afterwards it is as it was."""
    if next(net.parameters()).device.type != "cpu":
        return contextlib.nullcontext()
    return winograd(net) if choice.engine == "ncnn" else banded(net)


@contextlib.contextmanager
def arithmetic(choice: Choice, device: torch.device) -> Iterator[None]:
    """Compute with the digits that were chosen: half of them, or on a GPU no fewer than fp32 has."""
    if choice.half is not None:
        with torch.autocast(device.type, choice.half):
            yield
        return
    # Not by cudnn.flags(), which switches cuDNN off unless told otherwise.
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before and device.type != "cuda"  # fp32 is exact
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextlib.contextmanager
def validating(net: nn.Module, engine: Engine) -> Iterator[None]:
    """Run a network in fp32 for a while, as validation asks."""
    device = next(net.parameters()).device
    with running(net, choose(engine, "fp32", this_machine(device))):
        yield


def needed_memory(net: MPRNet, choice: Choice, pixels: int) -> int:
    """Return the bytes that a picture, or a window, of so many pixels takes at most beside the loaded network."""
    maps, fixed = _MAPS[choice.engine], _FIXED
    if choice.engine == "ncnn":
        fixed += _TRANSFORMED * 4 * sum(parameter.numel() for parameter in net.parameters())
    elif choice.half is not None or next(net.parameters()).device.type != "cpu":
        maps = _MAPS["whole"]
    return int(maps * net.width * (2 if choice.half else 4) * pixels) + fixed


def describe(net: nn.Module, choice: Choice) -> str:
    """Say why, in one line."""
    text = f"{choice.engine} with {choice.precision}: {choice.why}"
    if choice.engine == "ncnn":
        text += f"; {len(convolutions(net))} convolutions, alone or in pairs, are wide enough for it, the rest is torch"
    return text
