"""Entry points for torch.hub: MPRNet for each task, from this repository as it is, nothing installed.

torch.hub.load("path/to/this/repository", "mprnet_denoising", pretrained="demo", source="local")
"""

from mprnet_plugin.archs.config import PRESETS as _PRESETS
from mprnet_plugin.archs.local_pooling import use_local_pooling as _use_local_pooling
from mprnet_plugin.archs.mprnet_arch import MPRNet as _MPRNet
from mprnet_plugin.errors import InputError as _InputError
from mprnet_plugin.errors import nearest as _nearest
from mprnet_plugin.weights.checkpoint import load_network as _load_network
from mprnet_plugin.weights.choice import PREFIX as _PREFIX
from mprnet_plugin.weights.choice import find_file as _find_file
from mprnet_plugin.weights.download import fetch as _fetch

dependencies = ["torch", "numpy", "pydantic", "safetensors", "tqdm", "typing_extensions"]

_CHOICES = ("published", "paddlegan", "authors", "demo")


def mprnet_deblurring(pretrained: bool | str = False, local_pooling: bool = False) -> _MPRNet:
    """MPRNet that removes blur of a camera or a subject that moved.

    Args:
        pretrained: "demo" for the small network that comes with the repository; True or "published" for the published
            weights, "paddlegan" or "authors" for those of one publisher, downloaded where they are not in the cache;
            False for the published network with random weights.
        local_pooling: Whether channel attention pools in windows (TLC), as suits pictures larger than 256 pixels.

    Returns:
        The network in evaluation mode, on the CPU: (N, 3, H, W) in [0, 1], H and W multiples of 8, to the images of
        three stages, the result first.
    """
    return _network("Deblurring", pretrained, local_pooling)


def mprnet_denoising(pretrained: bool | str = False, local_pooling: bool = False) -> _MPRNet:
    """MPRNet that removes noise, the grain of dim light; arguments and result as those of mprnet_deblurring."""
    return _network("Denoising", pretrained, local_pooling)


def mprnet_deraining(pretrained: bool | str = False, local_pooling: bool = False) -> _MPRNet:
    """MPRNet that removes streaks of rain; arguments and result as those of mprnet_deblurring."""
    return _network("Deraining", pretrained, local_pooling)


def _network(task: str, pretrained: bool | str, local_pooling: bool) -> _MPRNet:
    if pretrained is False:
        net = _MPRNet(**_PRESETS[task])
    elif pretrained is True or pretrained in _CHOICES:
        if pretrained == "demo":
            path = _find_file(f"{_PREFIX}demo/{task}")
        else:
            path = _fetch(task, None if pretrained in (True, "published") else str(pretrained))
        net = _load_network(path)
    else:
        raise _InputError(
            f"pretrained={pretrained!r} must be True, False or weights by name, {_nearest(str(pretrained), _CHOICES)}"
        )
    return (_use_local_pooling(net) if local_pooling else net).eval()
