"""Pictures of phones and cameras that few programs read."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference import picture_files
from mprnet_plugin.inference.inputs import find_pictures
from mprnet_plugin.inference.picture_files import PICTURE_FORMATS, read_picture

SCENE = np.broadcast_to(np.linspace(30, 220, 64).astype(np.uint8)[None, :, None], (48, 64, 3))


@pytest.mark.parametrize(("form", "suffix"), [("AVIF", ".avif"), ("HEIF", ".HEIC")])
def test_they_are_read_where_a_decoder_is_there(tmp_path: Path, form: str, suffix: str) -> None:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[271] = "Maker"
    path = tmp_path / f"x{suffix}"
    Image.fromarray(SCENE.copy()).save(path, form, quality=90, exif=exif.tobytes())
    found = read_picture(path)
    assert np.abs(found.pixels.astype(int) - SCENE).mean() < 3
    assert found.exif[271] == "Maker"
    hidden = path.rename(tmp_path / "hidden.png")
    with pytest.raises(InputError, match="cannot be decoded"):
        read_picture(hidden)


def test_what_is_passed_over_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mprnet_plugin.inference.inputs.readable_formats", lambda: PICTURE_FORMATS)
    Image.fromarray(SCENE.copy()).save(tmp_path / "a.png")
    for name in ("1.CR2", "2.nef", "b.heic", "notes.txt"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert [relative.name for _, relative in find_pictures(tmp_path)] == ["a.png"]
    first, second = caplog.messages
    assert (
        first
        == f"passed over: {tmp_path}/1.CR2 and 1 more: is a RAW file of a camera; develop it into a TIFF or JPEG first"
    )
    assert second.startswith(f"passed over: {tmp_path}/b.heic: cannot be read here; pip install pillow-heif")
    with pytest.raises(InputError, match=r"1\.CR2: is a RAW file of a camera"):
        find_pictures(tmp_path / "1.CR2")


def test_without_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    picture_files.readable_formats.cache_clear()
    assert ".heic" not in picture_files.readable_formats()
    picture_files.readable_formats.cache_clear()
