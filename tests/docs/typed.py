"""How a command that a page names is tried: run for real where it is light, else read by its own program.

To have a new kind of command tried, add a rule to ``RULES``, or a module to ``MODULES``; one that neither knows fails.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from mprnet_plugin.export.forms import FORMS
from mprnet_plugin.shipped_options import find_options
from mprnet_plugin.weights.checkpoint import load_state_dict
from mprnet_plugin.weights.choice import find_file, published_task
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import ROOT

Words = Sequence[str]
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r'"(mprnet-[a-z-]+) = ([\w.]+):cli"', SETUP))
"""Installed command to the module whose ``main`` it runs."""
EXTRAS = set(re.findall(r'^ {8}"([a-z0-9]+)": ', SETUP, re.MULTILINE))
RUN = (
    "lmdb_tools.",
    "mprnet_plugin.inference",
    "mprnet_plugin.weights",
    "mprnet_plugin.shipped",
    "mprnet_plugin.export",
)
"""What is run for real: modules whose command takes seconds."""


class UnknownCommandError(Exception):
    """No rule says how a command is to be tried."""


def try_command(words: Words, whole: bool, folder: Path) -> None:
    """Try a command in a folder that has what it may need, as ``test_commands_in_docs`` makes one.

    Raises:
        UnknownCommandError: Add a rule.
        AssertionError: A file, module, option or flag that is not there, or a status that is not 0.
    """
    words = _plain(words)
    if words[0] in SCRIPTS or words[0].startswith("mprnet-lmdb-"):
        module = SCRIPTS.get(words[0]) or f"lmdb_tools.{words[0].removeprefix('mprnet-lmdb-')}"
        _module(module, words[1:], whole, folder)
    elif words[0] in RULES:
        RULES[words[0]](words[1:], whole, folder)
    else:
        raise UnknownCommandError(f"{words[0]}: say in tests/docs/typed.py how this is tried")


def _plain(words: Words) -> list[str]:
    """Leave out variables that are set for one command, and where a virtual environment is."""
    left = list(words)
    while re.match(r"[A-Z_]+=", left[0]):
        del left[0]
    return [left[0].removeprefix(".venv/bin/"), *left[1:]]


def _flags(words: Words) -> list[str]:
    return [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]


def _known(words: Words, text: str) -> None:
    for flag in _flags(words):
        assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text), f"{flag} is not in --help"


@functools.cache
def _help(*program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run([*program, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program} --help: {done.stderr[-1000:]}"
    return done.stdout


def _python(words: Words, whole: bool, folder: Path) -> None:
    if words[0] == "-m":
        _module(words[1], words[2:], whole, folder)
        return
    assert (ROOT / words[0]).is_file(), words[0]
    _known(words[1:], _help(sys.executable, str(ROOT / words[0])))


def _module(name: str, words: Words, whole: bool, folder: Path) -> None:
    """Try ``python -m NAME``, or an installed command that stands for it."""
    if name in MODULES:
        MODULES[name](words, whole, folder)
        return
    if name == "lmdb_tools.NAME":  # stands for each of them
        return
    assert importlib.util.find_spec(name), f"no module {name}"
    if not name.startswith(RUN):
        _known(words, _help(sys.executable, "-c", f"import {name} as m; m.cli()") if _flags(words) else "")
        return
    module = importlib.import_module(f"{name}.cli" if name == "mprnet_plugin.inference" else name)
    _known(words, _help(sys.executable, "-c", f"import {module.__name__} as m; m.cli()"))
    if whole:
        _prepare(module.__name__, words, folder)
        _run(module.main, _light(module.__name__, words))


def _run(main: Callable[[list[str]], int], words: list[str]) -> None:
    try:
        status: Any = main(words)
    except SystemExit as leaving:  # argparse's, after --help or --version
        status = leaving.code or 0
    assert status == 0, words


def _light(module: str, words: Words) -> list[str]:
    """Return the arguments without what needs a network, hours, or a heavy exporter."""
    light = [word for word in words if word != "--download"]
    if "--random-patches" in light:
        light.append("--dry-run")
    if module.startswith("mprnet_plugin.export"):
        folder, form = light[1].endswith("/"), Path(light[1]).suffix
        assert folder or form in FORMS
        if published_task(light[0]) or not (folder or form == ".param"):
            return ["--help"]  # those forms are exported by tests/export
    return light


def _prepare(module: str, words: Words, folder: Path) -> None:
    """Make the file of weights that a command starts from."""
    if module.startswith(("mprnet_plugin.weights", "mprnet_plugin.export")) and "://" not in words[0]:
        make_weights(folder / words[0])
    if "--weight_path" in words:
        make_weights(folder / words[words.index("--weight_path") + 1])


def make_weights(path: Path) -> None:
    """Write the demo weights under any name."""
    if not path.exists():
        save_weights(load_state_dict(find_file("mprnet://demo/Denoising")), path)


def _options_of(words: Words) -> Iterator[str]:
    inside = False
    for word in words:
        inside = word == "--force_yml" or (inside and not word.startswith("-"))
        if inside and word != "--force_yml":
            yield word


def _basicsr(runner: str, words: Words, whole: bool, folder: Path, processes: int = 1) -> None:
    """Let the option checks of the real runner read the file with its overrides."""
    from mprnet_plugin.hosts.basicsr.command_line import apply_override, read_options
    from mprnet_plugin.hosts.basicsr.option_checks import check_model_type, check_options
    from mprnet_plugin.hosts.basicsr.option_defaults import fill_defaults, fix_batch

    _known(words, _help(sys.executable, "-m", f"basicsr.{runner}"))
    if not whole and "-opt" not in words:
        return
    name = words[words.index("-opt") + 1]
    if not whole and name == "FILE":
        return
    opt = read_options(name)
    for override in _options_of(words):
        apply_override(opt, override)
    _make_data(opt, folder)
    is_train = runner == "train"
    check_model_type(opt, name)
    check_options(opt, name, is_train)
    fill_defaults(opt, is_train)
    fix_batch(opt, processes)


def _make_data(opt: Mapping[str, Any], folder: Path) -> None:
    """Make what the options name; nothing is read of it yet."""
    sets = [one for section in opt["datasets"].values() for one in (section, *section.get("sources", ()))]
    for name in [str(one[key]) for one in sets for key in ("dataroot_lq", "dataroot_gt", "dataroot") if one.get(key)]:
        path = folder / name
        assert path.is_relative_to(folder), name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix == ".mat" else path.mkdir(exist_ok=True)
    weights = (opt.get("path") or {}).get("pretrain_network_g")
    if weights and "://" not in weights:
        make_weights(folder / weights)


def _mmengine(runner: str, words: Words, whole: bool, folder: Path) -> None:
    """Read the config as the command does."""
    from mprnet_plugin.hosts.mmengine.command import base_parser, read_config

    _known(words, _help(sys.executable, "-m", f"mprnet_plugin.hosts.mmengine.{runner}"))
    if whole:
        args, _ = base_parser(runner, "").parse_known_args(words)
        assert read_config(args).model.type


def _torchrun(words: Words, whole: bool, folder: Path) -> None:
    """Read the launcher's own options, then the command that it starts."""
    from torch.distributed.run import get_args_parser

    if not {"-m", "scripts/mmengine_train.py"} & set(words):  # a word about one of its options
        _known(words, _help(sys.executable, "-m", "torch.distributed.run"))
        return
    args = get_args_parser().parse_args(list(words))
    processes = int(args.nnodes.partition(":")[0]) * int(args.nproc_per_node)
    if args.module and args.training_script == "basicsr.train":
        _basicsr("train", args.training_script_args, whole, folder, processes)
    elif args.module:
        _module(args.training_script, args.training_script_args, whole, folder)
    else:
        _python([args.training_script, *args.training_script_args], whole, folder)


def _bash(words: Words, whole: bool, folder: Path) -> None:
    assert (ROOT / words[0]).is_file(), words[0]
    _known(words[1:], _help("bash", str(ROOT / words[0])))


def _pip(words: Words, whole: bool, folder: Path) -> None:
    """Check that extras are ours, and that other names may be packages."""
    _known(words[1:], _help(sys.executable, "-m", "pip", words[0]))
    for name in [word for word in words[1:] if not word.startswith("-")]:
        extras = re.fullmatch(r"(?:\.|mprnet-plugin)(?:\[([\w,]+)\])?", name)
        if extras is None:
            assert Requirement(name).name
        else:
            assert set((extras.group(1) or "test").split(",")) <= EXTRAS, name


def _tool(module: str, words: Words, whole: bool, folder: Path) -> None:
    """Check that a tool is there."""
    assert importlib.util.find_spec(module), module


def _pytest(words: Words, whole: bool, folder: Path) -> None:
    """Check that the paths that it is given are there."""
    for word in words:
        assert "/" not in word or (ROOT / word).exists(), word


def _elsewhere(words: Words, whole: bool, folder: Path) -> None:
    """Nothing: programs of the system, which no test may start."""


def _srun(words: Words, whole: bool, folder: Path) -> None:
    try_command(words, whole, folder)


def _partial(function: Callable[..., None], name: str) -> Callable[[Words, bool, Path], None]:
    return functools.partial(function, name)


RULES: dict[str, Callable[[Words, bool, Path], None]] = {
    "python": _python,
    "python3": _python,
    "torchrun": _torchrun,
    "bash": _bash,
    "pip": _pip,
    "srun": _srun,
    "tensorboard": _partial(_tool, "tensorboard"),
    "pre-commit": _elsewhere,
    "docker": _elsewhere,
    "ssh": _elsewhere,
    "hf": _elsewhere,
    "apt-get": _elsewhere,
}
"""Program to how it is tried."""
MODULES: dict[str, Callable[[Words, bool, Path], None]] = {
    **{f"basicsr.{runner}": _partial(_basicsr, runner) for runner in ("train", "test")},
    **{f"mprnet_plugin.hosts.mmengine.{runner}": _partial(_mmengine, runner) for runner in ("train", "test")},
    **{tool: _partial(_tool, tool) for tool in ("ruff", "mypy", "venv", "build", "twine")},
    "pytest": _pytest,
    "mprnet_plugin.tasks": _partial(_tool, "mprnet_plugin.tasks"),
    "mprnet_plugin.hosts.basicsr.option_reference": _partial(_tool, "mprnet_plugin.hosts.basicsr.option_reference"),
    "pip": _pip,
}
"""Module behind ``python -m`` to how it is tried, where it is not just run or asked for its help."""


def shipped_names(text: str) -> list[str]:
    """Return the options files that a text names; raises where one does not come with the package."""
    names = re.findall(r"(?<![\w*/])(?:train|test|finetune|quickstart|demo)_\w+\.yml", text)
    return [find_options(name).name for name in names]
