"""Batches with files in them that are not what they seem: the others are done, and nothing else is touched."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mprnet_plugin import memory
from mprnet_plugin.data.stores import FolderStore
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.cli import main
from mprnet_plugin.inference.inputs import find_pictures
from mprnet_plugin.inference.picture_files import read_picture
from mprnet_plugin.inference.predictor import MPRPredictor
from mprnet_plugin.weights.convert import save_weights
from tests.hostile.pictures import array, foreign, honest, png_of, saved, several
from tests.hostile.weights import tiny_weights


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_weights(tiny_weights(), tmp_path / "w.safetensors")
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)


def command(*words: str) -> int:
    return main(["--weight_path", "w.safetensors", "--output_path", "out", "--input_image", *words])


def test_one_that_cannot_be_written_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in" / "a.jpg").write_bytes(saved("JPEG"))
    (tmp_path / "in" / ("n" * 250 + ".png")).write_bytes(saved("PNG"))
    (tmp_path / "in" / "wide.png").write_bytes(saved("PNG", Image.new("RGB", (16_384, 1))))
    (tmp_path / "in" / "zz.png").write_bytes(saved("PNG"))
    assert command("in", "--output_format", ".webp") == 1
    assert sorted(path.name for path in (tmp_path / "out" / "Restored").iterdir()) == [
        "a_restoration.webp",
        "zz_restoration.webp",
    ]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [error.partition(": ")[2][:70].split(": ")[-1] for error in errors] != []
    assert "File name too long" in errors[0]
    assert "WEBP holds sides up to 16383, the picture is 16384 x 1" in errors[1]


def test_a_file_says_in_one_line_what_was_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, content in several():
        if name == "several_MPO.jpg":
            (tmp_path / "in" / name).write_bytes(content)
    exif = Image.Exif()
    exif[0x8769] = {0x9286: b"x" * 70_000}
    (tmp_path / "in" / "long.png").write_bytes(saved("PNG", exif=exif))
    assert command("in", "--output_format", ".jpg") == 0
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == [
        "in/long.png: written without EXIF entries UserComment, which JPEG cannot hold",
        "in/several_MPO.jpg: holds 2 pictures, of which the first is taken",
    ]


def test_several_frames_are_refused_by_their_number(tmp_path: Path) -> None:
    for name, content in several():
        if name.startswith(("several_WEBP", "several_PNG", "several_TIFF")):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InputError, match=r"has more than one frame \(2\); expected one picture: extract one"):
                read_picture(tmp_path / name)


def test_only_known_decoders_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    ran: list[str] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: ran.append("gs"))
    for name, content in foreign():
        (tmp_path / "in" / name).write_bytes(content)
        with pytest.raises(InputError, match=r"no picture that is known|is empty"):
            read_picture(tmp_path / "in" / name)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(dict(foreign())["postscript.png"])
    with pytest.raises(InputError, match="is no readable image"):
        FolderStore(tmp_path / "set").size("a")
    assert ran == []


def test_pixels_that_do_not_fit_are_refused_by_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2 << 30)
    (tmp_path / "a.png").write_bytes(png_of(30_000, 20_000))
    with pytest.raises(
        InputError, match=r"a\.png: has 30000 x 20000 pixels, which need 7\.2 GB of memory where 2\.1 GB"
    ):
        read_picture(tmp_path / "a.png")


def test_large_pictures_that_fit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name, content in honest():
        (tmp_path / name).write_bytes(content)
        assert read_picture(tmp_path / name).pixels.size >= 256
    assert Image.MAX_IMAGE_PIXELS == 100


def test_memory_of_a_process_with_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (size + (1 << 20), -1))
    assert memory.free_memory() <= 2 << 20


@pytest.mark.timeout(60)
def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in" / "pipe.png")
    (tmp_path / "in" / "a.png").write_bytes(saved("PNG"))
    with pytest.raises(InputError, match=r"in/pipe\.png: cannot be read, as it is a pipe"):
        command("in/pipe.png")
    with pytest.raises(InputError, match=r"/dev/zero: cannot be read, as it is a device"):
        command("/dev/zero")
    assert command("in") == 1
    assert [path.name for path in (tmp_path / "out" / "Restored").iterdir()] == ["a_restoration.png"]
    os.mkfifo(tmp_path / "pipe.pth")
    for path, kind in (("pipe.pth", "pipe"), ("/dev/zero", "device"), ("in", "folder")):
        with pytest.raises(InputError, match=f"{path}: cannot be read, as it is a {kind}"):
            MPRPredictor(weight_path=path)


@pytest.mark.parametrize("link", [os.link, os.symlink, None], ids=["hard", "symbolic", "same"])
def test_overwrite_replaces_no_input(link: object, tmp_path: Path) -> None:
    results = tmp_path / "out" / "Restored"
    results.mkdir(parents=True)
    result = results / "a_restoration.png"
    Image.fromarray(array(16, 16, 3)).save(tmp_path / "in" / "a.png")
    other = tmp_path / "in" / "b.png" if link is not None else result
    Image.fromarray(array(16, 16, 3, seed=1)).save(other)
    if callable(link):
        link(other, result)
    before = other.read_bytes()
    assert command("in/a.png", str(other), "--overwrite") == 1
    assert result.read_bytes() == other.read_bytes() == before
    done = {path.name for path in results.iterdir()}
    assert done == {"a_restoration.png", f"{other.stem}_restoration.png"}


def test_no_target_and_no_weights_are_replaced(tmp_path: Path) -> None:
    results = tmp_path / "out" / "Restored"
    results.mkdir(parents=True)
    Image.fromarray(array(16, 16, 3)).save(tmp_path / "in" / "a.png")
    Image.fromarray(array(16, 16, 3, seed=1)).save(results / "a_compare.png")
    before = (results / "a_compare.png").read_bytes()
    target = str(results / "a_compare.png")
    assert command("in", "--compare", "--overwrite", "--target", target) == 2
    assert (results / "a_compare.png").read_bytes() == before


def test_results_beside_their_inputs_are_no_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "Restored"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(saved("PNG"))
    (folder / "deep").mkdir()
    (folder / "deep" / "b.png").write_bytes(saved("PNG"))
    for _ in range(3):
        assert command("out/Restored", "--compare", "--overwrite") == 0
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")) == sorted(
        ["a.png", "a_compare.png", "a_restoration.png"]
        + [f"deep/b{ending}.png" for ending in ("", "_compare", "_restoration")]
    )
    assert len(find_pictures(folder, [folder])) == 2


def test_a_disturbing_name_is_one_harmless_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in" / "a\n\x1b[2Jb.png").write_text("no picture")
    np.save(tmp_path / "x.npy", np.zeros(1))
    assert command("in") == 2
    assert "\x1b" not in capfd.readouterr().err
