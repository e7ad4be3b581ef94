from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from mprnet_plugin.errors import InputError

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.command_line import apply_override, read_options
from mprnet_plugin.hosts.basicsr.launch import count_processes
from mprnet_plugin.hosts.basicsr.option_checks import check_model_type, check_options
from mprnet_plugin.hosts.basicsr.option_defaults import fill_defaults, fix_batch, fix_devices, schedule_datasets

OPTIONS: dict[str, Any] = {
    "name": "run",
    "model_type": "MPRNetModel",
    "datasets": {
        "train": {
            "type": "PairedRestorationDataset",
            "dataroot_lq": "in",
            "dataroot_gt": "out",
            "gt_size": 32,
            "batch_size": 4,
        },
        "val": {"type": "PairedRestorationDataset", "dataroot_lq": "in", "dataroot_gt": "out"},
    },
    "network_g": {"type": "MPRNet", "n_feat": 8, "reduction": 4},
    "path": {"pretrain_network_g": None},
    "train": {
        "total_iter": 6,
        "optim_g": {"type": "Adam", "lr": 1e-3},
        "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [6]},
        "pixel_opt": {"type": "CharbonnierLoss"},
    },
    "val": {"val_freq": 3, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}},
    "logger": {"print_freq": 1, "save_checkpoint_freq": 3},
}


@pytest.fixture
def opt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return copy.deepcopy(OPTIONS)


def test_good_options_pass_and_get_their_defaults(opt: dict[str, Any]) -> None:
    before = copy.deepcopy(opt)
    check_options(opt, "run.yml", is_train=True)
    assert opt == before  # a check changes nothing
    fill_defaults(opt, is_train=True)
    assert opt["scale"] == 1
    assert opt["num_gpu"] == "auto"
    assert opt["datasets"]["val"]["name"] == "val"
    assert opt["val"]["save_img"] is False
    assert opt["manual_seed"] == 0  # the same for every process, and when it resumes


def test_numbers_as_people_write_them(opt: dict[str, Any]) -> None:
    apply_override(opt, "train:total_iter=4e5")
    apply_override(opt, "train:scheduler:periods=[400000]")
    apply_override(opt, "name=2024")
    apply_override(opt, "train:micro_batch_size=2")  # an option that the file does not have yet
    check_options(opt, "run.yml", is_train=True)
    fill_defaults(opt, is_train=True)
    assert (opt["train"]["total_iter"], opt["name"], opt["train"]["micro_batch_size"]) == (400000, "2024", 2)


@pytest.mark.parametrize(("schedule", "side"), [(None, 32), ([{"start_iter": 4, "gt_size": 64}], 64)])
def test_local_pooling_fits_the_patches_of_training(
    opt: dict[str, Any], schedule: Any, side: int, capsys: pytest.CaptureFixture[str]
) -> None:
    opt["datasets"]["train"]["patch_schedule"] = schedule
    opt["val"]["local_pooling"] = {"base_size": 300}
    fill_defaults(opt, is_train=True)
    assert opt["val"]["local_pooling"] == {"base_size": 300, "train_size": side}
    assert f"val:local_pooling:train_size is {side}, the patches of datasets:train" in capsys.readouterr().err
    opt["val"]["local_pooling"] = {"train_size": 128}
    fill_defaults(opt, is_train=True)
    assert opt["val"]["local_pooling"] == {"train_size": 128}
    assert capsys.readouterr().err == ""


def test_weights_that_have_a_name_need_no_file(opt: dict[str, Any]) -> None:
    for name in ("mprnet://Deblurring", "mprnet://denoise", "mprnet://demo/Denoising"):
        opt["path"]["pretrain_network_g"] = name
        check_options(opt, "run.yml", is_train=True)


def test_sets_of_one_name(opt: dict[str, Any]) -> None:
    opt["datasets"]["val"]["name"] = "GoPro"
    opt["datasets"]["val_2"] = dict(opt["datasets"]["val"])
    with pytest.raises(InputError, match="'GoPro' names several sets"):
        check_options(opt, "run.yml", is_train=True)


def devices(launcher: str, num_gpu: Any) -> Any:
    opt = {"model_type": "MPRNetModel", "num_gpu": num_gpu}
    fix_devices(opt, launcher)
    return opt["num_gpu"]


def test_one_process_uses_one_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [devices("none", wanted) for wanted in ("auto", 1, 0)] == [1, 1, 0]
    assert "using 1 of 4 GPUs; torchrun --nproc_per_node=4" in capsys.readouterr().err
    assert devices("pytorch", "auto") == "auto"
    with pytest.raises(InputError, match="num_gpu: 4 needs as many processes: torchrun --nproc_per_node=4"):
        devices("none", 4)
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES"):
        devices("pytorch", 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert [devices(launcher, 0) for launcher in ("none", "pytorch")] == [0, 0]


def test_no_workers_are_none_to_keep() -> None:
    train = {"batch_size_per_gpu": 2, "num_worker_per_gpu": 0, "persistent_workers": True}
    schedule_datasets({"model_type": "MPRNetModel", "manual_seed": 1, "datasets": {"train": train}})
    assert train["persistent_workers"] is False


@pytest.mark.parametrize(
    ("override", "message"),
    {
        "train:optim_g:type=Adan": "train:optim_g:type: 'Adan' is not known, did you mean 'Adam'",
        "train:optim_g:lr=fast": "train:optim_g: does not take these values",
        "network_g:type=MPRNett": "did you mean 'MPRNet'",
        "network_g:n_feat=eight": "network_g:n_feat: 'eight' must be a whole number, at least 1",
        "network_g:reduction=99": "network_g: reduction=99 must be between",
        "network_g=MPRNet": "network_g: 'MPRNet' must be a section with a type",
        "datasets:train:gt_size=0": "datasets:train:gt_size: 0 must be a whole number, at least 1 and at most 4096",
        "datasets:train:dataroot_lq=nowhere": "datasets:train:dataroot_lq: 'nowhere' does not exist",
        "datasets:train:type=PairedDataset": "'PairedDataset' is not known",
        "datasets:train={}": "datasets:train: batch_size is missing",
        "val:metrics:psnr:type=calculate_pnsr": "did you mean 'calculate_psnr'",
        "val:metrics:psnr={type: calculate_psnr}": "option val:metrics:psnr:crop_border is missing",
        "train:total_iter=7": "train:scheduler: the schedule's periods [6] sum to 6, fewer than train:total_iter 7",
        "train:scheduler:periods=x": "train:scheduler: does not take these values",
        "train:pixel_opt={type: CharbonnierLoss, reduction: median}": "median",
        "train={}": "option train:total_iter is missing",
        "path:pretrain_network_g=nowhere.pth": "path:pretrain_network_g: 'nowhere.pth' does not exist",
        "name=../up": "plain folder name",
        "logger={print_freq: 1}": "option logger:save_checkpoint_freq is missing",
        "logger:print_freq=0": "logger:print_freq: 0 must be a whole number, at least 1",
        "val:val_freq=0": "val:val_freq: 0 must be a whole number, at least 1",
        "val:val_freq=2.5": "val:val_freq: 2.5 must be a whole number",
        "val:local_pooling={trian_size: 256}": "option val:local_pooling:trian_size is read by nobody",
        "val:local_pooling={train_size: 100}": "val:local_pooling:train_size: 100 must be a whole number",
        "train:total_iter=many": "train:total_iter: 'many' must be a whole number",
        "train:micro_batch_size=-1": "train:micro_batch_size: -1 must be a whole number, at least 1",
        "train:ema_decay=1": "train:ema_decay: 1 must be a number, at least 0 and below 1",
        "train:precision=bf61": "train:precision: 'bf61' is not known, did you mean 'bf16'",
        "train:mixup={alhpa: 0.6}": "option train:mixup:alhpa is read by nobody, did you mean 'alpha'",
        "train:mixup={alpha: 0}": "train:mixup:alpha: 0 must be a number",
        "train:mixup={start_iter: x}": "train:mixup:start_iter: 'x' must be a whole number",
        "train:optim_g={type: Adam}": "option train:optim_g:lr is missing",
        "train:optim_g={type: LBFGS, lr: 1}": "train:optim_g:type: 'LBFGS' is not known",
        "train:pixel_opt:reduction=none": "none leaves no number to minimise",
        "train:edge_opt={type: EdgeLoss, reduction: none}": "reduction 'none' is not known: use mean or sum",
        "train:total_itr=1": "option train:total_itr is read by nobody, did you mean 'total_iter'",
        "datasets:train:batch_size=0": "datasets:train:batch_size: 0 must be a whole number, at least 1",
        "manual_seed=x": "manual_seed: 'x' must be a whole number",
        "val:self_ensemble=maybe": "val:self_ensemble: 'maybe' must be true or false",
        "val:round_to_uint8=0.5": "val:round_to_uint8: 0.5 must be true or false",
        "datasets:train:gt_size=30000": "datasets:train:gt_size: 30000 must be a whole number",
        "datasets:train:gt_size=36": "datasets:train:gt_size: 36 must be a multiple of 8 for MPRNet",
        "datasets:train:patch_schedule=[{start_iter: 4, gt_size: 36}]": "patch_schedule:0:gt_size: 36 must be",
        "datasets:train:patch_schedule=[{start_iter: 0, gt_size: 40}]": "patch_schedule:0:start_iter: 0 must be",
        "datasets:train:patch_schedule=[{start_itr: 4}]": "patch_schedule:0:start_itr is read by nobody, did you mean",
        "datasets:train:sources=[{dataroot_lq: in, dataroot_gt: out}]": "dataroot_lq and sources exclude each other",
        "datasets:train={type: PairedRestorationDataset, gt_size: 32, batch_size: 4, sources: [{dataroot_lq: in, "
        "dataroot_gt: nowhere}]}": "datasets:train:sources:0:dataroot_gt: 'nowhere' does not exist",
        "datasets:train={type: SyntheticDegradationDataset, gt_size: 32, batch_size: 4, dataroot_gt: out}": (
            "datasets:train: nothing degrades the photographs"
        ),
        "datasets:train={type: SyntheticDegradationDataset, gt_size: 32, batch_size: 4, dataroot_gt: out, noise: "
        "{electrons: [9, 1]}}": "datasets:train:noise:electrons: [9",
        "datasets:train:grey=true": "has 1 channels, network_g takes 3 and gives 3: use in_c and out_c 1",
        "network_g={type: MPRNet, n_feat: 8, in_c: 1, out_c: 1}": "takes 1 and gives 1: write grey: true in each set",
        "path:pretrain_network_g=mprnet://demo/Denoisign": "task 'Denoisign' is unknown, did you mean 'denoise'",
        "path:pretrain_network_g=mprnet://Deblurring-light": "these weights have no address of their own",
        "path:pretrain_network_g=mprnet://nowhere.pth": "'mprnet://nowhere.pth' does not exist",
        "datasets:val:protocol=gorpo": "datasets:val: protocol 'gorpo' is unknown, did you mean 'gopro'",
        "datasets:val:protocol=rain": "datasets:val: metric psnr is calculate_psnr, but protocol rain means calculate",
        "network_g=[]": "network_g: [] must be a section with a type",
        "datasets:train:batch_size_per_gpu=2": "batch_size_per_gpu (of each) exclude each other: leave out one",
        "datasets:train:prefetch_mode=cpu": "datasets:train:prefetch_mode: cpu waits for ever",
        "datasets:train:use_hflip=true": "option datasets:train:use_hflip: write augment: geometric",
        "train:optim={type: Adam}": "option train:optim: write optim_g",
        "val:suffix=../../x": "val:suffix: '../../x' must be the end of a file name",
        "datasets:val:name=../../x": "datasets:val:name: '../../x' must be a plain folder name",
        "datasets=3": "datasets: 3 must be a section of options",
        "datasets:val=3": "datasets:val: 3 must be a section of options",
    }.items(),
)
def test_bad_values_are_named(opt: dict[str, Any], override: str, message: str) -> None:
    apply_override(opt, override)
    with pytest.raises(InputError) as caught:
        check_options(opt, "run.yml", is_train=True)
    assert str(caught.value).startswith("run.yml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "hint"),
    [
        ("train", "ema_deacy", "ema_decay"),
        ("val", "save_image", "save_img"),
        ("logger", "print_frequency", "print_freq"),
        ("path", "pretrained_network_g", "pretrain_network_g"),
        ("network_g", "n_feats", "n_feat"),
    ],
)
def test_options_that_nobody_reads_are_errors(opt: dict[str, Any], section: str, key: str, hint: str) -> None:
    opt[section][key] = 1
    with pytest.raises(InputError, match=f"option {section}:{key} is read by nobody, did you mean '{hint}'"):
        check_options(opt, "run.yml", is_train=True)


def test_top_level_and_dataset_options_that_nobody_reads(opt: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="option manual_sede is read by nobody, did you mean 'manual_seed'"):
        check_options({**copy.deepcopy(opt), "manual_sede": 1}, "run.yml", is_train=True)
    opt["datasets"]["train"]["use_hflip"] = True
    with pytest.raises(InputError, match="option datasets:train:use_hflip: write augment: geometric"):
        check_options(opt, "run.yml", is_train=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MPRNetModle", "model_type: 'MPRNetModle' is not known, did you mean 'MPRNetModel'"),
        (None, "model_type: None is not known, write model_type: MPRNetModel"),
        ([1], r"model_type: \[1\] is not known"),
    ],
)
def test_a_model_that_nobody_registered(name: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_model_type({"model_type": name}, "run.yml")
    check_model_type({"model_type": "SRModel"}, "run.yml")


def test_other_models_are_left_alone() -> None:
    check_options({"model_type": "SRModel", "whatever": 1}, "run.yml", is_train=True)


def test_optional_test_sets(opt: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    there = opt["datasets"]["val"]
    absent = {**there, "dataroot_lq": "nowhere", "optional": True, "name": "HIDE"}
    opt["datasets"] = {"test_1": {**there, "optional": True}, "test_2": absent}
    only = {**copy.deepcopy(opt), "datasets": {"test_2": dict(absent)}}
    check_options(opt, "run.yml", is_train=False)
    fill_defaults(opt, is_train=False)
    assert opt["path"]["param_key_g"] == "params_ema"
    assert list(opt["datasets"]) == ["test_1"]
    assert "HIDE is left out: nowhere is not there" in capsys.readouterr().err
    with pytest.raises(InputError, match="none of nowhere exists"):
        check_options(only, "run.yml", is_train=False)


def test_force_yml_is_data(opt: dict[str, Any]) -> None:
    apply_override(opt, "train:optim_g:lr=1e-4")
    apply_override(opt, "train:scheduler:periods=[1, 2]")
    apply_override(opt, "path:pretrain_network_g=~")
    assert opt["train"]["optim_g"]["lr"] == 1e-4
    assert opt["train"]["scheduler"]["periods"] == [1, 2]
    assert opt["path"]["pretrain_network_g"] is None
    apply_override(opt, "path:resume_state=None")  # as the host's users write it
    assert opt["path"]["resume_state"] is None
    del opt["path"]
    apply_override(opt, "path:resume_state=x")  # a known section may be missing
    assert opt["path"] == {"resume_state": "x"}
    for override, message in {
        "train.total_iter=1": "sections are joined by colons: train:total_iter=1",
        "trian:total_iter=1": "has no section 'trian' there",
        "name:x=1": "has no section 'name' there",
        "train": "must be KEY=VALUE",
        "name=[": "not valid YAML",
    }.items():
        with pytest.raises(InputError, match=message):
            apply_override(opt, override)


def test_files_are_plain_data(tmp_path: Path) -> None:
    path = tmp_path / "run.yml"
    path.write_text("lr: 1e-6\nbig: !!float 2e5\nnone: ~\n")
    assert read_options(str(path)) == {"lr": 1e-6, "big": 2e5, "none": None}
    for content, message in {
        "a: [": "not valid YAML",
        "- 1": "must hold sections",
        "a: !!python/name:os.system": "not valid YAML",
    }.items():
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            read_options(str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read_options(str(path))


def test_the_batch_is_stated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(total: int, processes: int) -> int:
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        opt: dict[str, Any] = {"num_gpu": 0, "datasets": {"train": {"batch_size": total}}}
        fix_batch(opt, count_processes("pytorch"))
        return int(opt["datasets"]["train"]["batch_size_per_gpu"])

    assert [batch(16, n) for n in (1, 2, 8)] == [16, 8, 2]
    with pytest.raises(InputError, match=r"batch_size 16 must be a multiple of the 3 processes: use 15 or 18"):
        batch(16, 3)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[3] / "options").glob("*.yml")), ids=lambda p: p.stem)
def test_the_options_that_we_ship_are_valid(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opt = read_options(str(path))
    sections = list(opt["datasets"].values())
    sections += [source for section in sections for source in section.get("sources", ())]
    roots = [section.get(key) for section in sections for key in ("dataroot_lq", "dataroot_gt")]
    for root in [*roots, opt.get("path", {}).get("pretrain_network_g")]:
        if root:
            Path(root).parent.mkdir(parents=True, exist_ok=True)
            Path(root).touch()
    check_options(opt, path.name, is_train="train" in opt)
    assert yaml.safe_dump(opt)
