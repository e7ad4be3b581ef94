"""Hundreds of hostile files through the real code: each gets a result or one line.

``MPRNET_HOSTILE_FILES=5000`` tries that many of each kind, ``MPRNET_HOSTILE_SEED=7`` others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from mprnet_plugin.weights.convert import save_weights
from tests.hostile.pictures import hostile_pictures
from tests.hostile.weights import hostile_weights, tiny_weights

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("MPRNET_HOSTILE_SEED", "0"))
MOST_MEMORY = 1_500_000_000


def put(folder: Path, files: Iterable[tuple[bytes, bytes]]) -> int:
    """Write files whose names may be no text; return how many."""
    folder.mkdir()
    count = 0
    for name, content in files:
        with open(os.path.join(os.fsencode(folder), name), "wb") as stream:  # noqa: PTH118, PTH123 - names are bytes
            stream.write(content)
        count += 1
    return count


def outcomes(folder: Path, *arguments: str) -> list[tuple[str, str, str, float]]:
    """Run the worker where a program named ``gs`` would leave a mark, and return its lines."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("gs", "gswin64c", "convert"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        **{"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "OPENCV_LOG_LEVEL": "SILENT"},
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "tests.hostile.worker", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=800)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"after {lines[-1:]}: {done.stderr[-2000:]}"
    return lines


def check(lines: list[tuple[str, str, str, float]], count: int, folder: Path, expected: set[str]) -> Counter[str]:
    """Check what holds for each file of any kind; return how often each outcome was."""
    *files, (_, _, memory, _) = lines
    assert len(files) == count
    counts = Counter(word for _, word, _, _ in files)
    print(f"\n{count} files with seed {SEED}: {dict(counts)}, {int(memory) / 1e6:.0f} MB")  # noqa: T201 - for the log
    wrong = [(name, word, message) for name, word, message, _ in files if word in ("traceback", "hang")]
    assert not wrong, wrong[0]
    # A name may hold a line's end; the command escapes it, and messages add none.
    assert not [message for name, _, message, _ in files if "\n" in message.replace(name, "")]
    assert all(message for _, word, message, _ in files if word != "done")
    assert int(memory) < MOST_MEMORY
    assert {path.name for path in folder.iterdir()} == expected
    return counts


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pictures(tmp_path: Path) -> None:
    count = put(tmp_path / "in", hostile_pictures(SEED, int(os.environ.get("MPRNET_HOSTILE_FILES", "360"))))
    save_weights(tiny_weights(), tmp_path / "w.safetensors")
    lines = outcomes(tmp_path, "pictures", str(tmp_path / "in"), str(tmp_path / "w.safetensors"))
    counts = check(lines, count, tmp_path, {"in", "out", "programs", "w.safetensors"})
    by_name = {name: (word, message) for name, word, message, _ in lines}
    restored = list((tmp_path / "out" / "Restored").glob("*_restoration.*"))
    assert len(restored) == counts["done"] + counts["noted"]
    for name in ("rgb.png", "exif.tif", "fill.jpg", "new\nline.png", "-dash.png", "exif_long.png", "foreign_text.tif"):
        assert by_name[name][0] == "done", by_name[name]
    for name in ("postscript.png", "fits.png", "bomb1.png", "bomb.jpg", "tile_bomb1.tif", "n" * 245 + ".png"):
        assert by_name[name][0] == "refused", by_name[name]
    assert by_name["several_MPO.jpg"] == ("noted", "holds 2 pictures, of which the first is taken")
    assert "65535 x 65535 pixels, which need 51.5 GB" in by_name["bomb1.png"][1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_weights(tmp_path: Path) -> None:
    files = hostile_weights(SEED, int(os.environ.get("MPRNET_HOSTILE_FILES", "260")))
    count = put(tmp_path / "in", ((name.encode(), content) for name, content in files))
    lines = outcomes(tmp_path, "weights", str(tmp_path / "in"))
    check(lines, count, tmp_path, {"in", "programs"})
    by_name = {name: word for name, word, _, _ in lines}
    honest = {"zip.pth", "authors.pth", "legacy.pth", "plain.safetensors"}
    honest |= {f"{protocol}.pdparams" for protocol in ("two", "four", "five")}
    assert {by_name[name] for name in honest} == {"done"}
