from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mprnet_plugin.training import grids
from mprnet_plugin.training.validation import Restored


def test_grid_shows_the_middles_of_pictures_of_any_size(tmp_path: Path) -> None:
    def image(height: int, width: int, gt: bool = True) -> Restored:
        picture = np.zeros((height, width, 3), np.uint8)
        return Restored("a", picture, picture.astype(np.float32), picture if gt else None)

    images = [image(400, 500), image(20, 30), image(64, 64, gt=False)]
    assert grids.draw_grid(images).shape == (320 + 20 + 64 + 3 * 4, 3 * 320, 3)
    grids.write_png(grids.draw_grid(images), tmp_path / "new" / "grid.png")
    written = cv2.imread(str(tmp_path / "new" / "grid.png"))
    assert written is not None
    assert written.shape[1] == 960
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["grid.png"]
