from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from lmdb_tools.codec import ppm
from mprnet_plugin.data.stores import FolderStore, LmdbStore, open_store
from mprnet_plugin.errors import InputError
from tests.data.lmdb_files import picture, write_lmdb


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_lmdb(tmp_path / "raw.lmdb", {f"s/{n}": ppm(picture(n)) for n in range(3)})


def test_open_store_goes_by_the_name(tmp_path: Path, raw: Path) -> None:
    assert isinstance(open_store(raw), LmdbStore)
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    assert isinstance(open_store(tmp_path), FolderStore)


def test_raw_values_are_views_of_the_map(raw: Path) -> None:
    store = LmdbStore(raw)
    assert store.keys() == ["s/0", "s/1", "s/2"]
    assert store.size("s/1") == (40, 56)
    for number in range(3):
        image = store.read(f"s/{number}")
        np.testing.assert_array_equal(image, picture(number))
        assert not image.flags.writeable
        assert image.base is not None
    # A view of the file: what another process changes there shows.
    with (raw / "data.mdb").open("r+b") as file:
        position = file.read().index(picture(1).tobytes())
        file.seek(position)
        file.write(b"\x07\x08\x09")
    assert store.read("s/1")[0, 0].tolist() == [7, 8, 9]


def test_views_outlive_the_store_and_close_the_map_with_them(raw: Path) -> None:
    crop = LmdbStore(raw).read("s/2")[3:9, 4:11]
    gc.collect()
    np.testing.assert_array_equal(crop, picture(2)[3:9, 4:11])
    del crop
    gc.collect()
    lmdb.open(str(raw), readonly=True, lock=False).close()  # refused while it is open in this process


def test_two_stores_share_one_map(raw: Path) -> None:
    first, second = LmdbStore(raw), LmdbStore(raw)
    np.testing.assert_array_equal(first.read("s/0"), second.read("s/0"))


def test_sixteen_bits_and_encoded_values(tmp_path: Path) -> None:
    deep = picture(5, dtype=np.uint16)
    png = bytes(cv2.imencode(".png", picture(6)[..., ::-1])[1])
    store = LmdbStore(write_lmdb(tmp_path / "x.lmdb", {"deep": ppm(deep), "png": png}))
    assert store.read("deep").dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(store.read("deep"), deep)
    np.testing.assert_array_equal(store.read("png"), picture(6))


def _child(store: LmdbStore, expected: NDArray[Any], done: Any) -> None:
    done.put(bool(np.array_equal(store.read("s/1"), expected)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("opened", [True, False])
def test_works_in_child_processes(raw: Path, method: str, opened: bool) -> None:
    store = LmdbStore(raw)
    if opened:
        store.read("s/1")
    context: Any = multiprocessing.get_context(method)
    done = context.Queue()
    process = context.Process(target=_child, args=(store, picture(1), done))
    process.start()
    assert done.get(timeout=60) is True
    process.join()
    assert process.exitcode == 0
    np.testing.assert_array_equal(store.read("s/0"), picture(0))


def test_pickle(raw: Path) -> None:
    store = LmdbStore(raw)
    store.read("s/0")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read("s/0"), picture(0))  # noqa: S301


def test_truncated_data_is_an_error_not_a_crash(raw: Path) -> None:
    os.truncate(raw / "data.mdb", 4096 * 3)
    with pytest.raises(InputError, match=r"data\.mdb is truncated: 12288 bytes"):
        LmdbStore(raw).read("s/0")


@pytest.mark.parametrize("size", [0, 100])
def test_data_without_a_head(raw: Path, size: int) -> None:
    os.truncate(raw / "data.mdb", size)
    with pytest.raises(InputError, match=r"raw.lmdb cannot be opened|is truncated"):
        LmdbStore(raw).read("s/0")


def test_a_database_that_somebody_else_has_opened(raw: Path) -> None:
    with (
        lmdb.open(str(raw), readonly=True, lock=False),
        pytest.raises(
            InputError, match=r"raw.lmdb cannot be opened: .*; write type: PairedRestorationDataset for each"
        ),
    ):
        LmdbStore(raw).read("s/0")


def test_unfinished_database(raw: Path) -> None:
    with (raw / "meta_info.txt").open("a") as file:
        file.write("s/3.png (40,56,3) 1\n")
    with pytest.raises(InputError, match=r"not finished: 3 images in data\.mdb, 4 in meta_info\.txt"):
        LmdbStore(raw).read("s/0")


def test_value_that_its_header_does_not_fit(tmp_path: Path) -> None:
    store = LmdbStore(write_lmdb(tmp_path / "x.lmdb", {"a": ppm(picture())[:-1]}))
    with pytest.raises(InputError, match=r"x.lmdb:a has 6732 bytes, its header asks for 6733"):
        store.read("a")


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ("a.png 40 56\n", "line 1 is not 'key.png"),
        ("a.png (40,56,3) 1\na.png (40,56,3) 1\n", "line 2 repeats a key"),
        ("", "lists no image"),
        ("é.png (40,56,3) 1\n", "not ASCII"),
        ("a.png (0,56,3) 1\n", "line 1 is not 'key.png"),
        ("a.png (99999999999,56,3) 1\n", "line 1 is not 'key.png"),
        ("a.png (1" + "0" * 5000 + ",56,3) 1\n", "line 1 is not 'key.png"),
        ("/etc/a.png (40,56,3) 1\n", "'/etc/a.png' is no key"),
        ("../a.png (40,56,3) 1\n", "'../a.png' is no key"),
        ("b/../a.png (40,56,3) 1\n", "'b/../a.png' is no key"),
        ("b//a.png (40,56,3) 1\n", "'b//a.png' is no key"),
        ("b\\a.png (40,56,3) 1\n", "is no key"),
        ("a\0.png (40,56,3) 1\n", "is no key"),
    ],
)
def test_bad_meta_info(tmp_path: Path, meta: str, says: str) -> None:
    root = write_lmdb(tmp_path / "x.lmdb", {"a": b"1"}, meta)
    with pytest.raises(InputError, match=says):
        LmdbStore(root)


def test_a_value_that_asks_for_more_pixels_than_listed_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 30_000, 30_000, 8, 2, 0, 0, 0)
    bomb = head + struct.pack(">I", zlib.crc32(head[12:])) + struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    store = LmdbStore(write_lmdb(tmp_path / "x.lmdb", {"a": bomb, "b": bytes(65 << 20)}))
    monkeypatch.setattr("mprnet_plugin.data.stores.decode_rgb", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"x.lmdb:a is 30000x30000, meta_info.txt says 56x40"):
        store.read("a")
    with pytest.raises(InputError, match=r"x.lmdb:b has 68157440 bytes, more than 56x40 pixels need"):
        store.read("b")


def test_views_are_kept_for_a_bounded_number_of_keys(tmp_path: Path) -> None:
    """Each key that is read leaves nothing behind, however many there are: half a kilobyte each once added up."""
    pixels = ppm(picture(height=1, width=1))
    root = write_lmdb(tmp_path / "x.lmdb", {f"{n:06d}": pixels for n in range(20_000)})
    store = LmdbStore(root)
    for key in store.keys()[:5000]:
        store.read(key)
    gc.collect()
    tracemalloc.start()
    for key in store.keys()[5000:]:
        store.read(key)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 200_000
    assert store.read("000003") is store.read("000003")  # the first ones are found again at once


@pytest.mark.parametrize("name", ["data.mdb", "meta_info.txt"])
def test_a_pipe_is_refused_and_not_waited_for(raw: Path, name: str) -> None:
    (raw / name).unlink()
    os.mkfifo(raw / name)
    with pytest.raises(InputError, match=rf"{name}: cannot be read, as it is a pipe"):
        LmdbStore(raw).read("s/0")


def test_a_pipe_in_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    store = FolderStore(tmp_path)
    for call in (store.size, store.read):
        with pytest.raises(InputError, match=r"a\.png: cannot be read, as it is a pipe"):
            call("a")


def test_missing_files_and_keys(tmp_path: Path, raw: Path) -> None:
    with pytest.raises(InputError, match=r"meta_info.txt cannot be read"):
        LmdbStore(tmp_path / "no.lmdb")
    for call in (LmdbStore(raw).size, LmdbStore(raw).read):
        with pytest.raises(InputError, match="has no image 'z'; use one of its 3"):
            call("z")
    (raw / "data.mdb").unlink()
    with pytest.raises(InputError, match=r"data.mdb cannot be read"):
        LmdbStore(raw).read("s/0")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6])
def test_folder_size_is_that_of_the_decoded_picture(tmp_path: Path, form: str, orientation: int | None) -> None:
    exif = Pillow.Exif()
    if orientation:
        exif[0x0112] = orientation
    Pillow.fromarray(picture()).save(tmp_path / f"a.{form.lower()}", form, exif=exif)
    store = FolderStore(tmp_path)
    assert store.size("a") == store.read("a").shape[:2]


def test_folder_size_does_not_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Pillow.fromarray(picture()).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[:200])
    assert FolderStore(tmp_path).size("a") == (40, 56)


def test_folder_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    store = FolderStore(tmp_path)
    for call in (store.size, store.read):
        with pytest.raises(InputError, match=r"a\.png"):
            call("a")
    with pytest.raises(InputError, match="no image 'b'"):
        store.read("b")
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        store.read("a")
