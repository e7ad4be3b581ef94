"""Options that somebody has for the stock host: two sections changed, they train our network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mprnet_plugin.errors import InputError
from tests.e2e.tiny_run import logged, models
from tests.helpers import ROOT, TINY, run, write_options

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.command_line import apply_override, read_options
from mprnet_plugin.hosts.basicsr.option_checks import check_options

STOCK = ROOT / "tests" / "data" / "stock_paired.yml"


def stock() -> dict[str, Any]:
    return read_options(str(STOCK)) | {"model_type": "MPRNetModel", "network_g": {"type": "MPRNet", **TINY}}


@pytest.mark.slow
def test_a_stock_file_trains_our_network_to_its_last_iteration(folder: Path) -> None:
    """Six pairs in batches of five: the host counts two iterations an epoch, its own loader gives one."""
    write_options(folder, stock())
    small = ("train:total_iter=5", "datasets:train:gt_size=32", "val:val_freq=5", "logger:print_freq=1")
    done = run(folder, "basicsr.train", "-opt", "run.yml", "--force_yml", "name=tiny", *small)
    assert done.returncode == 0, done.stderr
    assert len(logged(done, "l_pix_stage1")) == 5
    assert len(logged(done, "# ssim")) == 1
    assert (models(folder) / "net_g_latest.pth").is_file()


@pytest.mark.parametrize(
    ("override", "line"),
    {
        "scale=4": "scale: 4 must be 1",
        "datasets:train:prefetch_mode=cpu": "leave it out, and set num_worker_per_gpu: 2",
        "datasets:train:mini_batch_sizes=[8, 5]": "option datasets:train:mini_batch_sizes: write batch_size alone",
        "datasets:train:geometric_augs=true": "write use_hflip: true and use_rot: true",
        "datasets:train={type: PairedRestorationDataset, use_hflip: true, batch_size: 2}": "write augment: geometric",
        "datasets:train={type: PairedImageDataset, batch_size: 2, dataroot_lq: data, dataroot_gt: data, "
        "io_backend: {}, gt_size: 32, use_hflip: true}": "datasets:train: use_rot is missing",
        "train:use_grad_clip=true": "option train:use_grad_clip: write grad_clip: 0.01",
        "train:mixing_augs={}": "option train:mixing_augs: write mixup: {alpha: 1.2}",
        "train:scheduler={type: TrueCosineAnnealingLR}": "did you mean 'CosineAnnealingLR'",
        "train:scheduler={type: CosineAnnealingRestartCyclicLR}": "did you mean 'CosineAnnealingRestartLR'",
        "val:grids=true": "option val:grids: write nothing",
        "path:strict_load_g=false": "path:strict_load_g: False must be true",
        "num_gpu=1024": "use num_gpu: auto",
    }.items(),
)
def test_what_cannot_mean_the_same_gives_the_line_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train/input", "train/target", "test/input", "test/target"):
        (tmp_path / "data" / name).mkdir(parents=True)
    opt = stock()
    check_options(opt, "run.yml", is_train=True)
    apply_override(opt, override)
    with pytest.raises(InputError) as caught:
        check_options(opt, "run.yml", is_train=True)
    assert line in str(caught.value)
