from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.cli import main
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


def test_task_defaults_to_deblurring(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPRNET_PLUGIN_CACHE", str(folder / "cache"))
    monkeypatch.setattr(choice, "demo_weights", lambda task: folder / "w.pth")
    assert main(["--input_image", "in/a.png", "--tile", "auto"]) == 0
    assert (folder / "output_dir" / "Deblurring" / "a_restoration.png").exists()


def test_bad_tile(folder: Path) -> None:
    with pytest.raises(InputError, match="tile 'big' must be auto or a number"):
        main(["--input_image", "in", "--weight_path", "w.pth", "--tile", "big"])


def test_help_imports_no_torch(folder: Path) -> None:
    code = "import sys\nfrom mprnet_plugin.inference.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
