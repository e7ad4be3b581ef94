"""The host's defects on a current stack, one function each: what is wrong, in which versions, and the mend.

Every mend first looks whether the defect is there, and leaves a host without it alone. "1.4.2" is the last release on
PyPI. :data:`MENDS` lists what runs after the host has loaded, :data:`EXTENSIONS` what is no mend.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Old name -> where the same functions live now.
MOVED_MODULES = {
    # data/degradations.py, basicsr <= 1.4.2; torchvision removed it in 0.17 (XPixelGroup/BasicSR issues 659 and 711).
    "torchvision.transforms.functional_tensor": "torchvision.transforms._functional_tensor",
    # metrics/niqe.py, basicsr <= 1.4.2; deprecated since SciPy 1.8, to be removed in 2.0.
    "scipy.ndimage.filters": "scipy.ndimage",
}
_provided: list[str] = []

RUNNERS = ("basicsr.train", "basicsr.test")


def provide_moved_modules() -> None:
    """Answer to the old names of moved modules while the host imports them, where nothing else does."""
    for old, new in MOVED_MODULES.items():
        try:
            importlib.import_module(old)
        except ModuleNotFoundError:
            sys.modules[old] = importlib.import_module(new)
            _provided.append(old)


def withdraw_moved_modules() -> None:
    """Take the old names away again: other programs test for them to learn their library's version."""
    while _provided:
        sys.modules.pop(_provided.pop(), None)


def mend_loaded_host() -> None:
    """Apply every mend of :data:`MENDS`, and the :data:`EXTENSIONS`."""
    for change in (*MENDS, *EXTENSIONS):
        change()


def outputs_to_working_folder() -> None:
    """Installed, the host (<= 1.4.2) writes experiments, results and logs into site-packages.

    Its runners take the folder above their own file for the project (XPixelGroup/BasicSR issue 556), while
    ``--auto_resume`` looks in the working folder. ``python -m`` takes ``__file__`` from the module's spec, so
    naming a file under the working folder there moves everything; a source checkout keeps its own root.
    """
    root = Path(sys.modules["basicsr"].__path__[0]).resolve().parent
    if root not in _library_folders():
        return
    for name in RUNNERS:
        module = sys.modules.get(name)
        if module is not None and module.__spec__ is not None:
            module.__spec__.origin = str(Path.cwd() / "basicsr" / f"{name.rpartition('.')[2]}.py")
    # The host's package imports its own runners, of which runpy warns before it runs them.
    warnings.filterwarnings("ignore", message=r"'basicsr\.\w+' found in sys\.modules", category=RuntimeWarning)


def other_runners_too() -> None:
    """Packages on top of the host, such as Real-ESRGAN, take the folder above their own runner in the same way."""
    for runner, name in (("basicsr.train", "train_pipeline"), ("basicsr.test", "test_pipeline")):
        module = sys.modules.get(runner)
        if module is not None:
            _replace(name, module, _outside_of_libraries(getattr(module, name)))


def _outside_of_libraries(pipeline: Callable[[str], None]) -> Callable[[str], None]:
    @functools.wraps(pipeline)
    def run(root_path: str) -> None:
        pipeline(str(Path.cwd()) if Path(root_path).resolve() in _library_folders() else root_path)

    return run


def _library_folders() -> set[Path]:
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    paths.update(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    return {Path(path).resolve() for path in paths if path}


def safe_options() -> None:
    """``--force_yml`` goes through ``exec`` and ``eval``, and YAML through an unsafe loader, in all versions.

    See :mod:`mprnet_plugin.hosts.basicsr.command_line` for what stands in their place. It wraps every host, since it
    also checks the options and tells our datasets their schedule.
    """
    from basicsr.utils import options

    from mprnet_plugin.hosts.basicsr.command_line import wrap_parse_options

    _replace("parse_options", options, wrap_parse_options(options.parse_options))


def resume_anywhere() -> None:
    """Resuming needs a GPU, takes the newest state even if it is broken, and holds it in GPU memory (<= 1.4.2)."""
    from mprnet_plugin.hosts.basicsr.resume import load_resume_state

    runner = sys.modules["basicsr.train"]
    if uses(runner.load_resume_state, "current_device"):
        _replace("load_resume_state", runner, load_resume_state)


def launch_anywhere() -> None:
    """Launchers need a GPU, and SLURM's node list goes through a shell (CVE-2024-27763, all versions)."""
    from basicsr.utils import dist_util

    from mprnet_plugin.hosts.basicsr.launch import init_dist

    if uses(dist_util._init_dist_slurm, "getoutput") or not uses(dist_util._init_dist_pytorch, "is_available"):
        _replace("init_dist", dist_util, functools.wraps(dist_util.init_dist)(init_dist))


def distribute_on_cpu() -> None:
    """``model_to_device`` names a CUDA device to DistributedDataParallel even where there is none (<= 1.4.2)."""
    from basicsr.models.base_model import BaseModel
    from torch.nn.parallel import DistributedDataParallel

    original = BaseModel.model_to_device
    if not uses(original, "current_device"):
        return

    @functools.wraps(original)
    def model_to_device(self: Any, net: Any) -> Any:
        if not self.opt["dist"] or self.device.type == "cuda":
            return original(self, net)
        return DistributedDataParallel(
            net.to(self.device), find_unused_parameters=self.opt.get("find_unused_parameters", False)
        )

    BaseModel.model_to_device = model_to_device


def resumable_sampling() -> None:
    """The sampler knows neither seed nor resumed position, worker seeds repeat, epochs end early (all versions)."""
    from basicsr.data import data_sampler

    from mprnet_plugin.hosts.basicsr.sampling import enlarged_sampler

    _replace("EnlargedSampler", data_sampler, enlarged_sampler(data_sampler.EnlargedSampler))


def remember_tb_logger() -> None:
    """The runner hands its TensorBoard writer to validations only (all versions); ours after resuming needs it too.

    And what it hands out ends the training where the disk is full.
    """
    from mprnet_plugin.hosts.basicsr.current_run import RUN
    from mprnet_plugin.hosts.basicsr.log_writers import guarded_tensorboard

    runner = sys.modules["basicsr.train"]
    original = runner.init_tb_loggers

    @functools.wraps(original)
    def init_tb_loggers(opt: dict[str, Any]) -> Any:
        RUN.tb_logger = guarded_tensorboard(functools.partial(original, opt))
        return RUN.tb_logger

    _replace("init_tb_loggers", runner, init_tb_loggers)


def log_files_that_fail() -> None:
    """On a full disk each line of the log file is a traceback on the terminal (all versions)."""
    from basicsr.utils import logger

    from mprnet_plugin.hosts.basicsr.log_writers import guard_log_files

    original = logger.get_root_logger

    @functools.wraps(original)
    def get_root_logger(*args: Any, **kwargs: Any) -> Any:
        log = original(*args, **kwargs)
        guard_log_files(log)
        return log

    _replace("get_root_logger", logger, get_root_logger)


def distinct_archives() -> None:
    """Two runs of one name within a second make one archive's name twice, an error (all versions)."""
    from basicsr.utils import misc

    original = misc.mkdir_and_rename

    @functools.wraps(original)
    def mkdir_and_rename(path: str) -> None:
        while Path(f"{path}_archived_{misc.get_time_str()}").exists():
            time.sleep(0.1)
        original(path)

    _replace("mkdir_and_rename", misc, mkdir_and_rename)


def registries_that_yield() -> None:
    """Registering a name twice is an AssertionError; a package that brings an ``MPRNet`` of its own gets the name."""
    from basicsr.utils.registry import Registry

    original = Registry._do_register

    @functools.wraps(original)
    def do_register(self: Any, name: str, obj: Any, *suffix: Any) -> None:
        ours = self._obj_map.get(name)
        if ours is not None and obj is not ours and ours.__module__.startswith("mprnet_plugin."):
            del self._obj_map[name]
            sys.stderr.write(f"mprnet-plugin: {name} now means {obj.__module__}'s, no longer ours\n")
        original(self, name, obj, *suffix)

    Registry._do_register = do_register


def time_that_is_left() -> None:
    """At the last iteration the log's estimate of the time left is ``-1 day, 23:59:59`` (all versions)."""
    from basicsr.utils import logger

    class Datetime:
        """Stands in for the module, of which the host's logger uses this much."""

        @staticmethod
        def timedelta(seconds: float) -> datetime.timedelta:
            return datetime.timedelta(seconds=max(seconds, 0))

    if logger.datetime is datetime:
        logger.datetime = Datetime


def quiet_registry() -> None:
    """Looking up one of the host's own suffixed names prints a notice to standard output (<= 1.4.2)."""
    from basicsr.utils.registry import Registry

    original = Registry.get
    if not uses(original, "print"):
        return

    @functools.wraps(original)
    def get(self: Any, name: str, suffix: str = "basicsr") -> Any:
        return original(self, name if name in self else f"{name}_{suffix}" if f"{name}_{suffix}" in self else name)

    Registry.get = get


def uses(function: Callable[..., Any], name: str) -> bool:
    """Tell whether ``function``'s own body mentions a global or attribute ``name``: how a defect is detected."""
    return name in function.__code__.co_names


def _replace(name: str, home: Any, new: Any) -> None:
    """Put ``new`` where ``name`` is defined and wherever the host's modules have imported it by name."""
    old = getattr(home, name)
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "basicsr" and getattr(module, name, None) is old:
            setattr(module, name, new)


MENDS: tuple[Callable[[], None], ...] = (
    outputs_to_working_folder,
    other_runners_too,
    resume_anywhere,
    launch_anywhere,
    distribute_on_cpu,
    log_files_that_fail,
    distinct_archives,
    time_that_is_left,
    quiet_registry,
)
"""Each looks for its defect first."""
EXTENSIONS: tuple[Callable[[], None], ...] = (
    safe_options,
    resumable_sampling,
    remember_tb_logger,
    registries_that_yield,
)
"""What our model needs of any host, and others do not notice."""
