"""Find the checkpoint that a run continues from."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from mprnet_plugin.errors import InputError

State = dict[str, Any]


def load_resume_state(opt: dict[str, Any]) -> State | None:
    """Load the training state to continue from, or None to start anew; stands in for the host's function.

    With ``--auto_resume`` it is the newest state that can be read and whose network was saved as well; else
    ``path:resume_state``. Sets the networks' paths and tells the training dataset how far the run had come.

    Raises:
        InputError: ``path:resume_state`` is missing or cannot be read.
    """
    from basicsr.utils import check_resume

    path, state = _newest(opt) if opt["auto_resume"] else _named(opt)
    if path is None or state is None:
        return None
    opt["path"]["resume_state"] = str(path)
    check_resume(opt, state["iter"])
    if "schedule" in opt["datasets"]["train"]:
        opt["datasets"]["train"]["schedule"]["start_iter"] = state["iter"]
    return state


def _newest(opt: dict[str, Any]) -> tuple[Path | None, State | None]:
    found = sorted(Path(opt["path"]["training_states"]).glob("*.state"), key=_iteration, reverse=True)
    for path in found:
        network = Path(opt["path"]["models"]) / f"net_g_{_iteration(path)}.pth"
        if _iteration(path) < 0:
            continue
        if not is_zipfile(network):
            _warn(f"skipping {path}: {network} is missing or not whole")
            continue
        try:
            return path, _read(path)
        except InputError as error:
            _warn(f"skipping it: {error}")
    return None, None


def _named(opt: dict[str, Any]) -> tuple[Path | None, State | None]:
    name = opt["path"].get("resume_state")
    return (Path(name), _read(Path(name))) if name else (None, None)


def _iteration(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else -1


def _read(path: Path) -> State:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(
            f"training state {path} does not exist: check path:resume_state, or use --auto_resume"
        ) from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise InputError(f"training state {path} cannot be read, it is not whole: resume from an older one") from error
    if not isinstance(state, dict) or not {"epoch", "iter", "optimizers", "schedulers"} <= state.keys():
        raise InputError(f"{path} is not a training state: give experiments/NAME/training_states/N.state")
    return state


def _warn(message: str) -> None:
    logging.getLogger("basicsr").warning(message)
