from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from lmdb_tools import gopro, info, verify
from lmdb_tools.sheet import contact_sheet
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 50_000, "nested too deeply"),
        ("[]", "is damaged"),
        ('{"format": 1, "format": 1}', "it says 'format' twice"),
        ('{"format": 1' + "0" * 5000 + "}", "is damaged"),
        ("\xff", "is damaged"),
        (" " * 200_000, "more than"),
    ],
)
def test_odd_manifests(output: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    (output / "train_input.lmdb" / "manifest.json").write_text(text, encoding="latin-1")
    code, verdict = status(output, capsys)
    assert code == 1
    assert says in verdict
    assert info.main([str(output)]) == 1
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content.update(count="3"), "count: Input should be a valid integer"),
        (lambda content: content.update(options=[]), "options: Input should be a valid dictionary"),
        (lambda content: content.update(plan=None), "plan: Input should be a valid string"),
        (lambda content: content["entries"].append(content["entries"][0]), "it lists '0' 2 times"),
        (lambda content: content["entries"][0].__setitem__(0, "../0"), "'../0' is no key"),
        (lambda content: content["entries"][0].__setitem__(2, [0, 0, 3]), "entries.0.2.0: Input should be greater"),
        (lambda content: content["entries"][0].__setitem__(1, 10**30), "entries.0.1: Input should be less"),
        (lambda content: content["entries"][0].__setitem__(0, {}), "entries.0.0: Input should be a valid string"),
    ],
)
def test_manifests_of_wrong_types(output: Path, capsys: pytest.CaptureFixture[str], change: Any, says: str) -> None:
    edit_manifest(output / "train_input.lmdb", change)
    code, text = status(output, capsys)
    assert code == 1
    assert says in text


@pytest.mark.parametrize("key", ["/etc/x", "../../x", "a/../x", "a//x", "a\\x", "a\x01x"])
def test_keys_that_lead_out_of_a_folder(output: Path, capsys: pytest.CaptureFixture[str], key: str) -> None:
    meta = output / "train_input.lmdb" / "meta_info.txt"
    meta.write_text(meta.read_text().replace("1.png", f"{key}.png"))
    code, text = status(output, capsys)
    assert code == 1
    assert "is no key, which is a relative name" in text


@pytest.mark.parametrize("name", ["data.mdb", "meta_info.txt", "manifest.json"])
@pytest.mark.parametrize("kind", ["missing", "pipe", "folder", "device"])
def test_special_files(output: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str) -> None:
    path = output / "train_target.lmdb" / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif name == "manifest.json":
        return  # a database without one is a good one
    code, text = status(output, capsys)
    assert code == 1
    assert f"{path}" in text
    assert "cannot be read" in text
    assert info.main([str(output)]) == 1


def test_the_commands_as_typed(output: Path, tmp_path: Path) -> None:
    """The verdict is on stdout, in a folder whose name starts with a dash and is no ASCII, in the locale C."""
    named = output.rename(tmp_path / "-é\n")
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONPATH": str(Path.cwd()),
    }

    def typed(*words: str, stdout: int = subprocess.PIPE) -> tuple[int, str, str]:
        line = [sys.executable, "-m", *words]
        done = subprocess.run(
            line, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path, check=False
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = typed("lmdb_tools.verify", "--", named.name)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["good", "good"]
    code, out, err = typed("lmdb_tools.info", "--side", "28", "--", named.name)
    assert (code, err) == (0, "")
    assert "picture  -" in out
    with Path("/dev/full").open("w") as full:
        code, _, err = typed("lmdb_tools.verify", str(named), stdout=full.fileno())
    assert code != 0
    assert len(err.splitlines()) == 1
    closed = subprocess.run(
        ["bash", "-c", '"$0" -m lmdb_tools.verify "$1" >&- 2>&-', sys.executable, str(named)],
        env=environment,
        check=False,
    )
    assert closed.returncode == 0
    os.truncate(named / "train_input.lmdb" / "data.mdb", 5000)
    code, out, err = typed("lmdb_tools.verify", str(named))
    assert (code, err) == (1, "")
    assert "BAD " in out
    code, _, err = typed("lmdb_tools.info", "--sheet", "/proc/x", str(named / "train_target.lmdb"))
    assert code == 2
    assert err.startswith("error: /proc/x/train_target_images.png: could not be written")
