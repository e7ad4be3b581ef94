"""Each defect of the host: the bare host shows it, with the plugin it is gone.

The bare host does not even import on a current stack, so all but the first test give it the moved modules.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the defect shows without a GPU only")

MOVED = """
import sys, torchvision.transforms._functional_tensor as moved
sys.modules["torchvision.transforms.functional_tensor"] = moved
"""


def run(code: str, folder: Path, plugin: bool, moved: bool = True, **env: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **env, "MPRNET_PLUGIN_DISABLE": "0" if plugin else "1"}
    program = (MOVED if moved and not plugin else "") + code
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def value(code: str, folder: Path, plugin: bool, **env: Any) -> Any:
    """Run code that prints JSON on its last line."""
    done = run(code, folder, plugin, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def options_file(folder: Path, head: str = "") -> Path:
    path = folder / "run.yml"
    path.write_text(
        head + "name: run\nmodel_type: SRModel\nnum_gpu: 0\nmanual_seed: 1\ndatasets: {}\npath: {}\nval: {}\n"
    )
    return path


def parse(arguments: list[str]) -> str:
    return f"""
import sys, json
sys.argv = ["test.py", *{arguments!r}]
from basicsr.utils.options import parse_options
opt, args = parse_options(".", is_train=False)
print(json.dumps([opt["name"], args.opt]))
"""


def test_import(tmp_path: Path) -> None:
    code = "import basicsr; print('up', basicsr.__version__)"
    bare = run(code, tmp_path, plugin=False, moved=False)
    assert bare.returncode != 0
    assert "functional_tensor" in bare.stderr
    assert run(code, tmp_path, plugin=True).stdout.startswith("up 1.4.2")


def test_moved_modules_are_withdrawn_after_the_import(tmp_path: Path) -> None:
    code = "import basicsr, sys, json; print(json.dumps('torchvision.transforms.functional_tensor' in sys.modules))"
    assert value(code, tmp_path, plugin=True) is False


def test_root_folder(tmp_path: Path) -> None:
    code = """
import importlib.util, json, basicsr
origins = [importlib.util.find_spec(f"basicsr.{name}").origin for name in ("train", "test")]
print(json.dumps(origins))
"""
    assert all("site-packages" in origin for origin in value(code, tmp_path, plugin=False))
    expected = [str(tmp_path / "basicsr" / name) for name in ("train.py", "test.py")]
    assert value(code, tmp_path, plugin=True) == expected


def test_root_of_a_source_checkout_is_left_alone(tmp_path: Path) -> None:
    code = """
import importlib.util, json, basicsr
from mprnet_plugin.hosts.basicsr import compat
basicsr.__path__ = ["checkout/basicsr"]
spec = importlib.util.find_spec("basicsr.train")
spec.origin = "as it was"
compat.outputs_to_working_folder()
print(json.dumps(spec.origin))
"""
    assert value(code, tmp_path, plugin=True) == "as it was"


@without_gpu
def test_resume_without_a_gpu(tmp_path: Path) -> None:
    for name in ("models", "training_states"):
        (tmp_path / "experiments" / "run" / name).mkdir(parents=True)
    torch.save(
        {"epoch": 1, "iter": 5, "optimizers": [], "schedulers": []},
        tmp_path / "experiments" / "run" / "training_states" / "5.state",
    )
    torch.save({"params": {}}, tmp_path / "experiments" / "run" / "models" / "net_g_5.pth")
    code = """
import json, basicsr, sys
opt = {"name": "run", "auto_resume": True, "datasets": {"train": {}}, "network_g": {},
       "path": {"training_states": "experiments/run/training_states", "models": "experiments/run/models"}}
print(json.dumps(sys.modules["basicsr.train"].load_resume_state(opt)["iter"]))
"""
    bare = run(code, tmp_path, plugin=False)
    assert bare.returncode != 0
    assert "current_device" in bare.stderr
    assert value(code, tmp_path, plugin=True) == 5


@without_gpu
def test_launcher_on_cpu(tmp_path: Path) -> None:
    code = """
import json, torch.distributed
from basicsr.utils.dist_util import init_dist
init_dist("pytorch")
print(json.dumps(torch.distributed.get_backend()))
"""
    torchrun: dict[str, Any] = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29533"}
    bare = run(code, tmp_path, plugin=False, **torchrun)
    assert "ZeroDivisionError" in bare.stderr
    assert value(code, tmp_path, plugin=True, **torchrun) == "gloo"
    alone = run(code, tmp_path, plugin=True)
    assert "needs RANK in the environment" in alone.stderr


@without_gpu
def test_distributed_model_on_cpu(tmp_path: Path) -> None:
    code = """
import json, torch, torch.distributed
from basicsr.models.base_model import BaseModel
torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
model = BaseModel({"num_gpu": 0, "is_train": False, "dist": True})
print(json.dumps(type(model.model_to_device(torch.nn.Linear(1, 1))).__name__))
"""
    assert run(code, tmp_path, plugin=False).returncode != 0
    assert value(code, tmp_path, plugin=True) == "DistributedDataParallel"


def test_torchrun_without_launcher(tmp_path: Path) -> None:
    options_file(tmp_path)
    env: dict[str, Any] = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1"}
    assert value(parse(["-opt", "run.yml"]), tmp_path, plugin=False, **env)[0] == "run"
    done = run(parse(["-opt", "run.yml"]), tmp_path, plugin=True, **env)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: torchrun started several processes")


ATTACKS = {
    "value": ["--force_yml", "name=[__import__('os').mkdir('pwned')]"],
    "key": ["--force_yml", "name\"]=1;__import__('os').mkdir('pwned');opt[\"name=x"],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_force_yml_executes_nothing(tmp_path: Path, attack: str) -> None:
    options_file(tmp_path)
    arguments = ["-opt", "run.yml", *ATTACKS[attack]]
    run(parse(arguments), tmp_path, plugin=True)
    assert not (tmp_path / "pwned").exists()
    if attack == "value":  # the other form fails in the host's own split
        run(parse(arguments), tmp_path, plugin=False)
        assert (tmp_path / "pwned").exists()


def test_yaml_constructs_no_objects(tmp_path: Path) -> None:
    options_file(tmp_path, "attack: !!python/object/apply:os.mkdir [pwned]\n")
    done = run(parse(["-opt", "run.yml"]), tmp_path, plugin=True)
    assert done.returncode == 2
    assert "not valid YAML" in done.stderr
    assert not (tmp_path / "pwned").exists()
    run(parse(["-opt", "run.yml"]), tmp_path, plugin=False)
    assert (tmp_path / "pwned").exists()


def test_force_yml_of_other_models_stays_the_hosts(tmp_path: Path) -> None:
    options_file(tmp_path)
    overrides = ["name=other", "val:new=3", "path:resume_state=None", "path:x=~", "val:list=[1, 2]", "val:on=True"]
    code = parse(["-opt", "run.yml", "--force_yml", *overrides]).replace('[opt["name"], args.opt]', "opt")
    ours = value(code, tmp_path, plugin=True)
    assert ours == value(code, tmp_path, plugin=False)
    assert ours["val"] == {"new": 3, "list": [1, 2], "on": True}
    done = run(parse(["-opt", "run.yml", "--force_yml", "vla:new=3"]), tmp_path, plugin=True)
    assert done.returncode == 2
    assert "the options file has no section 'vla' there" in done.stderr


def test_slurm_node_list_sees_no_shell(tmp_path: Path) -> None:
    tool = tmp_path / "scontrol"
    tool.write_text("#!/bin/sh\necho node7\necho node8\n")
    tool.chmod(0o755)
    code = """
import json, os, torch
torch.cuda.device_count = lambda: 1
torch.cuda.set_device = lambda device: None
torch.distributed.init_process_group = lambda **_: None
from basicsr.utils.dist_util import init_dist
init_dist("slurm")
print(json.dumps([os.environ[k] for k in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK")]))
"""
    env: dict[str, Any] = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SLURM_PROCID": "1",
        "SLURM_NTASKS": "2",
        "SLURM_NODELIST": "node7; mkdir pwned",
    }
    assert value(code, tmp_path, plugin=True, **env) == ["node7", "29500", "1", "2", "0"]
    assert not (tmp_path / "pwned").exists()
    run(code, tmp_path, plugin=False, **env)
    assert (tmp_path / "pwned").exists()


def test_registry_is_silent(tmp_path: Path) -> None:
    code = """
import contextlib, io, json
from basicsr.utils.registry import Registry
registry = Registry("x")
class A: pass
registry.register(A, suffix="basicsr")
out = io.StringIO()
with contextlib.redirect_stdout(out):
    found = registry.get("A") is A
print(json.dumps([found, out.getvalue() == ""]))
"""
    assert value(code, tmp_path, plugin=False) == [True, False]
    assert value(code, tmp_path, plugin=True) == [True, True]


def test_sampler_stands_in_for_our_datasets_only(tmp_path: Path) -> None:
    code = """
import json
from basicsr.data.data_sampler import EnlargedSampler
from mprnet_plugin.data.sampler import Schedule
class Ours(list):
    schedule = Schedule(seed=1, batch_size=4)
ours, other = EnlargedSampler(Ours(range(10)), 1, 0), EnlargedSampler(list(range(10)), 1, 0)
class Child(EnlargedSampler): pass
print(json.dumps([type(ours).__name__, len(ours), list(other)[0].__class__.__name__, len(Child([1, 2], 1, 0))]))
"""
    assert value(code, tmp_path, plugin=False)[1] == 10  # a loader drops the last 2 of 3 batches counted
    assert value(code, tmp_path, plugin=True) == ["ResumableSampler", 12, "int", 2]


def test_mends_leave_a_mended_host_alone(tmp_path: Path) -> None:
    code = """
import json, basicsr
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import Registry
from mprnet_plugin.hosts.basicsr import compat
before = BaseModel.model_to_device, Registry.get, basicsr.train.load_resume_state
compat.distribute_on_cpu(); compat.quiet_registry(); compat.resume_anywhere()
print(json.dumps(before == (BaseModel.model_to_device, Registry.get, basicsr.train.load_resume_state)))
"""
    code = code.replace("basicsr.train.", "sys.modules['basicsr.train'].").replace("import json", "import json, sys")
    assert value(code, tmp_path, plugin=True) is True


@pytest.mark.parametrize("first", ["model", "metrics", "compat", "command_line", "registration", "option_checks"])
def test_any_of_our_modules_may_be_imported_before_the_host(first: str, tmp_path: Path) -> None:
    """As whoever subclasses the model does."""
    code = f"""
import importlib, json
importlib.import_module("mprnet_plugin.hosts.basicsr.{first}")
import basicsr
from basicsr.utils.registry import MODEL_REGISTRY
from mprnet_plugin.hosts.basicsr.model import MPRNetModel
print(json.dumps(MODEL_REGISTRY.get("MPRNetModel") is MPRNetModel))
"""
    assert value(code, tmp_path, plugin=True) is True
