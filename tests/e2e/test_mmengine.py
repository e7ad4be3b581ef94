"""The commands for mmengine's runner, in processes, beside BasicSR's on the same recipe."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mprnet_plugin.inference.restorer import Restorer
from mprnet_plugin.weights.checkpoint import load_network
from tests.e2e import two_hosts
from tests.helpers import ROOT, Done, run, write_options

spandrel = pytest.importorskip("spandrel")
extra_arches = pytest.importorskip("spandrel_extra_arches")

pytestmark = pytest.mark.slow
TRAIN, TEST = ("mprnet_plugin.hosts.mmengine.train", "mprnet_plugin.hosts.mmengine.test")
TASKS = ("deblur", "denoise")
Weights = dict[str, Tensor]
COUNTING = """
from mprnet_plugin.data.paired_dataset import PairedRestorationDataset
from mprnet_plugin.hosts.mmengine import registry
from mprnet_plugin.hosts.mmengine.dataset import from_keywords


class CountingDataset(PairedRestorationDataset):
    def __getitem__(self, index):
        with open("reads.txt", "a") as file:
            file.write(".")
        return super().__getitem__(index)


registry.DATASETS.register_module(module=from_keywords(CountingDataset))
"""


def ok(done: Done) -> Done:
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Done]]:
    """Train both recipes by both hosts; return the folder and BasicSR's output for each task."""
    folder = two_hosts.write_data(tmp_path_factory.mktemp("both"))
    logs = {}
    for task in TASKS:
        two_hosts.write_both(folder, task)
        ok(run(folder, TRAIN, f"{task}.py"))
        logs[task] = ok(run(folder, "basicsr.train", "-opt", f"{task}.yml"))
    return folder, logs


def checkpoint(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def equal(one: Weights, two: Weights) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def scalars(folder: Path) -> list[dict[str, float]]:
    """Read what the runner logged last."""
    (*_, path) = sorted(folder.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("task", TASKS)
def test_both_hosts_compute_the_same_numbers(trained: tuple[Path, dict[str, Done]], task: str) -> None:
    folder, logs = trained
    logged = re.findall(r"\bl_((?:total|pix|edge)\w*): (\d\S+e[-+]\d+)", logs[task].stderr)
    rows = scalars(folder / "work_dirs" / task)
    ours = [
        (name.replace("loss_", "") if "_" in name else "total", f"{value:.4e}")
        for row in rows
        for name, value in row.items()
        if name.startswith("loss")
    ]
    assert len(logged) == two_hosts.ITERATIONS * (7 if task == "deblur" else 4)
    assert ours == logged

    theirs = checkpoint(folder / "experiments" / task / "models" / "net_g_30.pth")["params"]
    assert equal(checkpoint(folder / "work_dirs" / task / "iter_30.pth")["state_dict"], theirs)

    tables = re.findall(r"# (psnr|ssim): ([\d.]+) .*input ([\d.]+):", logs[task].stderr)
    validated = [
        (metric, f"{row[f'{two_hosts.SET}/{metric}']:.4f}", f"{row[f'{two_hosts.SET}/input_{metric}']:.4f}")
        for row in rows
        if f"{two_hosts.SET}/psnr" in row
        for metric in ("psnr", "ssim")
    ]
    assert len(tables) == 4
    assert validated == tables
    said = "1 epochs of 2) to 0.001, then a cosine to 1e-06 at iteration 30, with the run"
    log = next((folder / "work_dirs" / task).glob("*/*.log")).read_text()
    assert all(said in text and "from the shipped recipe" in text for text in (logs[task].stderr, log))
    assert rows[5]["images_per_s"] > 0
    assert rows[5]["memory_gb"] > 0.1


def test_pictures_and_curves_are_shown_by_both_backends(trained: tuple[Path, dict[str, Done]]) -> None:
    work = trained[0] / "work_dirs" / "deblur"
    (log,) = work.glob("*/vis_data")
    pictures = sorted(path.name for path in (log / "vis_image").iterdir())
    assert pictures == [f"val_{two_hosts.SET}_{iteration}.png" for iteration in (15, 30)]
    (events,) = log.glob("events*")
    assert f"val_{two_hosts.SET}".encode() in events.read_bytes()
    assert len(list(work.glob("best_*.pth"))) == 1


def test_a_killed_run_resumes_bit_for_bit_and_passes_over_a_damaged_checkpoint(
    trained: tuple[Path, dict[str, Done]], tmp_path: Path
) -> None:
    folder = two_hosts.write_data(tmp_path)
    content = two_hosts.config("denoise")
    content["train_dataloader"] |= {"num_workers": 1, "persistent_workers": True}
    (folder / "counting.py").write_text(COUNTING)
    content["custom_imports"]["imports"].append("counting")
    content["train_dataloader"]["dataset"]["type"] = "CountingDataset"
    two_hosts.write_config(folder, content, "denoise.py")
    work = folder / "work_dirs" / "denoise"
    command = [sys.executable, str(ROOT / "scripts" / "mmengine_train.py"), "denoise.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not (work / "last_checkpoint").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (work / "iter_30.pth").exists(), "it was not killed in the middle"
    last = sorted(work.glob("iter_*.pth"))[-1]
    damaged = work / "iter_29.pth"
    damaged.write_bytes(last.read_bytes()[:-1000])

    (folder / "reads.txt").unlink()

    done = ok(run(folder, TRAIN, "denoise.py", "--resume", PYTHONPATH=str(folder)))
    left = two_hosts.ITERATIONS - int(last.stem.removeprefix("iter_"))
    reads = len((folder / "reads.txt").read_text())
    assert reads <= (left + 5) * two_hosts.BATCH  # some are loaded ahead; to replay the others would take ten more
    assert f"skipping {damaged.name}" in done.stdout + done.stderr
    first = scalars(work)[0]["iter"]
    assert first == int(last.stem.removeprefix("iter_")) + 1
    resumed, whole = (checkpoint(one / "work_dirs/denoise/iter_30.pth") for one in (folder, trained[0]))
    assert equal(resumed["state_dict"], whole["state_dict"])
    states = (resumed["optimizer"]["state"], whole["optimizer"]["state"])
    assert all(equal(states[0][index], states[1][index]) for index in states[1])
    assert resumed["param_schedulers"] == whole["param_schedulers"]
    histories = [one["message_hub"]["log_scalars"]["train/loss"]["history"] for one in (resumed, whole)]
    assert torch.equal(*histories)


def test_its_checkpoints_are_read_by_basicsr_and_scored_alike(trained: tuple[Path, dict[str, Done]]) -> None:
    folder = trained[0]
    file = "work_dirs/denoise/iter_30.pth"
    ok(run(folder, TEST, "denoise.py", file, "--show-dir", "shown", "--tta", "--work-dir", "tested"))
    options = two_hosts.basicsr_options("denoise")
    options["datasets"] = {"test": options["datasets"]["val"]}
    options |= {"name": "theirs", "path": {"pretrain_network_g": file}, "val": {"self_ensemble": True}}
    del options["train"], options["logger"]
    write_options(folder, options, "theirs.yml")
    ok(run(folder, "basicsr.test", "-opt", "theirs.yml"))
    (ours,) = folder.glob("tested/*/results")
    for name in ("table.md", "table.csv", "images.csv"):
        assert (ours / name).read_text() == (folder / "results/theirs" / name).read_text()
    assert len(list((folder / "shown" / two_hosts.SET).glob("*.png"))) == 3


def test_two_processes_on_cpus_and_weights_of_the_other_host(trained: tuple[Path, dict[str, Done]]) -> None:
    """Half of the batch in each of two processes, in parts of one: the same descent as one process's."""
    folder = trained[0]
    content = two_hosts.config("denoise")
    content["train_dataloader"]["batch_size"] //= 2
    content["train_cfg"]["max_iters"] = 10
    content["model"]["micro_batch_size"] = 1
    content["load_from"] = "experiments/denoise/models/net_g_15.pth"
    alone = two_hosts.config("denoise") | {"load_from": content["load_from"], "train_cfg": content["train_cfg"]}
    two_hosts.write_config(folder, content, "two.py")
    two_hosts.write_config(folder, alone, "one.py")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    script = str(ROOT / "scripts" / "mmengine_train.py")
    ok(run(folder, script, "two.py", "--launcher", "pytorch", launcher=launcher))
    ok(run(folder, TRAIN, "one.py"))
    one, two = (checkpoint(folder / "work_dirs" / name / "iter_10.pth")["state_dict"] for name in ("one", "two"))
    start = checkpoint(folder / content["load_from"])["params"]
    learnt = sum(float((one[key] - start[key]).square().sum()) for key in start) ** 0.5
    apart = sum(float((one[key] - two[key]).square().sum()) for key in start) ** 0.5
    assert apart < 0.05 * learnt  # rounding, which Adam makes larger; another batch would give more than half
    values = [
        [row for row in scalars(folder / "work_dirs" / name) if f"{two_hosts.SET}/psnr" in row][-1]
        for name in ("one", "two")
    ]
    assert values[0][f"{two_hosts.SET}/psnr"] == pytest.approx(values[1][f"{two_hosts.SET}/psnr"], abs=0.01)


def test_a_moving_average_is_read_by_everybody(trained: tuple[Path, dict[str, Done]]) -> None:
    folder = trained[0]
    content = two_hosts.config("deblur")
    content["train_cfg"]["max_iters"] = content["train_cfg"]["val_interval"] = 10
    content["custom_hooks"].append({"type": "EMAHook", "momentum": 0.1})
    two_hosts.write_config(folder, content, "average.py")
    ok(run(folder, TRAIN, "average.py"))
    file = folder / "work_dirs" / "average" / "iter_10.pth"
    saved = checkpoint(file)
    plain = {name.removeprefix("module."): value for name, value in saved["ema_state_dict"].items()}
    assert not equal(saved["state_dict"], {name: plain.get(name, value) for name, value in saved["state_dict"].items()})
    ours = load_network(file)
    assert equal(dict(ours.state_dict()), saved["state_dict"])

    extra_arches.install(ignore_duplicates=True)
    theirs = spandrel.ModelLoader("cpu").load_from_file(file)
    image = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(image)
    torch.testing.assert_close(Restorer(ours, "cpu", "fp32")(image), expected, atol=2e-6, rtol=0)
    command = ("mprnet_plugin.inference", "--input_image", "data/test/input/0.png", "--output_path", "restored")
    ok(run(folder, *command, "--task", "deblur", "--weight_path", str(file)))
    assert (folder / "restored").is_dir()


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("train_dataloader.dataset.dataroot_lq=nowhere", "nowhere"),
        ("model.generator.n_feats=8", "n_feats"),
        ("val_evaluator.protocol=goproo", "goproo"),
    ],
)
def test_what_is_wrong_is_one_line(trained: tuple[Path, dict[str, Done]], option: str, named: str) -> None:
    done = run(trained[0], TRAIN, "deblur.py", "--cfg-options", option, "--work-dir", "wrong")
    assert done.returncode == 2
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("error: ")]
    assert named in line
    assert "Traceback" not in done.stderr + done.stdout
