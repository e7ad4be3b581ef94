from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from lmdb_tools import info
from lmdb_tools.sheet import contact_sheet
from mprnet_plugin.errors import InputError


def sheet_of(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Pillow.open(path).convert("RGB"))


def test_info(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main([str(output), "--rows", "2", "--side", "28"]) == 0
    text = capsys.readouterr().out
    assert "3: 3 of 56x40" in text
    assert "ppm, whole images, from prepared layout" in text
    assert f"picture  {output / 'train_pairs.png'}" in text
    assert sorted(path.name for path in output.iterdir()) == [
        "train_input.lmdb",
        "train_pairs.png",
        "train_target.lmdb",
    ]
    sheet = sheet_of(output / "train_pairs.png")
    assert sheet.shape == (2 * 18 + 2 * (18 + 20 + 8) + 8, 2 * (28 + 8) + 8, 3)
    np.testing.assert_array_equal(sheet[54:74, 8:36], sheet[54:74, 44:72])  # input and target were equal pictures
    titles = [sheet[top : top + 18] for top in (0, 18, 36, 82)]
    assert all((title < 128).any() for title in titles)  # folder, databases, and the key of each row


def test_info_shows_the_pixels(output: Path) -> None:
    sheet = np.asarray(contact_sheet([output / "train_input.lmdb"], 3, 56, 0))
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)[..., ::-1]
    np.testing.assert_array_equal(sheet[54:94, 8:64], image)


def test_info_replaces_its_own_sheet_of_that_database_only(output: Path, tmp_path: Path) -> None:
    place = tmp_path / "sheets"
    line = [str(output), "--sheet", str(place), "--side", "28"]
    assert info.main([*line, "--rows", "1"]) == 0
    first = (place / "train_pairs.png").read_bytes()
    assert info.main([*line, "--rows", "3"]) == 0
    assert (place / "train_pairs.png").read_bytes() != first
    other = shutil.copytree(output, tmp_path / "other")
    with pytest.raises(InputError, match=r"train_pairs\.png is there and is no sheet of .*/other/train_input\.lmdb"):
        info.main([str(other), *line[1:]])
    Pillow.new("RGB", (3, 3)).save(place / "train_pairs.png")
    mine = (place / "train_pairs.png").read_bytes()
    with pytest.raises(InputError, match="remove it or give another folder with --sheet"):
        info.main(line)
    assert (place / "train_pairs.png").read_bytes() == mine


def test_info_of_one_side(output: Path, tmp_path: Path) -> None:
    shutil.rmtree(output / "train_input.lmdb")
    assert info.main([str(output)]) == 0
    assert (output / "train_target_images.png").is_file()


def test_info_says_every_damage_and_goes_on(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(output / "train_input.lmdb", output / "val_input.lmdb")
    os.truncate(output / "train_target.lmdb" / "data.mdb", 5000)
    assert info.main([str(output)]) == 1
    text = capsys.readouterr().out
    assert "BAD  " in text
    assert "data.mdb is truncated" in text
    assert (output / "val_input_images.png").is_file()


def test_info_where_it_cannot_write(output: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="could not be written"):
        info.main([str(output), "--sheet", str(tmp_path / "file")])
    with pytest.raises(InputError, match="--rows 0"):
        info.main([str(output), "--rows", "0"])
