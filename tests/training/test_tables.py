from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mprnet_plugin.metrics.protocols import PROTOCOLS, Figures
from mprnet_plugin.training.tables import MISSING, Row, extremes, markdown, table, write_tables

ROWS = [
    Row("Rain100L", "rain", "a", {"psnr": 30.0, "ssim": 0.9}),
    Row("Rain100L", "rain", "b", {"psnr": 32.0, "ssim": 0.8}),
    Row("Rain100L", "rain", "f", {"psnr": 37.0, "ssim": 0.4}),
    Row("Test100", "rain", "c", {"psnr": 20.0, "ssim": 0.5}),
    Row("mine", "gopro", "d|e", {"psnr": 25.0, "ssim": 0.7}, {"psnr": 26.0, "ssim": 0.6}),
]


def test_lines_are_means_over_images_and_averages_means_over_datasets() -> None:
    lines = {(line.protocol, line.dataset): line for line in table(ROWS)}
    assert lines["rain", "Rain100L"].scores == {"psnr": 33.0, "ssim": pytest.approx(0.7)}
    assert lines["rain", "Rain100L"].published == Figures(36.40, 0.965, 100)
    average = lines["rain", "average"]
    assert average.scores["psnr"] == 26.5
    assert average.images == 4
    assert average.published is not None
    assert average.published.psnr == pytest.approx((36.40 + 30.27) / 2)
    assert ("gopro", "average") not in lines
    assert lines["gopro", "mine"].published is None


def test_average_of_the_published_rain_sets_is_the_papers() -> None:
    rows = [Row(name, "rain", "x", {"psnr": 0.0}) for name in PROTOCOLS["rain"].published]
    average = table(rows)[-1].published
    assert average is not None
    assert round(average.psnr, 2) == 32.73
    assert average.ssim is not None
    assert round(average.ssim, 3) == 0.921


def test_files_hold_what_was_measured(tmp_path: Path) -> None:
    text = write_tables(ROWS, tmp_path)
    assert (tmp_path / "table.md").read_text() == text
    assert "| Rain100L | rain | 3 of 100 | 33.0000 | 0.7000 | - | - | 36.40 / 0.965 |" in text
    assert f"| mine | gopro | 1 | 25.0000 | 0.7000 | 26.0000 | 0.6000 | {MISSING} |" in text
    with (tmp_path / "images.csv").open() as file:
        images = list(csv.DictReader(file))
    assert [float(row["psnr"]) for row in images] == [30.0, 32.0, 37.0, 20.0, 25.0]
    with (tmp_path / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["dataset"] for line in lines] == ["Rain100L", "Test100", "mine", "average"]
    assert lines[0]["published_ssim"] == "0.965"
    assert [line["published_images"] for line in lines] == ["100", "98", "", "198"]
    assert (lines[2]["input_psnr"], lines[0]["input_psnr"]) == ("26.0", "")
    assert images[4]["input_ssim"] == "0.6"


def test_a_network_that_makes_pictures_worse_is_said_to(tmp_path: Path) -> None:
    text = write_tables(ROWS, tmp_path)
    assert text.splitlines()[-1] == "WORSE than the input: mine (psnr 25.0000, of the input 26.0000)"
    lpips = [Row("mine", "", "a", {"lpips": 0.3}, {"lpips": 0.2})]
    assert "WORSE" not in write_tables(lpips, tmp_path)
    assert "WORSE than the input: mine (lpips 0.3000, of the input 0.2000)" in write_tables(
        lpips, tmp_path, lower_is_better=["lpips"]
    )


def test_a_whole_test_set_is_not_called_a_part_of_it() -> None:
    rows = [Row("Test100", "rain", str(number), {"psnr": 30.0}) for number in range(98)]
    assert "| 98 |" in markdown(table(rows))
    assert "| 97 of 98 |" in markdown(table(rows[1:]))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [({}, []), ({4: 1.0}, [4]), ({0: 3.0, 1: 1.0, 2: 2.0}, [1, 2, 0]), ({0: 1.0, 1: 2.0}, [0, 1])],
)
def test_extremes(scores: dict[int, float], expected: list[int]) -> None:
    assert extremes(scores) == expected
