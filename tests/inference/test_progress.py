"""How far a run has come, and how it is ended by whoever is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mprnet_plugin.inference.picture_files import read_picture
from mprnet_plugin.inference.predictor import MPRPredictor
from mprnet_plugin.inference.preview import all_restorers, try_all
from mprnet_plugin.inference.progress import Cancelled
from mprnet_plugin.tasks import TASKS
from tests.helpers import picture, write_picture


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(3):
        write_picture(tmp_path / "in" / f"{number}.png", picture(number))
    return tmp_path / "in"


def test_the_share_grows_inside_of_pictures_and_no_bar_is_shown(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "1.png").write_bytes(b"no picture")
    shares: list[float] = []
    outcomes = MPRPredictor("denoise", output_path=tmp_path / "out").run(pictures, progress=shares.append)
    assert [outcome.status for outcome in outcomes] == ["restored", "failed", "restored"]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    inside = [share for share in shares if 0 < share < 1 / 3]
    assert len(inside) > 5
    assert capsys.readouterr().err.count("image/s") == 0


def test_what_the_progress_raises_ends_the_run_with_whole_files(pictures: Path, tmp_path: Path) -> None:
    def until_the_second(share: float) -> None:
        if share > 0.5:
            raise Cancelled

    predictor = MPRPredictor("denoise", output_path=tmp_path / "out")
    with pytest.raises(Cancelled):
        predictor.run(pictures, progress=until_the_second)
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["0_restoration.png"]
    first = read_picture(tmp_path / "out" / "Denoising" / "0_restoration.png").pixels
    # The network is as it was: the next run gives what a fresh one gives.
    predictor.run(pictures)
    MPRPredictor("denoise", output_path=tmp_path / "fresh").run(pictures)
    for number in range(3):
        name = Path("Denoising") / f"{number}_restoration.png"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    np.testing.assert_array_equal(first, read_picture(tmp_path / "fresh" / "Denoising" / "0_restoration.png").pixels)


def test_all_three_are_counted_as_one(pictures: Path) -> None:
    shares: list[float] = []
    panels = try_all(read_picture(pictures / "0.png"), all_restorers(), shares.append)
    assert list(panels) == ["as it is", *(task.short for task in TASKS.values())]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {panel.shape for panel in panels.values()} == {(40, 48, 3)}
