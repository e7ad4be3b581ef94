"""The import hook that the autoload file installs in every interpreter of the environment.

When ``basicsr`` is imported, our part runs before and after the host's own code; nothing else is ever touched. All
programs of the environment pay for this file, so it uses only modules that the interpreter has loaded by itself.
``MPRNET_PLUGIN_DISABLE=1`` in the environment switches it off.
"""

import os
import sys

# Read by type checkers only: at start-up an import of `typing` would cost more than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

HOST = "basicsr"
SWITCH = "MPRNET_PLUGIN_DISABLE"


def activate() -> None:
    """Install the hook, once; ``MPRNET_PLUGIN_DISABLE`` set to anything but ``0`` or nothing prevents it."""
    if os.environ.get(SWITCH, "0") in ("", "0") and not any(isinstance(f, HostFinder) for f in sys.meta_path):
        sys.meta_path.insert(0, HostFinder())


class HostFinder:
    """Finds the host where the remaining finders find it, and has its loader call us."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return the host's spec with our loader around its own; None for every other module."""
        if name != HOST:
            return None
        finders = sys.meta_path.copy()
        # Only the finders behind this one: a second hook of this kind cannot send the search round in circles.
        for finder in finders[finders.index(self) + 1 if self in finders else 0 :]:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                # No exec_module: a namespace package (a plain folder of that name), or a loader of the old protocol.
                if hasattr(spec.loader, "exec_module") and not isinstance(spec.loader, HostLoader):
                    spec.loader = HostLoader(spec.loader)  # type: ignore[assignment, arg-type] # duck-typed
                return spec
        return None


class HostLoader:
    """The host's own loader in every respect, but for what happens around the execution of the package."""

    def __init__(self, loader: "Loader") -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> object:
        # Copying and unpickling look attributes up before __init__ has run.
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def exec_module(self, module: "ModuleType") -> None:
        """Run our first part, the host's code and our second part; only the host's errors get out."""
        # The loaded package shall not show that we were here: others test the type of its loader.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        ready = _guarded("before_import")
        self.loader.exec_module(module)
        if ready:
            _guarded("after_import")


def _guarded(step: str) -> bool:
    """Call one step of :mod:`mprnet_plugin.host.activate`; a failure is one warning line and False."""
    try:
        from mprnet_plugin.host import activate

        run: Callable[[], None] = getattr(activate, step)
        run()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if sys.stderr is not None:  # as under pythonw
            sys.stderr.write(
                f"mprnet-plugin: {HOST} goes on without the plugin, since {step} failed ({reason}); "
                f"{SWITCH}=1 switches the plugin off\n"
            )
        return False
    return True
