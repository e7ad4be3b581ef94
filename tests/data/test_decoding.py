from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from mprnet_plugin import memory
from mprnet_plugin.data.decoding import decode_rgb, is_truncated_jpeg
from mprnet_plugin.errors import InputError


def pixels(channels: int = 3, dtype: Any = np.uint8, height: int = 24, width: int = 40) -> Any:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)
    return values[..., 0] if channels == 1 else values


def saved(image: Any, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, form, **options)
    return buffer.getvalue()


def smooth_file(suffix: str) -> bytes:
    ramp = np.linspace(0, 255, 96 * 128 * 3).reshape(96, 128, 3).astype(np.uint8)
    return bytes(cv2.imencode(suffix, ramp)[1])


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_forms_give_the_pixels(form: str) -> None:
    image = pixels()
    decoded = decode_rgb(saved(image, form), "x")
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, image)


def test_alpha_is_dropped_not_blended() -> None:
    image = pixels(4)
    np.testing.assert_array_equal(decode_rgb(saved(image, "PNG"), "x"), image[..., :3])


def test_grey_and_palette_become_rgb() -> None:
    grey = pixels(1)
    np.testing.assert_array_equal(decode_rgb(saved(grey, "PNG"), "x"), np.repeat(grey[..., None], 3, 2))
    palette = Pillow.fromarray(pixels()).quantize(16)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    np.testing.assert_array_equal(decode_rgb(buffer.getvalue(), "x"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_stay(suffix: str, channels: int) -> None:
    image = pixels(channels, np.uint16)
    data = bytes(
        cv2.imencode(
            suffix if channels == 3 or suffix != ".ppm" else ".pgm", image[..., ::-1] if channels == 3 else image
        )[1]
    )
    decoded = decode_rgb(data, "x")
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, image if channels == 3 else np.repeat(image[..., None], 3, 2))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(form: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = saved(pixels(), form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB"))
    np.testing.assert_array_equal(decode_rgb(data, "x"), expected)


@settings(max_examples=60, deadline=None)
@given(suffix=st.sampled_from([".png", ".jpg", ".bmp", ".ppm"]), share=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_an_error(suffix: str, share: float) -> None:
    data = smooth_file(suffix)
    with pytest.raises(InputError, match="scene/7"):
        decode_rgb(data[: int(share * len(data))], "scene/7")


@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_png_pixels_is_an_error(position: float, bit: int) -> None:
    data = bytearray(smooth_file(".png"))
    start, end = data.index(b"IDAT"), data.index(b"IEND") - 4
    data[start + int(position * (end - start))] ^= 1 << bit
    with pytest.raises(InputError, match="cannot be decoded"):
        decode_rgb(bytes(data), "x")


def test_truncated_jpeg_with_a_whole_thumbnail_is_seen() -> None:
    data = smooth_file(".jpg")
    thumbnail = data[:20_000] + b"\xff\xd9"  # scan and end marker, as the picture itself has
    segment = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
    for whole in (data, data[:2] + segment + data[2:]):
        assert not is_truncated_jpeg(whole)
        assert is_truncated_jpeg(whole[:-2])
        assert is_truncated_jpeg(whole[: len(whole) - len(data) + 100])
    assert not is_truncated_jpeg(smooth_file(".png"))


def test_a_jpeg_with_fill_bytes_is_whole() -> None:
    data = smooth_file(".jpg")
    table = data.index(b"\xff\xdb")  # the first marker behind the header's
    filled = data[:table] + b"\xff" * 5 + data[table:-2] + b"\xff" * 3 + data[-2:]
    assert not is_truncated_jpeg(filled)
    np.testing.assert_array_equal(decode_rgb(filled, "x"), decode_rgb(data, "x"))
    assert is_truncated_jpeg(filled[:-2])
    assert is_truncated_jpeg(b"\xff\xd8" + b"\xff\xfe\0\0" * 9)  # segments shorter than their own length
    assert not is_truncated_jpeg(data[:2] + b"\xff\x01" + data[2:])  # a marker without a length


def test_pixels_that_do_not_fit_are_refused_by_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(saved(pixels(), "PNG"))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 30)
    with pytest.raises(InputError, match=r"^a has 30000 x 30000 pixels, which need 8\.1 GB of memory where 1\.1 GB"):
        decode_rgb(bytes(data), "a")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"no picture at all", "cannot be decoded"),
        (smooth_file(".jpg")[:-300], "truncated JPEG"),
        (bytes(cv2.imencode(".tif", np.zeros((4, 4, 3), np.float32))[1]), "float32 pixels"),
    ],
)
def test_each_failure_names_the_image(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=f"(?s)^a/b.jpg .*{says}|^a/b.jpg {says}"):
        decode_rgb(data, "a/b.jpg")
