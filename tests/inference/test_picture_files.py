from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.picture_files import Picture, read_picture
from mprnet_plugin.inference.picture_writing import write_picture
from tests.hostile.limits import full_disk

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).random(shape)
    return (values * {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)).astype(dtype)


def bare(array: Any) -> Picture:
    return Picture(array, None, Image.Exif(), None)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".webp", ".bmp"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_lossless_formats_give_the_pixels_back(suffix: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = pixels(*shape)
    write_picture(tmp_path / f"a{suffix}", bare(array))
    back = read_picture(tmp_path / f"a{suffix}").pixels
    if suffix == ".webp" and len(shape) == 2:
        back = back[..., 0]  # WebP has no grey
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_sixteen_bits(suffix: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = pixels(*shape, dtype=np.uint16)
    write_picture(tmp_path / f"a{suffix}", bare(array))
    back = read_picture(tmp_path / f"a{suffix}").pixels
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, array)
    independent = cv2.imread(str(tmp_path / f"a{suffix}"), cv2.IMREAD_UNCHANGED)
    assert independent is not None
    assert independent.dtype == np.uint16
    if len(shape) == 3:
        np.testing.assert_array_equal(independent[..., :3][..., ::-1], array[..., :3])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_float_tiff(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = pixels(*shape, dtype=np.float32)
    write_picture(tmp_path / "a.tif", Picture(array, SRGB, Image.Exif(), None))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, array)
    assert read_picture(tmp_path / "a.tif").icc == SRGB
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), array)


def test_grey_with_alpha(tmp_path: Path) -> None:
    Image.fromarray(pixels(5, 7, 2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, pixels(5, 7, 2))
    write_picture(tmp_path / "b.png", bare(pixels(5, 7, 2)))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), pixels(5, 7, 2))
    write_picture(tmp_path / "c.png", bare(pixels(5, 7, 2, dtype=np.uint16)))
    deep = read_picture(tmp_path / "c.png").pixels
    np.testing.assert_array_equal(deep, pixels(5, 7, 2, dtype=np.uint16)[..., [0, 0, 0, 1]])


def test_jpeg_is_near_and_keeps_colour_resolution(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(pixels(4, 4, 3)).resize((32, 32), Image.Resampling.BICUBIC))
    write_picture(tmp_path / "a.jpg", bare(smooth))
    assert np.abs(read_picture(tmp_path / "a.jpg").pixels.astype(int) - smooth).max() < 12
    with Image.open(tmp_path / "a.jpg") as image:
        layers = getattr(image, "layer")  # noqa: B009 - of JPEGs alone, which Pillow's types do not say
        assert layers[0][1:3] == layers[1][1:3]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "png16", "jpg", "tif", "tif16", "webp"])
def test_orientation_is_applied_once_and_not_kept(orientation: int, form: str, tmp_path: Path) -> None:
    array = np.zeros((16, 32, 3), np.uint8)
    array[:8, :8] = 255  # bright in the stored top left corner
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{form.removesuffix('16')}"
    if form == "png16":
        write_picture(path, Picture(array.astype(np.uint16) * 257, None, exif, None))
    elif form == "tif16":
        tifffile.imwrite(
            path, array.astype(np.uint16) * 257, photometric="rgb", extratags=[(274, "H", 1, orientation, True)]
        )
    else:
        Image.fromarray(array).save(path, exif=exif)
    # Where EXIF says that the stored top left corner lies in the upright picture.
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[
        orientation
    ]
    for _ in range(2):
        picture = read_picture(path)
        assert picture.pixels.shape == ((32, 16, 3) if orientation >= 5 else (16, 32, 3))
        bright = np.argwhere(picture.pixels[..., 0] > picture.pixels.max() // 2)
        assert len(bright) == pytest.approx(64, abs=8)
        edge = [0 if side == 0 else size - 1 for side, size in zip(corner, picture.pixels.shape[:2], strict=True)]
        assert picture.pixels[edge[0], edge[1], 0] > picture.pixels.max() // 2
        assert ExifTags.Base.Orientation not in picture.exif
        write_picture(path, picture)


@pytest.mark.parametrize("form", ["png", "png16", "jpg", "tif", "tif16", "webp"])
def test_profile_exif_and_resolution_are_kept(form: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.Orientation] = 1
    if form not in ("tif16", "tif"):
        exif[ExifTags.IFD.Exif] = {int(ExifTags.Base.LensModel): "50mm", int(ExifTags.Base.ISOSpeedRatings): 200}
        exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (51.0, 30.0, 0.0)}
    path = tmp_path / f"a.{form.removesuffix('16')}"
    array = pixels(8, 8, 3)
    if form.endswith("16"):
        write_picture(path, Picture(array.astype(np.uint16) * 257, SRGB, exif, None))
    else:
        Image.fromarray(array).save(path, exif=exif, icc_profile=SRGB, dpi=(300, 300))
    picture = read_picture(path)
    write_picture(path, picture)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == SRGB
        kept = image.getexif()
        assert kept[ExifTags.Base.Artist] == "somebody"
        assert ExifTags.Base.Orientation not in kept or kept[ExifTags.Base.Orientation] == 1
        if form not in ("tif16", "tif"):
            assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "50mm"
            assert kept.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
        if form in ("png", "jpg", "tif"):
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_palettes_and_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(pixels(8, 8, 3)).quantize(4)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, np.asarray(palette.convert("RGB")))
    palette.save(tmp_path / "b.png", transparency=0)
    assert read_picture(tmp_path / "b.png").pixels.shape == (8, 8, 4)
    Image.fromarray(pixels(8, 8) > 99).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "c.png").pixels, (pixels(8, 8) > 99) * np.uint8(255))
    Image.fromarray(pixels(8, 8, 3)).save(tmp_path / "d.png", transparency=(1, 2, 3), pnginfo=PngInfo())
    assert read_picture(tmp_path / "d.png").pixels.shape == (8, 8, 4)


def test_transparent_grey_of_sixteen_bits(tmp_path: Path) -> None:
    array = pixels(8, 8, dtype=np.uint16)
    content = cv2.imencode(".png", array)[1].tobytes()
    chunk = b"tRNS" + int(array[2, 3]).to_bytes(2, "big")
    chunk = (2).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
    read = read_picture(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(read[:, :, 0], array)
    np.testing.assert_array_equal(read[:, :, 1] == 0, array == array[2, 3])


def test_deep_tiff_with_white_at_zero(tmp_path: Path) -> None:
    array = pixels(8, 8, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", 65535 - array, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, array)


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "message"),
    [
        ((8, 8, 2), np.uint16, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}, "save it as"),
        ((8, 8, 4), np.uint16, {"photometric": "rgb", "extrasamples": ["assocalpha"]}, "straight alpha"),
        ((8, 8), np.float32, {"photometric": "miniswhite"}, "black at 0"),
        ((8, 8, 3), np.float16, {"photometric": "rgb"}, "save it as"),
    ],
)
def test_deep_tiff_that_would_lose_something(
    shape: tuple[int, ...], dtype: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    planar: dict[str, Any] = {"planarconfig": "contig"} if len(shape) == 3 else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels(*shape, dtype=dtype), **options, **planar)
    with pytest.raises(InputError, match=rf"a\.tif: .*{message}"):
        read_picture(tmp_path / "a.tif")


def test_nothing_but_files_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder, expected the name of a file"):
        write_picture(tmp_path / "folder.png", bare(pixels(4, 4, 3)))
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="is a device"):
        write_picture(tmp_path / "pipe.png", bare(pixels(4, 4, 3)))
    assert (tmp_path / "pipe.png").is_fifo()
    with pytest.raises(InputError, match="as it is a pipe"):  # and nothing waits for it
        read_picture(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    write_picture(tmp_path / "link.png", bare(pixels(4, 4, 3)))
    assert (tmp_path / "link.png").is_symlink()
    assert read_picture(tmp_path / "real.png").pixels.shape == (4, 4, 3)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(pixels(8, 8, 3)).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert read_picture(tmp_path / "a.jpg").pixels.shape == (8, 8, 3)


def saved(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(64, 64, 3)).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_named(form: str, tmp_path: Path) -> None:
    content = saved(form)
    path = tmp_path / "a.b.img"
    for size in (10, len(content) // 2):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"a\.b\.img: (is a truncated|cannot be decoded)") as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(InputError, match="cannot be read"):
        read_picture(path)
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        read_picture(path)
    path.write_text("text")
    with pytest.raises(InputError, match="no picture that is known"):
        read_picture(path)
    Image.fromarray(pixels(8, 8)).save(
        path, "WEBP", save_all=True, append_images=[Image.fromarray(pixels(8, 8, seed=1))]
    )
    with pytest.raises(InputError, match="has more than one frame"):
        read_picture(path)
    tifffile.imwrite(path, pixels(2, 8, 8, 3, dtype=np.float32), photometric="rgb")
    with pytest.raises(InputError, match="has more than one page"):
        read_picture(path)
    tifffile.imwrite(path, pixels(8, 8, dtype=np.uint16).astype(np.int32))
    with pytest.raises(InputError, match="int32 values"):
        read_picture(path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.gif", pixels(4, 4), r"suffix '\.gif' is not known"),
        ("a.jpg", pixels(4, 4, 3, dtype=np.uint16), "JPEG holds 8 bits"),
        ("a.png", pixels(4, 4, 3, dtype=np.float32), "no floating point"),
        ("a.jpg", pixels(4, 4, 4), "no alpha"),
    ],
)
def test_what_a_format_cannot_hold(name: str, array: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        write_picture(tmp_path / name, bare(array))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "dtype"), [("png", np.uint8), ("png", np.uint16), ("tif", np.uint16), ("jpg", np.uint8)]
)
def test_full_disk_keeps_the_old_file(suffix: str, dtype: Any, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("old")
    with full_disk(), pytest.raises(InputError, match=r"could not be written \(File too large\)"):
        write_picture(path, bare(pixels(64, 64, 3, dtype=dtype)))
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
