"""Our parts with the host's, and the host's with ours: each pair works, or is one line that says what to write."""

from __future__ import annotations

import copy
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
import yaml

from mprnet_plugin.errors import InputError
from tests.helpers import run

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.metrics import METRICS
from mprnet_plugin.hosts.basicsr.option_checks import check_model_type, check_options
from tests.hosts.basicsr.test_options import OPTIONS

STOCK_DATASET = {"type": "PairedImageDataset", "io_backend": {"type": "disk"}, "use_hflip": True, "use_rot": True}
STOCK_NETWORK = {"type": "SRVGGNetCompact", "num_feat": 8, "num_conv": 1, "upscale": 1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for root in ("in", "out"):
        (tmp_path / root).mkdir()
        for number in range(4):
            cv2.imwrite(f"{root}/{number}.png", rng.integers(0, 256, (40, 40, 3)).astype(np.uint8))
    return tmp_path


def small(**changes: Any) -> dict[str, Any]:
    opt: dict[str, Any] = copy.deepcopy(OPTIONS)
    opt |= {
        "path": {},
        "manual_seed": 1,
        "network_g": {"type": "MPRNet", "n_feat": 8, "scale_unetfeats": 4, "num_cab": 1},
    }
    opt["train"] |= {"total_iter": 2, "pixel_opt": {"type": "CharbonnierLoss", "eps": 1e-6}}
    opt["val"] = {"val_freq": 2, "save_img": True, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}}
    opt["logger"]["save_checkpoint_freq"] = 2
    return opt | changes


def check(opt: dict[str, Any]) -> None:
    check_model_type(opt, "run.yml")
    check_options(opt, "run.yml", is_train=True)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["ours", "stock"])
@pytest.mark.parametrize("network", ["ours", "stock"])
def test_our_model_trains_with_either(folder: Path, dataset: str, network: str) -> None:
    opt = small()
    if dataset == "stock":
        opt["datasets"]["train"] |= STOCK_DATASET
        opt["datasets"]["val"] |= {"type": "PairedImageDataset", "io_backend": {"type": "disk"}}
    if network == "stock":
        opt["network_g"] = STOCK_NETWORK
    (folder / "run.yml").write_text(yaml.safe_dump(opt))
    done = run(folder, "basicsr.train", "-opt", "run.yml")
    assert done.returncode == 0, done.stderr
    assert ("l_pix_stage3" in done.stderr) is (network == "ours")
    assert "l_pix_stage4" not in done.stderr  # one for each sample of the batch
    names = {path.name for path in (folder / "experiments/run/visualization").rglob("*_2.png")}
    assert {f"{number}_2.png" for number in range(4)} <= names


@pytest.mark.slow
def test_a_stock_model_reads_our_dataset_and_names_pictures_of_an_lmdb(folder: Path) -> None:
    for root in ("in", "out"):
        with lmdb.open(f"{root}.lmdb", map_size=1 << 24) as env, env.begin(write=True) as transaction:
            for number in range(4):
                transaction.put(f"{number}".encode(), Path(f"{root}/{number}.png").read_bytes())
        Path(f"{root}.lmdb/meta_info.txt").write_text("".join(f"{number}.png (40,40,3) 1\n" for number in range(4)))
    opt = small(model_type="SRModel", network_g=STOCK_NETWORK, num_gpu=0, scale=1)
    roots = {"dataroot_lq": "in.lmdb", "dataroot_gt": "out.lmdb"}
    opt["datasets"]["train"] = {
        "name": "t", **roots, "type": "PairedRestorationDataset", "gt_size": 32,
        "batch_size_per_gpu": 2, "num_worker_per_gpu": 0,
    }  # fmt: skip
    opt["datasets"]["val"] = {"name": "v", **roots, "type": "PairedRestorationDataset"}
    opt["logger"]["use_tb_logger"] = False
    opt["path"] = {"pretrain_network_g": None, "resume_state": None}
    (folder / "run.yml").write_text(yaml.safe_dump(opt))
    done = run(folder, "basicsr.train", "-opt", "run.yml")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (folder / "experiments/run/visualization").rglob("*.png")}
    # The stock runner validates the last iteration once more, as the next.
    assert names == {f"{number}_{iteration}.png" for number in range(4) for iteration in (2, 3)}
    opt = small()  # py-lmdb opens a database once a process, and each of the host's datasets opens its own
    opt["datasets"]["train"] |= {**STOCK_DATASET, **roots, "io_backend": {"type": "lmdb"}}
    opt["datasets"]["val"] |= {"type": "PairedImageDataset", **roots, "io_backend": {"type": "lmdb"}}
    (folder / "run.yml").write_text(yaml.safe_dump(opt))
    done = run(folder, "basicsr.train", "-opt", "run.yml")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: The environment 'in.lmdb' is already open")
    assert "write type: PairedRestorationDataset for each set that reads it" in done.stderr


def test_what_stock_models_cannot_take_is_said(folder: Path) -> None:
    with pytest.raises(InputError, match=r"SRModel takes one image .* write model_type: MPRNetModel"):
        check(small(model_type="SRModel"))
    opt = small(model_type="SRModel", network_g=STOCK_NETWORK)
    opt["datasets"]["train"]["dtype"] = "uint8"
    with pytest.raises(InputError, match="SRModel takes floats: write datasets:train:dtype: float32"):
        check(opt)
    opt["datasets"]["train"] |= {"dtype": "float32", "patch_schedule": [{"start_iter": 2, "gt_size": 40}]}
    with pytest.raises(InputError, match="SRModel counts no iterations for datasets:train:patch_schedule"):
        check(opt)


def test_stock_metrics_of_floats_are_refused(folder: Path) -> None:
    opt = small()
    opt["val"]["round_to_uint8"] = False
    with pytest.raises(InputError, match="metric psnr is calculate_psnr, which takes 8-bit pictures"):
        check(opt)
    opt["val"]["metrics"] = {"psnr": {"type": "calculate_psnr_rgb"}}
    check(opt)
    assert "calculate_psnr_rgb" in METRICS


def test_parts_that_the_host_finds_by_its_suffix(folder: Path) -> None:
    check(small(network_g=STOCK_NETWORK))


@pytest.mark.slow
def test_runners_of_other_packages_write_to_the_working_folder_too(folder: Path) -> None:
    """As ``python -m realesrgan.train``, which names the folder above its own package."""
    code = """
import sys, basicsr.train
seen = []
basicsr.train.parse_options = lambda root, is_train: seen.append(root) or sys.exit(0)
try:
    from basicsr.train import train_pipeline
    train_pipeline(sys.argv[1])
except SystemExit:
    print(seen[0])
"""
    for given, expected in ((sysconfig.get_path("purelib"), str(folder)), ("/somewhere", "/somewhere")):
        command = [sys.executable, "-c", code, given]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        assert done.stdout.strip().splitlines()[-1] == expected


@pytest.mark.slow
def test_a_package_that_brings_our_names_gets_them(folder: Path) -> None:
    code = """
import basicsr
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
@ARCH_REGISTRY.register()
class MPRNet: pass
@LOSS_REGISTRY.register()
class EdgeLoss: pass
assert ARCH_REGISTRY.get("MPRNet") is MPRNet
try:
    ARCH_REGISTRY.register()(type("MPRNet", (), {}))  # nobody else's name is given away
except AssertionError:
    print("theirs")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1] == "theirs", done.stderr
    assert "MPRNet now means __main__'s, no longer ours" in done.stderr
