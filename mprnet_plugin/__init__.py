"""MPRNet for the stock BasicSR: networks, losses, metrics, data and inference, usable without the host too.

Importing this package imports nothing else: the public names are fetched when they are first used.
"""

import sys

TYPE_CHECKING = False  # type checkers know the name; `typing` would be an import at every start of the interpreter
if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet_plugin.archs.mprnet_arch import MPRNet
    from mprnet_plugin.archs.presets import PRESETS
    from mprnet_plugin.inference.predictor import MPRPredictor
    from mprnet_plugin.inference.restorer import Restorer

__version__ = "0.1.0"
__all__ = ["PRESETS", "MPRNet", "MPRPredictor", "Restorer"]


def lazy(package: str, modules: "dict[str, str]") -> "Callable[[str], object]":
    """Return a ``__getattr__`` for a package that fetches its public names on first use (PEP 562).

    Args:
        package: the package's ``__name__``.
        modules: public name -> the module below the package that holds it, relative as in ``.archs.presets``.
    """

    def fetch(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(modules[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    return fetch


__getattr__ = lazy(
    __name__,
    {
        "MPRNet": ".archs.mprnet_arch",
        "PRESETS": ".archs.presets",
        "MPRPredictor": ".inference.predictor",
        "Restorer": ".inference.restorer",
    },
)
