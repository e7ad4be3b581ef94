"""Restore pictures by the host's inferencer: the core's restorer behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.infer import BaseInferencer
from numpy.typing import NDArray

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.mmengine.registry import SCOPE
from mprnet_plugin.inference.inputs import find_pictures
from mprnet_plugin.inference.picture_files import read_picture
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.inference.targets import rgb8
from mprnet_plugin.training.grids import write_png
from mprnet_plugin.weights.checkpoint import load_network
from mprnet_plugin.weights.choice import find_file

__all__ = ["MPRNetInferencer"]

Picture = NDArray[Any]


class MPRNetInferencer(BaseInferencer):  # type: ignore[misc]
    """Restore files, folders or arrays; the network is that of the weights.

    Args:
        model: Unused, as weights tell their network.
        weights: A file of weights, or ``mprnet://Deblurring`` for published ones.
        device: ``cpu``, ``cuda``; the GPU where there is one if left out.
        scope: Of registries, as the host has it.
        show_progress: Show a progress bar.
        restorer: Options of :class:`~mprnet_plugin.inference.restorer.Restorer`: ``precision``, ``tile``,
            ``local_pooling``, ``self_ensemble`` and others.

    Example: ``MPRNetInferencer(weights="iter_396000.pth")("photos", out_dir="restored")["predictions"]``

    Raises:
        InputError: No such weights, or an option's value.
    """

    visualize_kwargs = {"out_dir"}  # noqa: RUF012 - as the host declares it

    def __init__(
        self,
        model: Any = None,
        weights: str = "mprnet://Deblurring",
        device: str | None = None,
        scope: str | None = SCOPE,
        show_progress: bool = False,
        **restorer: Any,
    ) -> None:
        self._options = restorer
        super().__init__(model, weights, device, scope, show_progress)

    def _init_model(self, cfg: Any, weights: str, device: str) -> Restorer:
        return Restorer(load_network(find_file(weights)), device, **self._options)

    def _init_pipeline(self, cfg: Any) -> Callable[[Any], Picture]:
        return _pixels

    def _init_collate(self, cfg: Any) -> Callable[[list[Picture]], list[Picture]]:
        return list

    def _init_visualizer(self, cfg: Any) -> None:
        return None

    def _inputs_to_list(self, inputs: Any) -> list[Any]:
        """List arrays, and the files that paths, folders and patterns mean."""
        listed: list[Any] = []
        for one in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
            listed += [one] if isinstance(one, np.ndarray) else [file for file, _ in find_pictures(one)]
        return listed

    def forward(self, inputs: list[Picture], **_: Any) -> list[Picture]:
        """Restore pictures."""
        return [self.model(picture) for picture in inputs]

    def visualize(self, inputs: list[Any], preds: list[Picture], out_dir: str | None = None) -> list[Picture]:
        """Write the results as PNG where a folder is given, by the names of their inputs or by number.

        Raises:
            InputError: They cannot be written.
        """
        for number, (given, picture) in enumerate(zip(inputs, preds, strict=True)):
            if out_dir is not None:
                name = given.stem if isinstance(given, Path) else str(number)
                write_png(np.ascontiguousarray(rgb8(picture)[..., ::-1]), Path(out_dir) / f"{name}.png")
        return preds

    def postprocess(
        self, preds: list[Picture], visualization: list[Picture], return_datasample: bool = False
    ) -> dict[str, list[Picture]]:
        """Return the restored pictures, RGB as they were given.

        Raises:
            InputError: Data samples are asked for.
        """
        if return_datasample:
            raise InputError("return_datasamples is not known: predictions are arrays")
        return {"predictions": preds, "visualization": visualization}


def _pixels(given: Any) -> Picture:
    return given if isinstance(given, np.ndarray) else read_picture(Path(given)).pixels
