"""The core's datasets, as configs build them: from keywords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["from_keywords"]


def from_keywords(dataset: Any) -> Callable[..., Any]:
    """Return what builds one of the core's datasets from keywords, each of which must be an option of it.

    Args:
        dataset: A class with ``options_class`` that takes a mapping of options.
    """

    def build(name: str = "", **options: Any) -> Any:
        dataset.options_class.read(options, dataset.__name__)
        built = dataset(options)
        built.metainfo = {"dataset_type": dataset.__name__, "dataset_name": name}  # loops and metrics ask for it
        return built

    build.__name__ = build.__qualname__ = dataset.__name__
    build.__doc__ = f"{dataset.__doc__}\n\nAs keywords; ``name`` is what logs, tables and folders call the set."
    return build
