"""How the demo weights are made: the one command, with a little data and less training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file

from tests.helpers import ROOT, Done, picture, run_script, write_picture


def train_demo(folder: Path, *arguments: str) -> Done:
    return run_script(folder, "train_demo.sh", *arguments)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_weights_from_photographs_of_ones_own(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "test")):
        blurred = cv2.GaussianBlur(picture(seed, 300, 320), (0, 0), 2)
        write_picture(tmp_path / "my run" / "photographs" / split / f"{split}.png", blurred.astype(np.uint8))
    done = train_demo(tmp_path, "--task", "Denoising", "--workdir", "my run", "--iterations", "2", "--pictures", "4")
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"tail.weight", "concat12.weight"} <= load_file(tmp_path / "my run" / "Denoising.safetensors").keys()
    assert "| average |" in done.stdout
    assert (tmp_path / "my run" / "demo_denoise.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--task is missing"),
        (["--task", "debur"], "task 'debur' is unknown, did you mean 'deblur'?"),
        (["--task", "denoise", "--iterations", "0"], "--iterations is '0'; expected a whole number"),
        (["--task", "denoise", "--pictures", "x"], "--pictures is 'x'; expected a whole number"),
        (["--task", "denoise", "--workdir"], "--workdir needs a value"),
        (["--speed", "9"], "option '--speed' is not known"),
    ],
)
def test_bad_arguments_are_one_line_and_change_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = train_demo(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_photograph_is_both_for_training_and_for_testing() -> None:
    lines = (ROOT / "scripts" / "demo_photographs.txt").read_text().splitlines()
    rows = [line.split(maxsplit=5) for line in lines if not line.startswith("#")]
    assert all(len(row) == 6 and row[0] in {"train", "test"} for row in rows)  # the last two: licence and author
    for column in (1, slice(2, 4)):
        assert len({str(row[column]) for row in rows}) == len(rows)
