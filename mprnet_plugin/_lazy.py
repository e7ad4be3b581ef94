"""Public names that are fetched when they are first used, so that importing a package costs next to nothing."""

import sys

TYPE_CHECKING = False  # type checkers know the name; `typing` would be an import at every start of the interpreter
if TYPE_CHECKING:
    from collections.abc import Callable


def lazy(package: str, modules: "dict[str, str]") -> "Callable[[str], object]":
    """Return a ``__getattr__`` for a package that fetches its public names on first use (PEP 562).

    Args:
        package: the package's ``__name__``.
        modules: public name -> the module below the package that holds it, relative as in ``.archs.config``.
    """

    def fetch(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(modules[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    return fetch
