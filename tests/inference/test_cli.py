from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.cli import main
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.weights import choice
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import TINY, fill

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_weights(fill(MPRNet(**TINY)).state_dict(), tmp_path / "w.pth")
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = ROOT / "scripts" / "inference_mprnet.py"
    return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, env=environment, cwd=cwd)


def test_script_as_paddlegan_users_type_it(folder: Path) -> None:
    words = ["--input_image", "in", "--task", "Denoising", "--weight_path", "w.pth", "--output_path", "o", "--cpu"]
    done = run(*words, cwd=folder)
    assert (done.returncode, done.stdout) == (0, "2 restored; results are in o/Denoising\n"), done.stderr
    assert sorted(path.name for path in (folder / "o" / "Denoising").iterdir()) == [
        "a_restoration.png",
        "b_restoration.png",
    ]


def test_script_names_bad_input_in_one_line(folder: Path) -> None:
    done = run("--input_image", "in", "--task", "Debur", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: task 'Debur' is unknown")
    assert done.stderr.count("\n") == 1


def test_status_1_when_some_files_failed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in" / "a.png").write_text("text")
    assert main(["--input_image", "in/a.png", "--weight_path", "w.pth"]) == 2
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "in" / "b.png")
    assert (
        main(["--input_image", "in/a.png", "in/b.png", "--weight_path", "w.pth", "--target", "in", "--tile", "16"]) == 1
    )
    shown = capsys.readouterr()
    assert "1 restored, 1 failed" in shown.out
    assert "mean of 1: PSNR" in shown.out


@pytest.fixture
def every_task(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three networks that differ, instead of the demo's."""
    monkeypatch.setenv("MPRNET_PLUGIN_CACHE", str(folder / "cache"))
    for number, task in enumerate(TASKS):
        net = fill(MPRNet(**TINY))
        with torch.no_grad():
            for weight in net.tail.parameters():
                weight.mul_(number + 1)
        save_weights(net.state_dict(), folder / f"{task}.pth")
    monkeypatch.setattr(choice, "demo_weights", lambda task: folder / f"{task}.pth")
    return folder


@pytest.mark.parametrize("words", [["in", "--compare"], ["--input_image", "in"], []])
def test_no_task_is_asked_for(every_task: Path, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        main(words)
    expected = "--task denoise removes noise, the grain of dim light" if words else "no picture is named"
    assert expected in str(caught.value)
    assert not (every_task / "output_dir").exists()


@pytest.mark.parametrize(
    "words", [["noise", "in/a.png"], ["in/a.png", "--task", "DENOISE"], ["--task=noise", "in/a.png"]]
)
def test_what_people_type_is_understood(every_task: Path, words: list[str]) -> None:
    assert main([*words, "--cpu"]) == 0
    assert [path.name for path in every_task.glob("output_dir/Denoising/*")] == ["a_restoration.png"]


def test_pictures_before_and_after_options_and_a_file_of_a_tasks_name(every_task: Path) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(every_task / "rain", "PNG")
    assert main(["rain", "--task", "denoise", "in/a.png", "--output_format", ".png"]) == 0
    assert len(list(every_task.glob("output_dir/Denoising/*"))) == 2


def test_all_tasks(every_task: Path) -> None:
    assert main(["in/a.png", "--task", "all"]) == 0
    assert {path.name for path in every_task.glob("output_dir/*")} == set(TASKS)


def test_a_preview_shows_each_task(
    every_task: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    scene = np.full((400, 500, 3), 90, np.uint8)
    scene[100:300, 200:456] = np.random.default_rng(0).integers(0, 256, (200, 256, 3))
    Image.fromarray(scene).save(every_task / "scene.png")
    (every_task / "no.png").write_text("text")
    assert main(["scene.png", "no.png", "--preview"]) == 0
    assert "output_dir/scene_preview.png: look which is best" in capsys.readouterr().out
    assert "skipped: no.png" in caplog.text
    sheet = np.asarray(Image.open("output_dir/scene_preview.png")).astype(int)
    assert sheet.shape == (256 + 28, 4 * 256 + 3 * 8, 3)
    panels = [sheet[28:, start : start + 256] for start in range(0, sheet.shape[1], 264)]
    assert panels[0].std() > 60  # the part with the detail
    assert len({panel.tobytes() for panel in panels}) == 4
    assert main(["no.png", "--preview"]) == 2


def test_strength_mixes_with_the_input(every_task: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    Image.fromarray(image).save(every_task / "x.png")
    results = []
    for strength in ("1", "0.25"):
        assert main(["x.png", "--task", "rain", "--strength", strength, "--output_path", strength]) == 0
        results.append(np.asarray(Image.open(f"{strength}/Deraining/x_restoration.png")).astype(float))
    np.testing.assert_array_equal(results[1], np.rint(image + 0.25 * (results[0] - image)))
    assert (results[0] != image).any()
    with pytest.raises(InputError, match=r"strength 1\.5 must be above 0 and at most 1"):
        main(["x.png", "--task", "rain", "--strength", "1.5"])


def test_bad_tile(folder: Path) -> None:
    with pytest.raises(InputError, match="tile 'big' must be auto or a number"):
        main(["--input_image", "in", "--weight_path", "w.pth", "--tile", "big"])


def test_help_imports_no_torch(folder: Path) -> None:
    code = "import sys\nfrom mprnet_plugin.inference.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
