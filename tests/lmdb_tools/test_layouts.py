from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io

from lmdb_tools import gopro, rain13k, realblur, sidd
from lmdb_tools.layout import Pair, Picture, lmdb_key, unique_pairs
from mprnet_plugin.errors import InputError


def write(root: Path, *names: str, size: tuple[int, int] = (8, 12)) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))


def keys(split: Any) -> list[str]:
    return [pair.key for pair in split.pairs]


def test_gopro_original_never_uses_gamma(tmp_path: Path) -> None:
    for kind in ("blur", "blur_gamma", "sharp"):
        write(tmp_path, *(f"train/GOPR{scene}/{kind}/0000{n}.png" for scene in (1, 2) for n in (7, 8)))
    (train,) = gopro.discover(tmp_path)
    assert keys(train) == ["GOPR1/00007", "GOPR1/00008", "GOPR2/00007", "GOPR2/00008"]
    assert {pair.input.path.parent.name for pair in train.pairs} == {"blur"}
    assert {pair.target.path.parent.name for pair in train.pairs} == {"sharp"}
    assert "original" in train.layout


def test_gopro_prepared(tmp_path: Path) -> None:
    write(tmp_path, *(f"{split}/{side}/a.1-{split}.png" for split in ("train", "test") for side in ("input", "target")))
    train, test = gopro.discover(tmp_path)
    assert (keys(train), keys(test)) == (["a_1-train"], ["a_1-test"])
    assert (train.training, test.training) == (True, False)
    assert (train.published, test.published) == ((2103,), (1111,))


@pytest.mark.parametrize("base", ["", "Data", "SIDD_Medium_Srgb/Data"])
def test_sidd_original_scenes(tmp_path: Path, base: str) -> None:
    scene = f"{base}/0001_001_S6_00100_00060_3200_L".strip("/")
    write(tmp_path, *(f"{scene}/0001_{side}_SRGB_01{n}.PNG" for side in ("NOISY", "GT") for n in (0, 1)))
    (train,) = sidd.discover(tmp_path)
    assert keys(train) == [f"0001_001_S6_00100_00060_3200_L/0001_01{n}" for n in (0, 1)]
    assert "_NOISY_" in train.pairs[0].input.path.name
    assert "_GT_" in train.pairs[0].target.path.name


def test_sidd_orphan(tmp_path: Path) -> None:
    write(tmp_path, "Data/s/1_NOISY_SRGB_010.PNG", "Data/s/1_GT_SRGB_010.PNG", "Data/s/1_GT_SRGB_011.PNG")
    with pytest.raises(InputError, match=r"1 only in .*Data \(GT\) \(s/1_011\)"):
        sidd.discover(tmp_path)


def test_sidd_blocks(tmp_path: Path) -> None:
    for number, variable in enumerate(sidd.VARIABLES):
        blocks = np.full((2, 3, 4, 6, 3), number, np.uint8)
        scipy.io.savemat(tmp_path / f"{variable}.mat", {variable: blocks}, do_compression=True)
    (val,) = sidd.discover(tmp_path)
    assert (val.name, val.published) == ("val", (1280,))
    assert keys(val) == ["00_00", "00_01", "00_02", "01_00", "01_01", "01_02"]
    assert val.pairs[4].input.position == (1, 1)
    assert val.pairs[4].input.size == (4, 6)
    (tmp_path / f"{sidd.VARIABLES[1]}.mat").unlink()
    with pytest.raises(InputError, match=r"ValidationGtBlocksSrgb\.mat is missing"):
        sidd.discover(tmp_path)


def test_sidd_blocks_of_unequal_shape(tmp_path: Path) -> None:
    for number, variable in enumerate(sidd.VARIABLES):
        blocks = np.zeros((2, 3 + number, 4, 6, 3), np.uint8)
        scipy.io.savemat(tmp_path / f"{variable}.mat", {variable: blocks})
    with pytest.raises(InputError, match="expected equal shapes"):
        sidd.discover(tmp_path)


@pytest.mark.parametrize(("train_base", "test_base"), [("train", "test/"), ("train/Rain13K", "")])
def test_rain_with_its_test_sets(tmp_path: Path, train_base: str, test_base: str) -> None:
    for side in ("input", "target"):
        write(tmp_path, f"{train_base}/{side}/1.jpg", f"{train_base}/{side}/2.jpg")
        write(tmp_path, *(f"{test_base}{name}/{side}/1.png" for name in ("Test100", "Rain100L")))
    write(tmp_path, f"{train_base}/input/3.jpg", size=(8, 12))
    write(tmp_path, f"{train_base}/target/3.jpg", size=(8, 13))
    splits = {split.name: split for split in rain13k.discover(tmp_path)}
    assert list(splits) == ["train", "Test100", "Rain100L"]
    assert keys(splits["train"]) == ["1", "2"]  # the pair of unequal size is left out
    assert splits["train"].published == (13711, 13712)


def test_unequal_sizes_elsewhere_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "train/input/3.png", size=(8, 12))
    write(tmp_path, "train/target/3.png", size=(8, 13))
    with pytest.raises(InputError, match=r"1 pairs of unequal size: .*3\.png 12x8 and 13x8"):
        gopro.discover(tmp_path)


@pytest.mark.parametrize("module", [gopro, sidd, rain13k])
def test_nothing_found_says_what_was_expected(tmp_path: Path, module: Any) -> None:
    with pytest.raises(InputError, match=r"holds no .*expected .*input,target"):
        module.discover(tmp_path)


def test_keys_are_ascii_without_dots() -> None:
    assert lmdb_key("a/b.1/c d-_é") == "a/b_1/c%20d-_%C3%A9"


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("A/x", "a/x")])
def test_equal_keys_are_refused(first: str, second: str) -> None:
    some = Picture(Path("1.png"), (1, 1))
    with pytest.raises(InputError, match=r"1\.png and 1\.png need the keys"):
        unique_pairs([Pair(first, some, some), Pair(second, some, some)])


def test_long_keys_are_refused() -> None:
    some = Picture(Path("1.png"), (1, 1))
    with pytest.raises(InputError, match="491 bytes, LMDB allows 490"):
        unique_pairs([Pair("x" * 491, some, some)])


REALBLUR = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"


def write_listed(root: Path, listing: str, *lines: str) -> None:
    """Write a list as RealBlur's come, with a space at the end of each line, and the pictures that it names."""
    (root / listing).parent.mkdir(parents=True, exist_ok=True)
    (root / listing).write_text("".join(f"{line} \n" for line in lines))
    write(root, *(name for line in lines for name in line.split()))


def test_realblur_as_its_lists_say(tmp_path: Path) -> None:
    scene = f"{REALBLUR}/scene230"
    write_listed(
        tmp_path, "RealBlur_J_test_list.txt", *(f"{scene}/gt/gt_{n}.png {scene}/blur/blur_{n}.png" for n in (7, 12))
    )
    write(tmp_path, f"{scene}/gt/gt_1.png", f"{scene}/blur/blur_1.png")  # of no list, thus not packed
    (test,) = realblur.discover(tmp_path)
    assert (test.name, keys(test), test.published) == ("RealBlur_J_test", ["scene230/12", "scene230/7"], (980,))
    assert test.pairs[1].input.path.name == "blur_7.png"
    assert test.pairs[1].target.path.name == "gt_7.png"
    assert not test.training


@pytest.mark.parametrize("folder", ["", "datalist/RSBlur"])
def test_rsblur_as_its_lists_say(tmp_path: Path, folder: str) -> None:
    lines = [f"RSBlur/0001/00002{n}/gt/gt_sharp.png RSBlur/0001/00002{n}/real_blur/real_blur.png" for n in (2, 3)]
    write_listed(tmp_path, f"{folder}/RSBlur_real_train.txt".lstrip("/"), *lines)
    (train,) = realblur.discover(tmp_path)
    assert (train.name, keys(train), train.published) == ("RSBlur_train", ["0001/000022", "0001/000023"], (8878,))
    assert train.training
    assert train.pairs[0].input.path.name == "real_blur.png"


def test_realblur_prepared(tmp_path: Path) -> None:
    write(
        tmp_path, *(f"RealBlur_J/{split}/{side}/a.png" for split in ("train", "test") for side in ("input", "target"))
    )
    assert [split.name for split in realblur.discover(tmp_path)] == ["RealBlur_J_train", "RealBlur_J_test"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a/gt/gt_1.png", "RealBlur_J_test_list.txt:1: .* must be SHARP BLURRED"),
        ("../a/gt/gt_1.png ../a/blur/blur_1.png", "must be SHARP BLURRED, paths below"),
        ("/a/gt/gt_1.png /a/blur/blur_1.png", "must be SHARP BLURRED, paths below"),
        ("a/gt/gt_1.png a/blur/blur_1.png", "gt_1.png is not there, though RealBlur_J_test_list.txt:1 lists it"),
    ],
)
def test_realblur_lists_that_do_not_fit(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "RealBlur_J_test_list.txt").write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        realblur.discover(tmp_path)


def test_no_realblur(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no RealBlur or RSBlur; expected lists such as"):
        realblur.discover(tmp_path)
