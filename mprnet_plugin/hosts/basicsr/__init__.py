"""Everything that imports BasicSR: its model, registration, option checks, resuming, launching and mends.

Whatever of this package is imported first, the host is loaded and mended before: modules below may import it freely.
"""

from mprnet_plugin import _startup

# Where the package runs from a source folder that was never installed, no .pth has done this.
_startup.activate()

# The hook imports this package in its turn, which then finds the host half loaded, and goes on with it.
import basicsr  # noqa: E402, F401
