from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmdb_tools import info, verify
from mprnet_plugin.errors import InputError


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


C_LOCALE = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def typed(folder: Path, *words: str, stdout: int = subprocess.PIPE) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=C_LOCALE,
        cwd=folder,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_commands_as_typed(output: Path, tmp_path: Path) -> None:
    """The verdict is on stdout, in a folder whose name starts with a dash and is no ASCII, in the locale C."""
    named = output.rename(tmp_path / "-é\n")
    code, out, err = typed(tmp_path, "lmdb_tools.verify", "--", named.name)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["good", "good"]
    code, out, err = typed(tmp_path, "lmdb_tools.info", "--side", "28", "--", named.name)
    assert (code, err) == (0, "")
    assert "picture  -" in out
    os.truncate(named / "train_input.lmdb" / "data.mdb", 5000)
    code, out, err = typed(tmp_path, "lmdb_tools.verify", str(named))
    assert (code, err) == (1, "")
    assert "BAD " in out


def test_streams_and_places_that_take_nothing(output: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        code, _, err = typed(tmp_path, "lmdb_tools.verify", str(output), stdout=full.fileno())
    assert code != 0
    assert len(err.splitlines()) == 1
    closed = ["bash", "-c", '"$0" -m lmdb_tools.verify "$1" >&- 2>&-', sys.executable, str(output)]
    assert subprocess.run(closed, check=False).returncode == 0
    os.truncate(output / "train_target.lmdb" / "data.mdb", 5000)
    assert subprocess.run(closed, check=False).returncode == 1
    code, _, err = typed(tmp_path, "lmdb_tools.info", "--sheet", "/proc/x", str(output / "train_input.lmdb"))
    assert code == 1  # its partner is damaged: no sheet
    shutil.rmtree(output / "train_target.lmdb")
    code, _, err = typed(tmp_path, "lmdb_tools.info", "--sheet", "/proc/x", str(output / "train_input.lmdb"))
    assert code == 2
    assert err.startswith("error: /proc/x/train_input_images.png: could not be written")
