from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lmdb_tools import gopro, info, verify
from mprnet_plugin.errors import InputError


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    for number in range(3):
        for side in ("input", "target"):
            path = root / "source" / "train" / side / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng(number).integers(0, 256, (40, 56, 3), np.uint8)
            assert cv2.imwrite(str(path), image)
    assert gopro.main(["--source", str(root / "source"), "--output", str(root / "out"), "--workers", "1"]) == 0
    return root / "out"


@pytest.fixture
def output(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "out"))


def status(output: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = verify.main([str(output), "--workers", "2"])
    return code, capsys.readouterr().out


def edit_manifest(root: Path, change: Any) -> None:
    content = json.loads((root / "manifest.json").read_text())
    change(content)
    (root / "manifest.json").write_text(json.dumps(content))


def test_good(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = status(output, capsys)
    assert code == 0
    assert text.count("good ") == 2


def test_one_flipped_bit_names_the_key(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = output / "train_target.lmdb" / "data.mdb"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4  # in the pixels of one of the three
    path.write_bytes(data)
    code, text = status(output, capsys)
    assert code == 1
    assert text.count("is not what was packed") == 1
    assert "train_target.lmdb:" in text
    assert "good" in text  # the other side is


def test_truncated(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = output / "train_input.lmdb" / "data.mdb"
    path.write_bytes(path.read_bytes()[:-4096])
    code, text = status(output, capsys)
    assert code == 1
    assert "is truncated" in text


def test_missing_partner_and_other_plan(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_manifest(output / "train_target.lmdb", lambda content: content.update(plan="other"))
    code, text = status(output, capsys)
    assert code == 1
    assert "packed from different sources" in text
    shutil.rmtree(output / "train_target.lmdb")
    code, text = status(output, capsys)
    assert code == 1
    assert "has no partner train_target.lmdb" in text


def test_shapes_and_keys_against_meta_info(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = output / "train_input.lmdb" / "meta_info.txt"
    meta.write_text(meta.read_text().replace("1.png (40,56,3)", "1.png (56,40,3)").replace("2.png", "7.png"))
    code, text = status(output, capsys)
    assert code == 1
    assert "train_input.lmdb:1 is 56x40, meta_info.txt says 40x56" in text
    assert ":2 is only in the manifest" in text
    assert ":7 is only in meta_info.txt" in text
    assert "train_target.lmdb:7 is missing" in text


def test_totals(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_manifest(output / "train_input.lmdb", lambda content: content.update(bytes=1))
    code, text = status(output, capsys)
    assert code == 1
    assert "the manifest says bytes 1" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content.update(format=99), "has format 99"),
        (lambda content: content.pop("entries"), "is damaged"),
        (lambda content: content.update(entries=[["a"]]), "is damaged"),
    ],
)
def test_bad_manifest(output: Path, capsys: pytest.CaptureFixture[str], change: Any, says: str) -> None:
    edit_manifest(output / "train_input.lmdb", change)
    code, text = status(output, capsys)
    assert code == 1
    assert says in text


def test_without_manifest_shapes_are_checked(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for root in output.iterdir():
        (root / "manifest.json").unlink()
    code, text = status(output, capsys)
    assert code == 0
    assert text.count("no manifest: shapes only") == 2


def test_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \*\.lmdb folder"):
        verify.main([str(tmp_path)])
    with pytest.raises(InputError, match="--workers 0"):
        verify.main([str(tmp_path), "--workers", "0"])


def test_info(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main([str(output), "--sheet", str(tmp_path), "--rows", "2", "--side", "28"]) == 0
    text = capsys.readouterr().out
    assert "3: 3 of 56x40" in text
    assert "ppm, whole images, from prepared layout" in text
    sheet = cv2.imread(str(tmp_path / "train_pairs.png"))
    assert sheet is not None
    assert sheet.shape == (2 * (20 + 8) + 8, 2 * (28 + 8) + 8, 3)
    np.testing.assert_array_equal(sheet[8:28, 8:36], sheet[8:28, 44:72])  # input and target were equal pictures
    assert (sheet[:8] == 255).all()


def test_info_shows_the_pixels(output: Path) -> None:
    sheet = info.contact_sheet([output / "train_input.lmdb"], 3, 56, 0)
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)[..., ::-1]
    np.testing.assert_array_equal(sheet[8:48, 8:64], image)


def test_info_where_it_cannot_write(output: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="could not be written"):
        info.main([str(output), "--sheet", str(tmp_path / "file")])
    with pytest.raises(InputError, match="--rows 0"):
        info.main([str(output), "--rows", "0"])
