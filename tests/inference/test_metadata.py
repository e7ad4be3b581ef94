"""Metadata never costs the picture: what a format cannot hold is left out, and said."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.picture_files import Picture, read_picture
from mprnet_plugin.inference.picture_writing import check_format_holds, write_picture
from tests.hostile.pictures import SRGB, after_header, array, chunk, full_exif, segment

NOISE = np.random.default_rng(0).bytes(17_000_000)


def picture(dtype: Any = np.uint8, exif: Image.Exif | None = None, icc: bytes | None = None) -> Picture:
    return Picture(array(16, 16, 3, dtype=dtype), icc, Image.Exif() if exif is None else exif, None)


def test_exif_folders_go_from_jpeg_to_tiff(tmp_path: Path) -> None:
    Image.fromarray(array(16, 16, 3)).save(tmp_path / "a.jpg", exif=full_exif(), icc_profile=SRGB)
    assert write_picture(tmp_path / "a.tif", read_picture(tmp_path / "a.jpg")) == ()
    for _ in range(2):  # and from TIFF to TIFF
        with Image.open(tmp_path / "a.tif") as image:
            assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "50mm"
            assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
            assert image.info["icc_profile"] == SRGB
        assert write_picture(tmp_path / "a.tif", read_picture(tmp_path / "a.tif")) == ()


def test_text_of_any_alphabet_in_deep_tiff(tmp_path: Path) -> None:
    texts = {315: "Zoë Müller", 271: "写真"}
    tags = [(tag, "s", 0, text.encode(), True) for tag, text in texts.items()]
    content = array(16, 16, 3, dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", content, photometric="rgb", extratags=tags, description="été".encode(), metadata=None
    )
    assert write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.tif")) == ()
    with Image.open(tmp_path / "b.tif") as image:
        for tag, text in {**texts, 270: "été"}.items():
            assert image.getexif()[tag].encode("latin-1").decode() == text
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels, content)


def long_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.IFD.Exif] = {int(ExifTags.Base.UserComment): b"x" * 70_000, int(ExifTags.Base.LensModel): "50mm"}
    return exif


def many_long_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {
        int(ExifTags.Base.UserComment): b"x" * 40_000,
        int(ExifTags.Base.MakerNote): b"x" * 40_000,
    }
    return exif


def malformed_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.Make] = object()
    return exif


@pytest.mark.parametrize(
    ("suffix", "given", "lost"),
    [
        (".jpg", picture(exif=long_exif()), "EXIF entries UserComment, which JPEG"),
        (".jpg", picture(exif=many_long_exif()), "EXIF entries .*UserComment.*, which JPEG"),
        (".jpg", picture(icc=NOISE), r"its colour profile \(17000000 bytes\), which JPEG"),
        *[(suffix, picture(exif=malformed_exif()), "EXIF entries Make, which") for suffix in (".jpg", ".png", ".webp")],
        (".tif", picture(exif=malformed_exif()), "EXIF entries Make, which TIFF"),
        (".png", picture(np.uint16, malformed_exif()), "EXIF entries Make, which PNG"),
    ],
    ids=["long", "long-together", "profile", "jpg", "png", "webp", "tif", "png16"],
)
def test_what_does_not_fit_is_left_out_and_said(suffix: str, given: Picture, lost: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    (note,) = write_picture(path, given)
    assert re.match(f"written without {lost}", note), note
    back = read_picture(path)
    assert back.pixels.shape == (16, 16, 3)
    assert back.notes == ()
    if ExifTags.Base.Artist in given.exif:
        assert back.exif[ExifTags.Base.Artist] == "somebody"


def saved(form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array(16, 16, 3)).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("a.png", saved("PNG", icc_profile=NOISE[:3_000_000]), "its metadata is damaged and was left out"),
        ("a.png", after_header(saved("PNG"), chunk(b"zTXt", b"a")), None),
        ("a.jpg", segment(saved("JPEG"), b"Exif\0\0II*\0\xff\xff\xff\xff"), None),
        ("a.jpg", segment(saved("JPEG"), b"Exif\0\0nothing"), None),
    ],
)
def test_damaged_metadata_is_left_out(name: str, content: bytes, note: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    read = read_picture(tmp_path / name)
    assert read.pixels.shape == (16, 16, 3)
    assert note is None or read.notes[0].startswith(note)


def test_cmyk_with_a_broken_profile(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16)).save(tmp_path / "a.jpg", icc_profile=b"no profile")
    read = read_picture(tmp_path / "a.jpg")
    assert (read.pixels.shape, read.icc) == ((16, 16, 3), None)
    assert read.notes == ("its colour profile is damaged and was left out",)


@pytest.mark.parametrize(
    ("suffix", "shape", "says"),
    [
        (".webp", (2, 16_384, 3), "WEBP holds sides up to 16383, the picture is 16384 x 2"),
        (".jpg", (65_501, 2), "JPEG holds sides up to 65500"),
    ],
)
def test_sides_that_a_format_cannot_hold(suffix: str, shape: tuple[int, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        check_format_holds(tmp_path / f"a{suffix}", np.zeros(shape, np.uint8))
    check_format_holds(tmp_path / "a.png", np.zeros(shape, np.uint8))
