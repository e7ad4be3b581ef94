"""Every command that a page names is run, or at least read by its own program; a new kind of command needs a rule."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("basicsr")
pytest.importorskip("mmengine")

from mprnet_plugin.errors import InputError
from mprnet_plugin.weights.download import CACHE_VARIABLE
from tests.docs.pages import PAGES, Command, blocks, commands, read
from tests.docs.typed import UnknownCommandError, shipped_names, try_command
from tests.helpers import ROOT, picture, run, torchrun, write_pairs, write_picture

COMMANDS = [command for page in PAGES for command in commands(page)]
DISTINCT = {(command.words, command.whole): command for command in reversed(COMMANDS)}
"""A command that several pages name is tried once, and reported by the first."""
BASH = [shutil.which("bash") or "bash", "-n"]
SMALL = [f"network_g:{key}={value}" for key, value in (("n_feat", 8), ("scale_unetfeats", 4), ("scale_orsnetfeats", 4))]
SHORT = [
    *SMALL,
    "datasets:train:gt_size=32",
    "datasets:train:batch_size=8",
    "datasets:train:num_worker_per_gpu=0",
    "datasets:train:persistent_workers=false",
    "val:val_freq=2",
    "logger:print_freq=1",
    "logger:save_checkpoint_freq=2",
]
"""What makes a recipe small."""


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with what the pages take for granted: a source folder, pictures, data sets."""
    folder = tmp_path_factory.mktemp("seed")
    for name in ("options", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("photo.jpg", "photos/a.png", "holiday/b.jpg", "blurred/c.png", "sharp/c.png"):
        write_picture(folder / name, picture(1, 24, 32))
    data = folder / "datasets"
    for name in ("GoPro/train", "GoPro/test", "SIDD/train", "SIDD/val", "RealBlur/RealBlur_J/train"):
        write_pairs(data / name, 1)
    write_pairs(data / "RealBlur/RealBlur_J/test", 1)
    write_pairs(data / "Synthetic_Rain_Datasets/train", 1)
    write_pairs(data / "Synthetic_Rain_Datasets/test/Test100", 1)
    done = run(folder, "lmdb_tools.gopro", "--source", "datasets/GoPro", "--output", "datasets/GoPro_lmdb")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy it, go there, and leave the downloaded weights of this machine out."""
    shutil.copytree(seed, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "no weights here"))
    return tmp_path / "here"


def test_there_are_commands_to_try() -> None:
    assert len(DISTINCT) > 80
    assert {command.page for command in COMMANDS} >= {"README.md", "CONTRIBUTING.md", "docs/restoring.md"}


@pytest.mark.parametrize("command", DISTINCT.values(), ids=str)
def test_command(command: Command, folder: Path) -> None:
    try_command(command.words, command.whole, folder)


def test_scripts_in_pages_are_scripts(folder: Path) -> None:
    scripts = [block for page in PAGES for block in blocks(page) if block.text.startswith("#!")]
    assert scripts
    for script in scripts:
        checked = subprocess.run(BASH, input=script.text, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
        for line in script.text.splitlines():
            if line.startswith("srun "):
                try_command(line.split(), True, folder)


@pytest.mark.parametrize("page", PAGES)
def test_options_files_that_pages_name_come_with_the_package(page: str) -> None:
    shipped_names(read(page))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("frobnicate photo.jpg", UnknownCommandError),
        ("mprnet-restore photo.jpg --taks denoise", AssertionError),
        ("mprnet-restore nothing.jpg --task denoise", InputError),
        ("python -m basicsr.train -opt options/train_MPRNet_Blur.yml", InputError),
        ("python -m basicsr.train -opt options/train_MPRNet_Deblur.yml --force_yml train:total_itre=3", InputError),
        ("python -m basicsr.train -opt options/train_MPRNet_Deblur.yml --auto-resume", AssertionError),
        ("torchrun --nproc_per_node=7 -m basicsr.train -opt train_MPRNet_Deblur.yml --launcher pytorch", InputError),
        ("python -m mprnet_plugin.hosts.mmengine.train mprnet_blur.py", InputError),
        ("python -m lmdb_tools.gopor --source a --output b", AssertionError),
        ("python scripts/nothing.py", AssertionError),
        ("bash scripts/quickstart.sh --tusk deblur", AssertionError),
        ("pip install '.[nothing]'", AssertionError),
        ("python -m pytest tests/nothing", AssertionError),
    ],
)
def test_what_is_wrong_fails(words: str, error: type[Exception], folder: Path) -> None:
    with pytest.raises(error):
        try_command(words.replace("'", "").split(), True, folder)


@pytest.mark.slow
def test_the_five_commands_of_the_readme_in_their_order(folder: Path) -> None:
    """The text itself, on one pair, made small by overrides alone; two processes instead of eight."""
    shutil.rmtree(folder / "datasets" / "GoPro_lmdb")
    readme = [command.words for command in commands("README.md")]
    (start,) = (number for number, words in enumerate(readme) if "lmdb_tools.gopro" in words)
    pack, train, resume, share, test = (words[words.index("-m") + 1 :] for words in readme[start : start + 5])
    experiments = folder / "experiments"
    for command, iterations in ((pack, 0), (train, 2), (resume, 4), (share, 2)):
        short = ("--force_yml", *SHORT, f"train:total_iter={iterations}") if iterations else ()
        done = torchrun(folder, *command, *short, "name=shared") if command is share else run(folder, *command, *short)
        assert done.returncode == 0, done.stderr[-2000:]
    (weights,) = experiments.glob("*/models/net_g_4.pth")
    assert (weights.with_name("net_g_2.pth")).is_file()  # of the run before, which was resumed
    assert (experiments / "shared" / "models" / "net_g_2.pth").is_file()
    done = run(folder, *test, "--force_yml", *SMALL, f"path:pretrain_network_g={weights}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((folder / "results").glob("*/table.md"))) == 1
