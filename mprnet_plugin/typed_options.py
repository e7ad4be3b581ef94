"""Options as typed classes: name, type, range, default and one sentence each, from which all else is derived.

A subclass of :class:`Options` is a section of an options file. Reading checks it (:meth:`Options.read`), the reference
and the JSON schema are generated from it, and its fields' defaults are the only ones there are.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import annotated_types
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from typing_extensions import Self

from mprnet_plugin.errors import InputError, nearest

__all__ = ["Component", "LowHigh", "Number", "Options", "Text", "expected", "shorten"]

_LONGEST = 80
"""Characters of a value that a message shows."""
_ENDLESS = 10**9
"""Bounds from here on keep nonsense out, and are not worth a word."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST
_SHORT.maxlevel = 3


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value  # of configs that are Python


def _low_first(values: Any) -> Any:  # noqa: ANN401 - of numbers, whichever
    if values[0] > values[1]:
        raise ValueError(f"{values} must be [low, high], low first")
    return values


Item = TypeVar("Item")
LowHigh = Annotated[
    list[Item], Field(min_length=2, max_length=2), BeforeValidator(_as_list), AfterValidator(_low_first)
]
"""A range that something is drawn from, ``[low, high]``."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Options(BaseModel):
    """A section of an options file. Unknown names and values of another type are errors; nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=False, defer_build=True)
    hints: ClassVar[Mapping[str, str]] = {}
    """Names that people bring along from elsewhere, and what to write instead."""

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, section: Any) -> Any:  # noqa: ANN401 - whatever a file holds
        """Take 4e5, which YAML reads as a float, for the whole number that is meant."""
        if not isinstance(section, Mapping):
            return section
        return {
            key: int(value) if isinstance(value, float) and value.is_integer() and key in cls.model_fields else value
            for key, value in section.items()
        }

    @classmethod
    def read(cls, section: object, where: str = "") -> Self:
        """Check a section and return it as an object of this class, defaults filled in.

        Args:
            section: What YAML gave, left as it is.
            where: The section's path, such as ``train:mixup``, for messages.

        Raises:
            InputError: An option that nobody reads, one that is missing, or a value of another type or out of range.
        """
        if not isinstance(section, Mapping):
            name = cls.__name__.removesuffix("Options").lower()
            raise InputError(f"{where or name}: must be a section of options, not {shorten(section)}")
        try:
            return cls.model_validate({str(key): value for key, value in section.items()})
        except ValidationError as error:
            raise InputError(_one_line(cls, error, where)) from None
        except RecursionError:
            raise InputError(f"{where or 'options'}: is nested too deeply, or holds itself") from None

    @classmethod
    def pick(cls, section: Mapping[str, object], where: str = "") -> Self:
        """Read this class's options out of a section that holds those of others too."""
        return cls.read({name: section[name] for name in cls.model_fields if name in section}, where)


class Component(Options):
    """A part chosen by name, ``{type: NAME, argument: value, ...}``; who builds it knows the arguments."""

    model_config = ConfigDict(extra="allow")

    type: Text = Field(description="name in the host's registry")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything but the type."""
        return dict(self.__pydantic_extra__ or {})


def shorten(value: object) -> str:
    """Return a value as messages show it: one line, not too long."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    text = " ".join(text.split())
    return text if len(text) <= 2 * _LONGEST else f"{text[: 2 * _LONGEST]}..."


def expected(field: FieldInfo) -> str:
    """Say what a field may hold, such as ``a whole number, at least 1``."""
    return _expected(field.annotation, field.metadata)


def _expected(annotation: Any, metadata: list[Any]) -> str:  # noqa: ANN401 - annotations have no common type
    from types import NoneType, UnionType
    from typing import Literal, Union, get_args, get_origin

    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _expected(inner, [*more, *metadata])
    if origin in (Union, UnionType):
        return " or ".join(_expected(one, metadata) for one in get_args(annotation) if one is not NoneType)
    if origin is Literal:
        return " or ".join(
            "true" if one is True else "false" if one is False else str(one) for one in get_args(annotation)
        )
    if origin is list:
        two = any(isinstance(one, annotated_types.MaxLen) and one.max_length == 2 for one in metadata)
        return f"{'[low, high]' if two else 'a list'}, each {_expected(get_args(annotation)[0], [])}"
    name = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}.get(annotation)
    if name is None:
        typed = isinstance(annotation, type) and issubclass(annotation, Component)
        return "a section with a type, such as {type: NAME}" if typed else "a section of options"
    return name + _range(metadata)


def _range(metadata: list[Any]) -> str:
    words = []
    for one in metadata:
        for kind, attribute, word in (
            (annotated_types.Ge, "ge", "at least"),
            (annotated_types.Gt, "gt", "above"),
            (annotated_types.Le, "le", "at most"),
            (annotated_types.Lt, "lt", "below"),
        ):
            if isinstance(one, kind) and abs(getattr(one, attribute)) < _ENDLESS:
                words.append(f"{word} {getattr(one, attribute):,g}".replace(",", ""))
        if isinstance(one, annotated_types.MultipleOf):
            words.append(f"a multiple of {one.multiple_of}")
        if isinstance(one, FieldInfo):
            words += [text for text in [_range(one.metadata).removeprefix(", ")] if text]
    return f", {' and '.join(words)}" if words else ""


Model = TypeVar("Model", bound=Options)


def _one_line(cls: type[Options], error: ValidationError, where: str) -> str:
    """Turn the first of pydantic's findings into a line that names the option, the value and what is expected."""
    found = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    names = [str(part) for part in found["loc"]]
    owner, field = _locate(cls, names)
    path = ":".join([*([where] if where else []), *_shown(cls, names)])
    if found["type"] == "extra_forbidden" and names[-1] in owner.hints:
        return f"option {path}: write {owner.hints[names[-1]]}"
    if found["type"] == "extra_forbidden":
        return f"option {path} is read by nobody, {nearest(names[-1], owner.model_fields)}"
    if found["type"] == "missing":
        return f"option {path} is missing"
    if found["type"] == "value_error":
        return f"{path + ': ' if path else ''}{found['ctx']['error']}"
    value = shorten(found["input"])
    if field is None:
        return f"{path}: must be a section with a type, such as {{type: NAME}}, not {value}"
    if found["type"] == "literal_error" and isinstance(found["input"], str):
        choices = expected(field).split(" or ")
        return f"{path}: {value} is not known, {nearest(found['input'], choices)}"
    return f"{path}: {value} must be {expected(field)}"


def _locate(cls: type[Options], names: list[str]) -> tuple[type[Options], FieldInfo | None]:
    """Follow a path of names through nested sections to the section class that holds the last, and its field."""
    owner, field = cls, None
    for name in names:
        if field is not None and name.isdecimal():  # the place in a list
            continue
        if field is not None:
            inner = _section_class(field.annotation)
            if inner is None:
                return owner, field
            owner = inner
        field = owner.model_fields.get(name)
        if field is None:
            break
    return owner, field


def _shown(cls: type[Options], names: list[str]) -> list[str]:
    """Leave out of a path what pydantic adds to it: the member of a union, a validator's function."""
    shown: list[str] = []
    for count, name in enumerate(names, 1):
        _, field = _locate(cls, names[:count])
        if count == 1 or field is None or name.isdecimal() or name in _locate(cls, names[:count])[0].model_fields:
            shown.append(name)
    return shown


def _section_class(annotation: Any) -> type[Options] | None:  # noqa: ANN401
    from typing import get_args

    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Options) else None
    return next((found for one in get_args(annotation) if (found := _section_class(one)) is not None), None)
