"""Find the checkpoint that a run continues from: the first process decides, the others are told."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.basicsr.run_options import MODEL_TYPE
from mprnet_plugin.training.checkpoints import NotWholeError, check_whole
from mprnet_plugin.training.processes import from_first_process
from mprnet_plugin.weights.checkpoint import load_state_dict

__all__ = ["load_resume_state"]

State = dict[str, Any]
FOLDERS = ("experiments_root", "models", "training_states", "log", "visualization")


class Checkpoint(NamedTuple):
    """A training state and the network that was saved with it."""

    path: Path
    state: State
    network: Path


def load_resume_state(opt: dict[str, Any]) -> State | None:
    """Load the training state to continue from, or None to start anew; stands in for the host's function.

    With ``--auto_resume`` it is the newest state that is whole and whose network is; else ``path:resume_state``, whose
    network lies beside it. Sets the networks' paths and tells the training dataset how far the run had come.

    Raises:
        InputError: ``path:resume_state`` is missing or damaged; there are states for ``--auto_resume``, but none is
            whole; a file cannot be read.
    """
    from basicsr.utils import check_resume

    if opt.get("model_type") != MODEL_TYPE:
        return _as_the_host_does(opt)
    found = from_first_process(lambda: _newest(opt) if opt["auto_resume"] else _named(opt))
    if found is None:
        return None
    opt["path"]["resume_state"] = str(found.path)
    check_resume(opt, found.state["iter"])
    opt["path"]["pretrain_network_g"] = str(found.network)
    if opt["rank"] == 0:
        for name in FOLDERS:  # a state of another experiment: this one's folders may not be there
            Path(opt["path"][name]).mkdir(parents=True, exist_ok=True)
    if "schedule" in opt["datasets"]["train"]:
        opt["datasets"]["train"]["schedule"]["start_iter"] = found.state["iter"]
    return found.state


def _as_the_host_does(opt: dict[str, Any]) -> State | None:
    """Take another model's newest state, or the one named, without a GPU; what belongs to it, only that model knows."""
    from basicsr.utils import check_resume

    if opt["auto_resume"]:
        paths = sorted(_states(opt), key=_iteration)
        opt["path"]["resume_state"] = str(paths[-1]) if paths else opt["path"].get("resume_state")
    name = opt["path"].get("resume_state")
    if not name or (opt["auto_resume"] and not paths):
        return None
    state: State = torch.load(name, map_location="cpu", weights_only=True)
    check_resume(opt, state["iter"])
    if "schedule" in opt["datasets"].get("train", {}):
        opt["datasets"]["train"]["schedule"]["start_iter"] = state["iter"]
    return state


def _states(opt: dict[str, Any]) -> list[Path]:
    return [path for path in Path(opt["path"]["training_states"]).glob("*.state") if path.stem.isdecimal()]


def _newest(opt: dict[str, Any]) -> Checkpoint | None:
    folder = Path(opt["path"]["training_states"])
    paths = sorted(_states(opt), key=_iteration, reverse=True)
    for path in paths:
        try:
            return _checkpoint(path, Path(opt["path"]["models"]))
        except NotWholeError as error:
            logging.getLogger("basicsr").warning(f"skipping {path.name}: {error}")
    if paths:
        raise InputError(
            f"{folder} holds {len(paths)} training states, none of which can be continued (see above): to start anew, "
            "move the folder away or leave out --auto_resume"
        )
    return None


def _named(opt: dict[str, Any]) -> Checkpoint | None:
    name = opt["path"].get("resume_state")
    if not name:
        return None
    path = Path(name).expanduser()
    return _checkpoint(path, path.parent.parent / "models")


def _iteration(path: Path) -> int:
    return int(path.stem)


def _checkpoint(path: Path, models: Path) -> Checkpoint:
    state = _read(path)
    network = models / f"net_g_{state['iter']}.pth"
    check_whole(network, "network")
    try:
        load_state_dict(network)
    except InputError as error:  # such as a damaged directory of the file's parts, which have checksums, as it has not
        raise NotWholeError(str(error)) from error
    return Checkpoint(path, state, network)


def _read(path: Path) -> State:
    check_whole(path, "training state")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"training state {path} cannot be read: {error.strerror}; check the disk") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise NotWholeError(f"training state {path} is no state ({reason}): resume from an older one") from error
    if not isinstance(state, dict) or not (
        isinstance(state.get("iter"), int)
        and state["iter"] >= 1
        and isinstance(state.get("epoch"), int)
        and all(isinstance(state.get(name), list) for name in ("optimizers", "schedulers"))
        and isinstance(state.get("best", {}), dict)
    ):
        raise NotWholeError(f"{path} is not a training state: give experiments/NAME/training_states/N.state")
    return state
