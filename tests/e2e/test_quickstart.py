"""The quickstart by its one command, in the environment of the tests and with less training."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers import ROOT, Done, run_script, write_picture


def quickstart(folder: Path, *arguments: str) -> Done:
    return run_script(folder, "quickstart.sh", "--python-env", "current", *arguments)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_denoising_beats_the_input(tmp_path: Path) -> None:
    done = quickstart(tmp_path, "--task", "DENOISE", "--workdir", "my run", "--iterations", "60")
    assert done.returncode == 0, done.stderr[-3000:]
    work = tmp_path / "my run"
    rows = re.findall(
        r"^\| (\w+) \| ([\d.]+) → ([\d.]+) dB \| ([+-][\d.]+) dB \| ([\d.]+) → ([\d.]+) \|", done.stdout, re.M
    )
    assert [row[0] for row in rows] == [*sorted(row[0] for row in rows[:-1]), "average"]
    assert len(rows) == 7
    average = [float(number) for number in rows[-1][1:]]
    assert average[2] > 0
    assert average[1] - average[0] == pytest.approx(average[2], abs=0.011)

    # The same numbers as the host's own, which come by the host's metric registry.
    with (work / "results" / "quickstart_denoise" / "images.csv").open() as stream:
        host = {row["image"]: row for row in csv.DictReader(stream)}
    for name, _, restored, _, _, ssim in rows[:-1]:
        assert float(host[name]["psnr"]) == pytest.approx(float(restored), abs=0.006)
        assert float(host[name]["ssim"]) == pytest.approx(float(ssim), abs=0.0006)

    picture = re.search(r"^before and after: (.+)$", done.stdout, re.M)
    assert picture is not None
    shown = cv2.imread(picture[1])
    assert shown is not None
    assert shown.shape == (3 * (256 + 24), 3 * 256, 3)
    assert Path(picture[1]) == work / "quickstart_denoise.png"
    assert {path.name for path in tmp_path.iterdir()} == {"my run"}
    assert {"datasets", "experiments", "results", "tb_logger"} <= {path.name for path in work.iterdir()}


@pytest.mark.slow
def test_the_other_host_ends_with_the_same_report(tmp_path: Path) -> None:
    done = quickstart(tmp_path, "--task", "denoise", "--host", "mmengine", "--workdir", "run", "--iterations", "4")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(re.findall(r"^\| \w+ \| [\d.]+ → [\d.]+ dB \|", done.stdout, re.M)) == 7
    work = tmp_path / "run"
    assert (work / "quickstart_denoise.png").is_file()
    assert (work / "work_dirs" / "quickstart_denoise" / "iter_4.pth").is_file()
    assert not (work / "experiments").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "colour"], "task 'colour' is unknown, known are deblur, denoise, derain"),
        (["--iterations", "0"], "--iterations is '0'; expected a whole number"),
        (["--python", "no-such-python"], "--python: there is no program 'no-such-python'"),
        (["--host", "keras"], "--host is 'keras'; expected basicsr or mmengine"),
        (["--python-env", "old"], "--python-env is 'old'; expected new or current"),
        (["--tusk", "denoise"], "option '--tusk' is not known"),
        (["--task"], "--task needs a value"),
    ],
)
def test_bad_arguments_are_one_line_and_change_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = quickstart(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_report_names_a_missing_result(tmp_path: Path) -> None:
    for side in ("input", "target"):
        write_picture(tmp_path / "set" / side / "cat_01.png", np.full((16, 16, 3), 90, np.uint8))
    report = ROOT / "scripts" / "quickstart_report.py"
    command = [sys.executable, str(report), "--data", "set", "--results", "results/run", "--output", "out.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 0 results for 'cat_01' below 'results/run', expected 1")
    assert not (tmp_path / "out.png").exists()


def test_help_is_the_comment(tmp_path: Path) -> None:
    done = quickstart(tmp_path, "--help")
    assert done.returncode == 0
    assert "--task" in done.stdout
    assert "set -e" not in done.stdout
