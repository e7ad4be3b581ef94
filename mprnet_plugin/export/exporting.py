"""Write a network for another runtime, and let that runtime prove the file before it gets its name."""

from __future__ import annotations

import contextlib
import copy
import importlib
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import torch

from mprnet_plugin.archs.local_pooling import LocalChannelAttention
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.export.forms import FORMS, Form, PictureNet, Run
from mprnet_plugin.files import whole_file

__all__ = ["TOLERANCE", "export"]

TOLERANCE = 5e-5
"""Largest difference from torch, in parts of the range of torch's result, that rounding of fp32 explains."""
_SIZES = ((1, 64, 48), (2, 40, 72), (1, 45, 61))
"""Pictures, height and width of what is compared: one and several, whole multiples of 8 and not."""


def export(net: MPRNet, path: str | PathLike[str], overwrite: bool = False) -> float:
    """Write a network for another runtime: the final stage, for pictures of any size from 9 pixels a side.

    The file is loaded by its runtime and compared with torch in fp32 at three sizes; it gets its name only when they
    agree. Of two files both or none get theirs.

    Args:
        net: On any device; it is not changed.
        path: The suffix says what to write: ``.onnx`` (input ``input``, output ``output``), ``.param`` and beside it
            ``.bin`` for ncnn (blobs ``data`` and ``output``, one picture without a batch), ``.xml`` and ``.bin`` for
            OpenVINO, ``.pt2`` for ``torch.export.load``. All take (N, in_c, H, W) in [0, 1] and return
            (N, out_c, H, W), not clamped.
        overwrite: Replace files that are there.

    Returns:
        The largest difference from torch's result, in parts of that result's range.

    Raises:
        InputError: An unknown suffix, a file that is there, a package that is not, local pooling, a runtime that
            refuses the network, or one that computes something else; nothing is written then.
    """
    target = Path(path)
    form = FORMS.get(target.suffix.lower())
    if form is None:
        raise InputError(
            f"{target}: suffix {target.suffix!r} is no kind of export; {nearest(target.suffix, FORMS)} "
            "(a folder for the Hub ends with a slash)"
        )
    if any(isinstance(module, LocalChannelAttention) for module in net.modules()):
        raise InputError(f"{target}: local pooling cannot be exported, its windows follow the size; leave it out")
    _check_packages(form, target)
    files = [target, *(target.with_suffix(suffix) for suffix in form.suffixes[1:])]
    _check_places(files, overwrite)
    plain = copy.deepcopy(net).to("cpu", torch.float32).to(memory_format=torch.contiguous_format).eval()
    with _whole_files(files) as parts:
        return _write_and_compare(form, plain, parts, target)


def _write_and_compare(form: Form, net: MPRNet, parts: list[Path], target: Path) -> float:
    try:
        form.write(net, parts)
        difference = _difference(net, form.load(parts))
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # each runtime has errors of its own
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{target}: could not be made ({reason}); try newer packages, or another form") from error
    if not difference <= TOLERANCE:  # nor where it is no number
        raise InputError(
            f"{target}: differs from torch by {difference:.1e} of the range, expected at most {TOLERANCE:.0e}; "
            "nothing was written: try another version of the runtime, or another form"
        )
    return difference


def _check_packages(form: Form, target: Path) -> None:
    for name in form.packages:
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:  # or a wheel for another system's libraries
            raise InputError(
                f"{target}: needs the package {name}, which is not there: pip install 'mprnet-plugin[export]'"
            ) from error


def _check_places(files: list[Path], overwrite: bool) -> None:
    there = next((file for file in files if os.path.lexists(file)), None)
    if there is not None and not overwrite:
        raise InputError(f"{there}: is there already; choose another name, or --overwrite (overwrite=True) replaces it")
    for form in FORMS.values():  # two forms call their second file .bin
        other = files[0].with_suffix(form.suffixes[0])
        shared = form.suffixes[1:] == tuple(file.suffix for file in files[1:])
        if len(files) > 1 and shared and other != files[0] and other.exists():
            raise InputError(f"{files[1]}: belongs to {other}; choose another name")


@contextlib.contextmanager
def _whole_files(files: list[Path]) -> Iterator[list[Path]]:
    """Give a temporary file for each; on success all get their names, the first one last, on failure none."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(whole_file(file)) for file in files]
        if len(files) > 1:  # so that a run that is killed between two names leaves no mixture that somebody could load
            Path(os.path.realpath(files[0])).unlink(missing_ok=True)


def _difference(net: MPRNet, run: Run) -> float:
    """Return the largest difference at all sizes, in parts of the range; NaN where one is."""
    generator = torch.Generator().manual_seed(0)
    reference = PictureNet(net)
    differences = []
    for count, height, width in _SIZES:
        x = torch.rand(count, net.in_c, height, width, generator=generator)
        with torch.inference_mode():
            expected, result = reference(x), run(x)
        if result.shape != expected.shape:
            raise RuntimeError(f"it makes {tuple(result.shape)} of {tuple(x.shape)}")
        differences.append((result - expected).abs().max() / (expected.max() - expected.min()))
    return float(torch.stack(differences).max())
