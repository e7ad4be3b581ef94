"""What happens around the host's import; ``mprnet_plugin._startup`` calls it."""

from __future__ import annotations

from mprnet_plugin.hosts.basicsr import compat, registration


def before_import() -> None:
    """Make the host importable on the present stack. Runs when ``import basicsr`` starts."""
    compat.provide_moved_modules()


def after_import() -> None:
    """Mend the loaded host and put our parts into its registries. Runs once ``basicsr`` has loaded."""
    compat.withdraw_moved_modules()
    compat.mend_loaded_host()
    registration.register_all()
