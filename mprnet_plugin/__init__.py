"""MPRNet for BasicSR and on its own: networks, losses, metrics, data, training and restoring.

Importing this package imports nothing else: the public names are fetched when they are first used.
"""

from mprnet_plugin._lazy import lazy

TYPE_CHECKING = False  # type checkers know the name; `typing` would be an import at every start of the interpreter
if TYPE_CHECKING:
    from mprnet_plugin.archs.config import PRESETS
    from mprnet_plugin.archs.mprnet_arch import MPRNet
    from mprnet_plugin.inference.predictor import MPRPredictor
    from mprnet_plugin.inference.restorer import Restorer

__version__ = "0.2.0"
__all__ = ["PRESETS", "MPRNet", "MPRPredictor", "Restorer"]

__getattr__ = lazy(
    __name__,
    {
        "MPRNet": ".archs.mprnet_arch",
        "PRESETS": ".archs.config",
        "MPRPredictor": ".inference.predictor",
        "Restorer": ".inference.restorer",
    },
)
