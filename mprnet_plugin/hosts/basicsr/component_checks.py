"""Check what a section chooses by name, a network, a loss, an optimiser, against the signature of what it names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.typed_options import Component, shorten

__all__ = ["check_call", "check_loss", "lookup", "try_call"]

_NO_PICTURE = {"weight", "target_is_real"}
"""Second arguments of the host's losses that are no picture: of total variation, of a GAN."""


def check_call(
    part: Component, known: Any, where: str, also: Iterable[str] = (), skip: Iterable[str] = ("self",)
) -> Callable[..., Any]:
    """Check the names of a ``{type: NAME, argument: value, ...}`` section against NAME's signature.

    Args:
        part: The section.
        known: A registry of the host, or a dictionary: names to what may be chosen.
        where: The section's path, for messages.
        also: Further names that somebody else reads.
        skip: Arguments that are not the section's to give.

    Returns:
        What is called NAME.

    Raises:
        InputError: Nothing is, or it does not take these arguments.
    """
    call: Callable[..., Any] = lookup(part.type, known, where)
    arguments = _arguments(call, skip)
    names = {*also, *arguments}
    for name in part.arguments:
        if name not in names:
            raise InputError(f"option {where}:{name} is read by nobody, {nearest(name, names)}")
    for name, parameter in arguments.items():
        if parameter.default is inspect.Parameter.empty and name not in part.arguments:
            raise InputError(f"option {where}:{name} is missing")
    return call


def try_call(call: Callable[..., Any], options: Mapping[str, Any], where: str, *arguments: object) -> Any:
    """Build what a section describes, to hear now what is wrong with its values.

    Raises:
        InputError: It does not take them.
    """
    try:
        return call(*arguments, **options)
    except InputError as error:
        joint = ":" if re.match(r"\w+: ", str(error)) else ": "  # the error itself starts with an option's name, or not
        raise InputError(f"{where}{joint}{error}") from error
    except Exception as error:  # whatever a constructor does with a value it was not made for
        given = shorten(", ".join(f"{key}: {shorten(value)}" for key, value in options.items())).strip("\"'")
        reason = " ".join(str(error).partition("\n")[0].split())
        raise InputError(f"{where}: does not take these values ({reason}); given {given}") from error


def _arguments(call: Callable[..., Any], skip: Iterable[str]) -> dict[str, inspect.Parameter]:
    """Return what a function or class can be given by name; a class that passes names on takes its base's as well."""
    parameters = dict(inspect.signature(call).parameters)
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    if inspect.isclass(call) and any(one.kind == inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        parameters = {**inspect.signature(call.__mro__[1]).parameters, **parameters}
    return {name: one for name, one in parameters.items() if one.kind not in variable and name not in skip}


def check_loss(loss: Component, known: Any, where: str) -> None:
    """Check a loss by its signature, and build it.

    Raises:
        InputError: It does not take these arguments, leaves no number, or compares no two pictures.
    """
    call = check_call(loss, known, where)
    pictures = list(inspect.signature(call.forward).parameters)[1:3] if hasattr(call, "forward") else []
    if len(pictures) == 2 and pictures[1] in _NO_PICTURE:
        raise InputError(f"{where}:type: {loss.type} takes {pictures[1]}, not the sharp picture: choose another loss")
    try_call(call, loss.arguments, where)
    if loss.arguments.get("reduction") == "none":
        raise InputError(f"{where}:reduction: none leaves no number to minimise: use mean or sum")


def lookup(name: object, known: Any, where: str) -> Any:
    """Return what is registered under a name.

    Raises:
        InputError: Nothing is.
    """
    if name is None:
        raise InputError(f"{where}:type is missing")
    # The host registers some of its own parts with a suffix, and finds them without.
    if not isinstance(name, str) or (name not in known and f"{name}_basicsr" not in known):
        raise InputError(f"{where}:type: {shorten(name)} is not known, {nearest(str(name)[:80], known.keys())}")
    return known[name] if isinstance(known, dict) else known.get(name)
