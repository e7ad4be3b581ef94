"""The import hook: when ``basicsr`` is imported, our part runs before and after the host's own code.

It is set up at every start of every program in the environment, which all pay for it. So ``mprnet_plugin_autoload.pth``
imports nothing of ours: its one line makes the same finder as :func:`activate` here, and this module is loaded when
somebody asks for ``basicsr``. From Python 3.15 on the ``.start`` file (PEP 829) goes before the ``.pth`` and calls
:func:`activate`; for its sake this module uses only what the interpreter has loaded by itself.

``MPRNET_PLUGIN_DISABLE=1`` in the environment switches the plugin off.
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
MARK = "mprnet_plugin"  # an attribute that tells our finder from others


def activate() -> None:
    """Install the hook, once."""
    if not any(hasattr(finder, MARK) for finder in sys.meta_path):
        # A finder needs no more than this attribute, and to make a class takes longer than all the rest.
        sys.meta_path.insert(0, type(sys.implementation)(mprnet_plugin=1, find_spec=find_spec))  # type: ignore[call-arg]


def find_spec(
    name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
) -> "ModuleSpec | None":
    """Find the host where the remaining finders find it, and put our loader around its own.

    Args:
        name: the module that is looked for.
        path: where to search, as finders get it.
        target: the module to reload, as finders get it.

    Returns:
        The host's spec; None for every other module, and where no finder knows the host.
    """
    if name != HOST or os.environ.get(SWITCH, "0") not in ("", "0"):
        return None
    ours = [hasattr(finder, MARK) for finder in sys.meta_path]
    # Only the finders behind our own: a second hook of this kind cannot send the search round in circles.
    start = ours.index(True) if True in ours else 0
    for finder in [f for f, own in zip(sys.meta_path[start:], ours[start:], strict=False) if not own]:
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
        import gc  # here, as no start of Python has it loaded

        collecting = gc.isenabled()
        gc.disable()
        try:
            ready = _guarded("before_import")
            self.loader.exec_module(module)
            if ready:
                _guarded("after_import")
        finally:
            if collecting:
                _enable_collector()


def _enable_collector() -> None:
    """Collect garbage again, without looking for it among thousands of modules that have come to stay.

    That search is a tenth of the host's import. To freeze and unfreeze leaves everything among the oldest objects, as
    if it had been made; where a program has frozen objects of its own, they are left so.
    """
    import gc

    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()
    gc.enable()


def _guarded(step: str) -> bool:
    """Call one step of :mod:`mprnet_plugin.hosts.basicsr.import_steps`; a failure is one warning line and False."""
    try:
        from mprnet_plugin.hosts.basicsr import import_steps

        run: Callable[[], None] = getattr(import_steps, step)
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
