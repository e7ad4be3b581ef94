"""The options files that come with the package, and the command that lists and copies them."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr import recipes
from mprnet_plugin.hosts.basicsr.command_line import apply_override, read_options
from mprnet_plugin.hosts.basicsr.parts import schedulers
from mprnet_plugin.shipped_options import SCHEMA, find_options, main, shipped
from tests.helpers import write_options, write_pairs


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_bare_names_are_found_from_any_folder_and_a_file_that_exists_wins() -> None:
    assert find_options("train_MPRNet_Deblur.yml") == shipped()["train_MPRNet_Deblur.yml"]
    assert find_options("train_MPRNet_Deblur") == shipped()["train_MPRNet_Deblur.yml"]
    mine = Path("train_MPRNet_Deblur.yml")
    mine.write_text("name: mine\n")
    assert find_options("train_MPRNet_Deblur.yml") == mine
    assert find_options("options/train_MPRNet_Deblur.yml") == Path(
        "options/train_MPRNet_Deblur.yml"
    )  # a path, not ours
    assert not find_options("~nosuchuser/run.yml").exists()
    with pytest.raises(InputError, match=r"No such file .* did you mean 'train_MPRNet_Denoise\.yml'"):
        find_options("train_MPRNet_Denois.yml")


def test_the_list_says_what_each_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


def test_a_copy_is_the_file_with_its_schema_and_replaces_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test_MPRNet_Derain"]) == 0
    assert "python -m basicsr.test -opt test_MPRNet_Derain.yml" in capsys.readouterr().out
    source = shipped()["test_MPRNet_Derain.yml"]
    copy = Path("test_MPRNet_Derain.yml").read_text(encoding="utf-8")
    assert copy.splitlines()[1:] == source.read_text(encoding="utf-8").splitlines()[1:]
    schema = Path(copy.splitlines()[0].partition("$schema=")[2])
    assert schema == source.parent / SCHEMA
    assert schema.is_file()
    with pytest.raises(InputError, match="exists and is left alone"):
        main(["test_MPRNet_Derain"])
    assert main(["test_MPRNet_Derain", "--output", "mine/other.yml"]) == 0
    assert Path("mine/other.yml").is_file()


def test_the_rate_of_a_file_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plot", "quickstart_denoise.yml", "rate.png"]) == 0
    assert "(1 epochs of 30) to 0.001, then a cosine to 2e-05 at iteration 360, with the run" in capsys.readouterr().out
    picture = cv2.imread("rate.png")
    assert picture is not None
    assert picture.shape == (540, 960, 3)
    for arguments, message in {
        ("quickstart_denoise.yml", "rate.png"): "exists and is left alone",
        ("quickstart_denoise.yml", "rate.pdf"): "ends with .png",
        ("test_MPRNet_Derain.yml", "other.png"): "has no training",
        (
            "train_MPRNet_Derain.yml",
            "other.png",
        ): r"auto counts the training set \(.*Rain13k_lmdb.*: give its size with --pairs",
        ("train_MPRNet_Derain.yml", "other.png", "--pairs", "0"): "--pairs 0 must be",
    }.items():
        with pytest.raises(InputError, match=message):
            main(["--plot", *arguments])


def test_what_auto_stands_for_is_counted_from_the_pairs_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    options = read_options("train_MPRNet_Derain.yml")
    options["datasets"]["train"] |= {"dataroot_lq": "data/input", "dataroot_gt": "data/target", "batch_size": 2}
    options["train"]["total_iter"] = 30
    write_pairs(Path("data"), 3)
    write_options(Path(), options)
    assert main(["--plot", "run.yml", "rate.png"]) == 0
    assert "6 iterations of warm-up (3 epochs of 2)" in capsys.readouterr().out


def test_the_host_s_own_warm_up_and_schedules_are_drawn_too() -> None:
    options = read_options("train_MPRNet_Derain.yml")
    options["train"] |= {"total_iter": 10, "warmup_iter": 4, "scheduler": {"type": "MultiStepLR", "milestones": [6]}}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedulers()["MultiStepLR"](optimizer, milestones=[6], gamma=0.5)
    steps, rates = recipes._rates(scheduler, optimizer, 10, 4)
    assert steps == list(range(1, 11))
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    write_options(Path(), options)
    assert main(["--plot", "run.yml", "rate.png"]) == 0


def test_a_shipped_file_differs_from_itself_in_nothing_and_an_override_is_listed() -> None:
    options = read_options("train_MPRNet_Denoise.yml")
    assert recipes.differing_settings(options, "train_MPRNet_Denoise.yml").startswith("All settings are those of")
    apply_override(options, "train:total_iter=1e3")
    apply_override(options, "datasets:train:dataroot_lq=mine")
    apply_override(options, "train:precision=fp32")
    assert recipes.differing_settings(options, "mine.yml") == (
        "1 setting differs from the shipped recipe train_MPRNet_Denoise.yml:\n"
        "    train:total_iter: 1000 (recipe: 480000)"
    )
