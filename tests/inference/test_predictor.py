from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from mprnet_plugin import files
from mprnet_plugin.archs.config import PRESETS
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.inputs import find_pictures
from mprnet_plugin.inference.outcomes import summary
from mprnet_plugin.inference.picture_files import read_picture
from mprnet_plugin.inference.predictor import MPRPredictor
from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.tasks import WeightsFile, find_task
from mprnet_plugin.weights import choice, download
from mprnet_plugin.weights.choice import find_weights
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import TINY, fill
from tests.hostile.limits import full_disk


def gentle() -> MPRNet:
    net = fill(MPRNet(**TINY))
    assert isinstance(net, MPRNet)
    net.tail.weight.data *= 0.02
    return net


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(gentle().state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (24, 19)) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(array).save(path)
    return array


def test_result_is_the_networks(weights: Path, tmp_path: Path) -> None:
    array = draw(tmp_path / "a.b.png")
    outcomes = MPRPredictor("Deblurring", weights, tmp_path / "out", seed=3).run(tmp_path / "a.b.png")
    output = tmp_path / "out" / "Deblurring" / "a.b_restoration.png"
    assert [(outcome.output, outcome.status) for outcome in outcomes] == [(output, "restored")]
    padded = np.pad(array, ((0, 0), (0, 5), (0, 0)), mode="reflect").astype(np.float32) / 255
    with torch.no_grad():
        stage3 = gentle().eval()(torch.from_numpy(padded).permute(2, 0, 1)[None])[0]
    expected = np.rint(stage3[0, :, :, :19].permute(1, 2, 0).clamp(0, 1).numpy() * 255)
    np.testing.assert_array_equal(np.asarray(Image.open(output)), expected)


def test_trees_patterns_and_hidden_files(weights: Path, tmp_path: Path) -> None:
    for name in ("in/b.png", "in/deep/er/a.PNG", "in/deep/c.jpg", "in/.hidden/x.png", "in/.x.png"):
        draw(tmp_path / name)
    (tmp_path / "in" / "notes.txt").touch()
    predictor = MPRPredictor(weight_path=weights, output_path="out")
    assert len(predictor.run("in")) == 3
    results = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert results == [
        "Restored/b_restoration.png",
        "Restored/deep/c_restoration.jpg",
        "Restored/deep/er/a_restoration.PNG",
    ]
    assert [str(relative) for _, relative in find_pictures("in/deep/**/*.*")] == ["c.jpg", "er/a.PNG"]
    assert [str(relative) for _, relative in find_pictures(str(tmp_path / "in" / "?.png"))] == ["b.png"]
    draw(tmp_path / "in" / "[1].png")
    assert find_pictures("in/[1].png") == [(Path("in/[1].png"), Path("[1].png"))]


def test_results_inside_the_input_folder_are_no_input(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.png")
    predictor = MPRPredictor(weight_path=weights, output_path="pictures")
    assert [outcome.status for outcome in predictor.run("pictures")] == ["restored"]
    assert [outcome.status for outcome in predictor.run("pictures")] == ["kept"]
    assert len(find_pictures(predictor.folder, [predictor.folder])) == 1


def test_results_of_another_task_are_no_input(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    for task in ("Denoising", "Deraining"):
        assert len(MPRPredictor(task, weights).run(".")) == 1
    assert len(MPRPredictor("Denoising", weights, overwrite=True).run("**/*.png")) == 1
    assert len(MPRPredictor("Deblurring", weights).run("output_dir/Denoising")) == 1  # unless it is asked for


def test_links_in_a_circle_end(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in")
    assert [relative for _, relative in find_pictures("in")] == [Path("sub/a.png")]


def test_several_paths(weights: Path, tmp_path: Path) -> None:
    for name in ("a.png", "in/b.png", "in/c.jpg"):
        draw(tmp_path / name)
    outcomes = MPRPredictor(weight_path=weights).run("a.png", "in")
    names = [outcome.output.name for outcome in outcomes]
    assert names == ["a_restoration.png", "b_restoration.png", "c_restoration.jpg"]


def test_overwrite(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    output = tmp_path / "out" / "Restored" / "a_restoration.png"
    output.parent.mkdir(parents=True)
    output.write_text("mine")
    assert MPRPredictor(weight_path=weights, output_path="out").run("a.png")[0].status == "kept"
    assert output.read_text() == "mine"
    assert MPRPredictor(weight_path=weights, output_path="out", overwrite=True).run("a.png")[0].status == "restored"
    assert read_picture(output).pixels.shape == (24, 19, 3)


def test_names_that_would_collide(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "a.jpg")
    assert {outcome.status for outcome in MPRPredictor(weight_path=weights).run("in")} == {"restored"}
    outcomes = MPRPredictor(weight_path=weights, output_format=".png", overwrite=True).run("in")
    assert [outcome.status for outcome in outcomes] == ["restored", "failed"]
    assert "would replace that of in/a.jpg" in outcomes[1].message
    outcomes = MPRPredictor(weight_path=weights, compare=True, overwrite=True).run("in")
    assert [outcome.status for outcome in outcomes] == ["restored", "failed"]


def test_bad_files_are_named_and_the_rest_is_done(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(3):
        draw(tmp_path / "in" / f"good{index}.jpg", index)
    content = (tmp_path / "in" / "good0.jpg").read_bytes()
    (tmp_path / "in" / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "text.png").write_text("text")
    outcomes = MPRPredictor(weight_path=weights).run("in")
    assert [(outcome.source.name, outcome.status) for outcome in outcomes] == [
        ("cut.jpg", "failed"),
        ("empty.png", "failed"),
        ("good0.jpg", "restored"),
        ("good1.jpg", "restored"),
        ("good2.jpg", "restored"),
        ("text.png", "failed"),
    ]
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [message.split(":")[1].strip() for message in messages] == ["in/cut.jpg", "in/empty.png", "in/text.png"]
    assert summary(outcomes) == "3 restored, 3 failed"
    assert len(list((tmp_path / "output_dir" / "Restored").iterdir())) == 3


def test_full_disk_is_named(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    predictor = MPRPredictor(weight_path=weights)
    with full_disk():
        outcome = predictor.run("a.png")[0]
    assert outcome.status == "failed"
    assert "could not be written (File too large)" in outcome.message
    assert list(predictor.folder.iterdir()) == []


def test_no_permission_is_named(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a.png")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    predictor = MPRPredictor(weight_path=weights)
    monkeypatch.setattr(files, "open_regular", refuse)  # the tests may run as root, whom no permission stops
    assert "a.png: cannot be read (Permission denied)" in predictor.run("a.png")[0].message
    monkeypatch.undo()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/Restored: could not be made \(Not a directory\)"):
        MPRPredictor(weight_path=weights, output_path=tmp_path / "file").run(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "Debur"}, "task 'Debur' is unknown, did you mean 'deblur'"),
        ({}, "neither task nor weight_path"),
        ({"task": "Denoising", "weight_path": "none.pth"}, r"none\.pth: no such file"),
        ({"weight_path": "weights.safetensors", "output_format": "png"}, "output_format 'png' is unknown.*'.png'"),
        ({"weight_path": "weights.safetensors", "target": "none"}, "target none does not exist"),
        ({"weight_path": "weights.safetensors", "tile": 9}, "tile=9 must be"),
        ({"weight_path": "weights.safetensors", "seed": -1}, "seed -1 must be from 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, weights: Path) -> None:
    with pytest.raises(InputError, match=message):
        MPRPredictor(**options)


def test_paths_without_pictures(weights: Path, tmp_path: Path) -> None:
    predictor = MPRPredictor(weight_path=weights)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder empty holds no pictures"):
        predictor.run("empty")
    with pytest.raises(InputError, match="is empty"):
        predictor.run("")
    for name in ("none.png", "none/*.png"):
        with pytest.raises(InputError, match="no such file, folder, or pattern"):
            predictor.run(name)


def test_weights_of_another_task(tmp_path: Path) -> None:
    save_weights(MPRNet(**PRESETS["Deraining"]).state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"is for Deraining \(n_feat=40.*not for Denoising; give --task Deraining"):
        MPRPredictor("Denoising", tmp_path / "w.pth")
    assert MPRPredictor(weight_path=tmp_path / "w.pth").task == "Deraining"


def test_choice_of_weights(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choice, "demo_weights", lambda task: weights)
    with caplog.at_level(logging.WARNING):
        assert find_weights("Denoising") == weights
    assert "small demo weights" in caplog.text
    assert "--download" in caplog.text
    assert "--weight_path" in caplog.text
    mine = tmp_path / "mine.pth"
    assert find_weights("Denoising", mine) == mine
    monkeypatch.setattr(choice, "fetch", lambda task: Path("fetched"))
    assert find_weights("Denoising", download=True) == Path("fetched")
    published = download.cache_folder() / "MPR_Denoising.pdparams"
    published.parent.mkdir()
    published.write_bytes(weights.read_bytes())
    assert find_weights("Denoising") == find_weights("Denoising", download=True) == published
    published.write_bytes(b"other")
    with pytest.raises(InputError, match="SHA-256"):
        find_weights("Denoising")


def test_no_weights_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    item = WeightsFile("paddlegan", "http://127.0.0.1:9/MPR_Denoising.pdparams", "MPR_Denoising.pdparams", "none")
    monkeypatch.setattr(download, "find_task", lambda name: dataclasses.replace(find_task(name), weights=(item,)))
    monkeypatch.setattr(choice, "demo_weights", lambda task: None)
    with pytest.raises(InputError, match=r"could not be downloaded .* put it at .*MPR_Denoising\.pdparams"):
        MPRPredictor("Denoising")


def test_demo_weights_are_used_out_of_the_box(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "demo_weights", lambda task: weights)
    draw(tmp_path / "a.png")
    assert MPRPredictor(task="Denoising").run("a.png")[0].output == Path("output_dir/Denoising/a_restoration.png")


@pytest.mark.parametrize("task", ["Denoising", "Deraining"])
def test_scores_against_targets(task: str, weights: Path, tmp_path: Path) -> None:
    array = draw(tmp_path / "in" / "deep" / "a.png")
    target = draw(tmp_path / "gt" / "deep" / "a.bmp", 1)
    predictor = MPRPredictor(task, weights, target=tmp_path / "gt")
    outcome = predictor.run("in")[0]
    assert outcome.scores is not None
    restored = Restorer(gentle())(array)
    if task == "Denoising":
        assert outcome.scores.psnr_before == pytest.approx(peak_signal_noise_ratio(target, array), abs=1e-9)
        assert outcome.scores.psnr == pytest.approx(peak_signal_noise_ratio(target, restored), abs=1e-9)
    else:
        luma = [np.rint(x @ [65.481 / 255, 128.553 / 255, 24.966 / 255] + 16) for x in (target, restored)]
        assert outcome.scores.psnr == pytest.approx(peak_signal_noise_ratio(*luma, data_range=255), abs=0.01)
    assert "mean of 1: PSNR" in summary([outcome])
    draw(tmp_path / "in" / "b.png")
    draw(tmp_path / "gt" / "b.png", size=(9, 9))
    outcomes = predictor.run("in")
    assert "is 9 x 9, its input 19 x 24 pixels" in outcomes[0].message


def test_continuing_scores_and_compares_what_was_there(weights: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(tmp_path / "in" / f"{name}.png", ord(name))
        draw(tmp_path / "gt" / f"{name}.png", ord(name) + 1)
    all_at_once = MPRPredictor("Denoising", weights, "all", target="gt").run("in")
    MPRPredictor("Denoising", weights, "parts").run("in/a.png")
    before = (tmp_path / "parts" / "Denoising" / "a_restoration.png").stat().st_mtime_ns
    outcomes = MPRPredictor("Denoising", weights, "parts", target="gt", compare=True).run("in")
    assert [outcome.status for outcome in outcomes] == ["kept", "restored"]
    assert [outcome.scores for outcome in outcomes] == [outcome.scores for outcome in all_at_once]
    assert (tmp_path / "parts" / "Denoising" / "a_compare.png").is_file()
    assert (tmp_path / "parts" / "Denoising" / "a_restoration.png").stat().st_mtime_ns == before


def test_what_cannot_be_scored_is_not_restored(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", size=(5, 5))
    predictor = MPRPredictor("Deraining", weights, target="a.png")
    for _ in range(2):
        outcome = predictor.run("a.png")[0]
        assert outcome.status == "failed"
        assert outcome.message.startswith("a.png: images are 5x5")
    assert list(predictor.folder.iterdir()) == []


def test_missing_target_is_named(weights: Path, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "gt").mkdir()
    outcome = MPRPredictor(weight_path=weights, target="gt").run("in")[0]
    assert "gt/a.png: cannot be read" in outcome.message


def test_compare_is_before_and_after(weights: Path, tmp_path: Path) -> None:
    array = draw(tmp_path / "a.png")
    MPRPredictor("Denoising", weights, compare=True).run("a.png")
    folder = tmp_path / "output_dir" / "Denoising"
    pair = np.asarray(Image.open(folder / "a_compare.png"))
    np.testing.assert_array_equal(pair[:, :19], array)
    np.testing.assert_array_equal(pair[:, 19:], np.asarray(Image.open(folder / "a_restoration.png")))


def test_grey_alpha_and_sixteen_bits(weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(tmp_path / "grey.png")
    rgba = rng.integers(0, 256, (16, 16, 4)).astype(np.uint8)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    Image.fromarray(rng.integers(0, 65536, (16, 16)).astype(np.uint16)).save(tmp_path / "deep.png")
    outcomes = MPRPredictor(weight_path=weights, compare=True).run("*.png")
    assert [outcome.status for outcome in outcomes] == ["restored"] * 3
    alpha, deep, grey = (read_picture(outcome.output).pixels for outcome in outcomes)
    np.testing.assert_array_equal(alpha[..., 3], rgba[..., 3])
    assert (deep.shape, deep.dtype, grey.shape, grey.dtype) == ((16, 16), np.uint16, (16, 16), np.uint8)
    assert len(np.unique(deep & 255)) > 64  # more than 8 bits of information
