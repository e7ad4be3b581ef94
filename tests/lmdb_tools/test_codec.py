from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lmdb_tools.codec import PackOptions, check_png, encode, keys_of, ppm, regions
from lmdb_tools.layout import Picture
from mprnet_plugin.data.decoding import decode_rgb
from mprnet_plugin.errors import InputError


def picture(height: int = 30, width: int = 44, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype)


def file(tmp_path: Path, suffix: str, image: NDArray[Any]) -> Picture:
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), image[..., ::-1])
    return Picture(path, (image.shape[0], image.shape[1]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ppm_is_read_by_opencv(dtype: Any) -> None:
    image = picture(dtype=dtype)
    decoded = cv2.imdecode(np.frombuffer(ppm(image), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded[..., ::-1], image)


@pytest.mark.parametrize("storage", ["ppm", "png", "copy"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_stored_pixels_are_the_source_s(tmp_path: Path, storage: str, suffix: str) -> None:
    source = file(tmp_path, suffix, picture())
    (value,) = encode("k", source, PackOptions(storage=storage))
    assert (value.key, value.shape) == ("k", (30, 44, 3))
    data = source.path.read_bytes()
    np.testing.assert_array_equal(decode_rgb(bytes(value.data), "x"), decode_rgb(data, "x"))
    untouched = storage == "copy" or (storage == "png" and suffix == ".png")
    assert (value.data == data) == untouched


@pytest.mark.parametrize("storage", ["ppm", "png"])
def test_sixteen_bits_stay(tmp_path: Path, storage: str) -> None:
    image = picture(dtype=np.uint16)
    (value,) = encode("k", file(tmp_path, ".tif", image), PackOptions(storage=storage))
    np.testing.assert_array_equal(decode_rgb(bytes(value.data), "x"), image)


def test_png_level_decides_the_size(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 200, 3))
    source = file(tmp_path, ".bmp", ramp)
    sizes = [len(next(encode("k", source, PackOptions("png", level))).data) for level in (0, 9)]
    assert sizes[0] > 3 * 200 * 200 > sizes[1]


def test_grid_of_the_forks() -> None:
    """512 patches every 256 pixels, the last one at the border: 4 columns and 2 rows of 1280x720."""
    cuts = regions("k", (720, 1280), PackOptions(patch=512, stride=256))
    assert [(cut.top, cut.left) for cut in cuts] == [(t, x) for t in (0, 208) for x in (0, 256, 512, 768)]
    assert keys_of("k", len(cuts), PackOptions(patch=512)) == [f"k_s00{number}" for number in range(1, 9)]


@settings(deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), patch=st.integers(1, 40), stride=st.integers(1, 40))
def test_a_grid_covers_every_pixel(height: int, width: int, patch: int, stride: int) -> None:
    seen = np.zeros((height, width), int)
    cuts = regions("k", (height, width), PackOptions(patch=patch, stride=min(stride, patch)))
    for top, left, tall, wide in cuts:
        assert (tall, wide) == (min(patch, height), min(patch, width))
        assert top + tall <= height
        assert left + wide <= width
        seen[top : top + tall, left : left + wide] += 1
    assert seen.min() >= 1
    assert len(set(cuts)) == len(cuts)


def test_random_patches_follow_from_seed_and_key() -> None:
    options = PackOptions(patch=256, random=300, seed=1)
    cuts = regions("scene/1", (3000, 5328), options)
    assert cuts == regions("scene/1", (3000, 5328), options)
    assert cuts != regions("scene/2", (3000, 5328), options)
    assert cuts != regions("scene/1", (3000, 5328), PackOptions(patch=256, random=300, seed=2))
    tops, lefts = zip(*((cut.top, cut.left) for cut in cuts), strict=True)
    assert 0 <= min(tops) < 200
    assert 3000 - 256 >= max(tops) > 2500
    assert 0 <= min(lefts) < 200
    assert 5328 - 256 >= max(lefts) > 4800


def test_patches_are_the_picture_s(tmp_path: Path) -> None:
    image = picture()
    options = PackOptions(patch=16, stride=8)
    values = list(encode("k", file(tmp_path, ".png", image), options))
    for value, cut in zip(values, regions("k", (30, 44), options), strict=True):
        expected = image[cut.top : cut.top + 16, cut.left : cut.left + 16]
        np.testing.assert_array_equal(decode_rgb(bytes(value.data), "x"), expected)


def test_every_flipped_bit_of_a_png_is_seen(tmp_path: Path) -> None:
    data = file(tmp_path, ".png", picture(8, 8)).path.read_bytes()
    check_png(data, "x")
    rng = np.random.default_rng(0)
    for position in rng.integers(8, len(data), 200):
        broken = bytearray(data)
        broken[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(InputError, match=r"^x is corrupt or truncated"):
            check_png(bytes(broken), "x")
    for end in range(8, len(data)):
        with pytest.raises(InputError):
            check_png(data[:end], "x")


@pytest.mark.parametrize("storage", ["ppm", "png", "copy"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_broken_source_is_named(tmp_path: Path, storage: str, suffix: str) -> None:
    source = file(tmp_path, suffix, picture())
    source.path.write_bytes(source.path.read_bytes()[:-20])
    with pytest.raises(InputError, match=f"a{suffix} "):
        list(encode("k", source, PackOptions(storage=storage)))


def test_a_vanished_source_and_a_lying_header(tmp_path: Path) -> None:
    source = file(tmp_path, ".png", picture())
    with pytest.raises(InputError, match="its header said"):
        list(encode("k", Picture(source.path, (29, 44)), PackOptions()))
    source.path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        list(encode("k", source, PackOptions()))


def test_png_checksum_reference(tmp_path: Path) -> None:
    """The checksum is that of zlib over type and content, as the PNG specification says."""
    data = file(tmp_path, ".png", picture()).path.read_bytes()
    assert zlib.crc32(data[12:29]).to_bytes(4, "big") == data[29:33]
