"""Run a network on images of any size: pad, run, crop, and the mean of eight views where it is asked for.

Validation, testing and restoring all go through :func:`restore_any_size`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from mprnet_plugin.archs.mprnet_arch import SIZE_MULTIPLE
from mprnet_plugin.errors import InputError

__all__ = ["VIEWS", "pad_to_multiple", "restore_any_size", "self_ensemble", "stage_images"]

VIEWS = 8


def restore_any_size(net: Callable[[Tensor], object], x: Tensor, ensemble: bool = False) -> Tensor:
    """Return a network's final image for images of any height and width.

    Args:
        net: Takes (N, C, H, W), H and W multiples of 8; returns an image, or its stages' images, the final one first.
        x: (N, C, H, W), any H and W.
        ensemble: Average over eight flips and rotations: eight times the work.

    Returns:
        (N, C', H, W).

    Raises:
        InputError: The network returns something else.
    """

    def restore(view: Tensor) -> Tensor:
        padded = pad_to_multiple(view.contiguous())
        final = stage_images(net(padded), padded, type(net).__name__)[0]
        final = final.float() if final.dtype.itemsize < 4 else final  # a mean of views needs the digits
        return final[..., : view.shape[-2], : view.shape[-1]]

    return self_ensemble(restore, x) if ensemble else restore(x)


def stage_images(output: object, x: Tensor, name: str) -> list[Tensor]:
    """Return what a network gave as the list of its stages' images, the final one first.

    Args:
        output: One image of the batch, or a list or tuple of them.
        x: The batch that went in, (N, C, H, W): what comes out must be as many images of the same height and width.
        name: What to call the network in a message.

    Raises:
        InputError: It is neither, as from networks that change the size or return features.

    Example:
        >>> import torch
        >>> x = torch.zeros(2, 3, 8, 8)
        >>> len(stage_images(x, x, "net")), len(stage_images([x, x, x], x, "net"))
        (1, 3)
    """
    images: list[Tensor] = []
    for image in output if isinstance(output, (list, tuple)) else [output]:
        if not isinstance(image, Tensor):
            raise InputError(
                f"network {name} returns a {type(image).__name__}, expected an image (N, C, H, W) or a list of its "
                "stages' images, the final one first: choose another network_g"
            )
        if image.dim() != 4 or image.shape[0] != x.shape[0] or image.shape[2:] != x.shape[2:]:
            raise InputError(
                f"network {name} makes {tuple(image.shape)} of {tuple(x.shape)}, expected as many images of the same "
                "height and width: choose a network_g that restores without changing the size"
            )
        images.append(image)
    if not images:
        raise InputError(f"network {name} returns an empty list, expected its stages' images: choose another network_g")
    return images


def pad_to_multiple(x: Tensor, multiple: int = SIZE_MULTIPLE) -> Tensor:
    """Pad (N, C, H, W) right and below until both sides are multiples of ``multiple``.

    By reflection, as the authors' demo does; by replication along a side too short to reflect. Crop the result with
    ``[..., :H, :W]``.
    """
    for dim in (-2, -1):
        length = x.shape[dim]
        missing = -length % multiple
        if missing:
            pad = (0, 0, 0, missing) if dim == -2 else (0, missing, 0, 0)
            x = F.pad(x, pad, mode="reflect" if missing < length else "replicate")
    return x


def view(x: Tensor, number: int) -> Tensor:
    """Return one of the eight flips and rotations of (..., H, W); 0 is ``x`` itself."""
    x = x.rot90(number % 4, (-2, -1))
    return x.flip(-1) if number >= 4 else x


def undo_view(x: Tensor, number: int) -> Tensor:
    """Turn :func:`view` back."""
    x = x.flip(-1) if number >= 4 else x
    return x.rot90(-(number % 4), (-2, -1))


def self_ensemble(restore: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the mean over the eight views of ``x``, each restored and turned back (Timofte et al., CVPR 2016)."""
    total = undo_view(restore(view(x, 0)), 0)
    for number in range(1, VIEWS):
        total = total + undo_view(restore(view(x, number).contiguous()), number)
    return total / VIEWS
