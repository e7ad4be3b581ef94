"""Processes: how they find each other, with or without GPUs, and how they end."""

from __future__ import annotations

import atexit
import datetime
import errno
import gc
import os
import subprocess
import sys
from types import TracebackType
from typing import Any

import lmdb

from mprnet_plugin.data.stores import remedy
from mprnet_plugin.errors import INTERRUPTED, InputError
from mprnet_plugin.hosts.basicsr.current_run import RUN

TIMEOUT = "MPRNET_PLUGIN_TIMEOUT"
TIMEOUT_SECONDS = 1800
"""How long processes wait for one that does not answer, before the run ends with an error; torch's own is 600."""

_LOST = ("timed out", "timeout", "connection closed by peer", "connection reset by peer", "connection refused")
"""What torch.distributed says when a process is gone."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

__all__ = ["check_launcher", "count_processes", "init_dist", "report_input_errors"]


def check_launcher(launcher: str) -> None:
    """Refuse torchrun without ``--launcher``, which would be N runs that write over each other.

    Raises:
        InputError: That is what was started.
    """
    if launcher == "none" and "TORCHELASTIC_RUN_ID" in os.environ and count_processes("pytorch") > 1:
        raise InputError("torchrun started several processes, which need --launcher pytorch to become one run: add it")


def count_processes(launcher: str) -> int:
    """Return how many processes make up the run.

    Raises:
        InputError: The launcher's variable is no number.
    """
    if launcher == "none":
        return 1
    # Under srun a WORLD_SIZE may be left over from something else.
    return _whole_number("SLURM_NTASKS" if launcher == "slurm" else "WORLD_SIZE", "1", 1)


def init_dist(launcher: str, backend: str | None = None, **kwargs: Any) -> None:
    """Make the process group, on GPUs (NCCL) or on CPUs (gloo); stands in for the host's function.

    Args:
        launcher: ``pytorch`` or ``slurm``.
        backend: Of torch.distributed; by default as the devices are.
        kwargs: Further arguments of ``init_process_group``; ``port`` for SLURM.

    Raises:
        InputError: The launcher's variables are missing or wrong.
    """
    import torch
    from torch import multiprocessing

    cuda = torch.cuda.is_available()
    backend = backend or ("nccl" if cuda else "gloo")
    if multiprocessing.get_start_method(allow_none=True) is None:
        multiprocessing.set_start_method("spawn")
    if launcher == "slurm":
        read_slurm_environment(kwargs.pop("port", None), torch.cuda.device_count())
    elif "RANK" not in os.environ:
        raise InputError(
            f"--launcher {launcher} needs RANK in the environment: start with "
            "torchrun --nproc_per_node=N -m basicsr.train -opt FILE --launcher pytorch"
        )
    if cuda:
        # Launchers that set no LOCAL_RANK number the processes of a node one after the other.
        name = "LOCAL_RANK" if "LOCAL_RANK" in os.environ else "RANK"
        torch.cuda.set_device(_whole_number(name, "0", 0) % torch.cuda.device_count())
    timeout = datetime.timedelta(seconds=_whole_number(TIMEOUT, str(TIMEOUT_SECONDS), 1))
    torch.distributed.init_process_group(backend=backend, **{"timeout": timeout, **_meeting_place(timeout), **kwargs})
    if backend == "gloo":
        atexit.register(_part)


def _part() -> None:
    """Leave the process group before Python ends: gloo's threads may still hold a finished exchange's Python objects.

    Giving them back while the interpreter goes away aborts the process ("terminate called without an active
    exception", torch 2.14, one end of some hundred), so that torchrun calls a run failed that has saved everything.
    """
    import torch

    RUN.model = None  # which holds the network that is in the group
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _meeting_place(timeout: datetime.timedelta) -> dict[str, Any]:
    """Return where the processes of a restarted run find each other; nothing for all other runs.

    torchrun keeps its store over a restart, and gloo finds the addresses of the processes that have died there (torch
    2.14: "connectFullMesh failed", which uses up the restarts). Each restart gets names of its own in it. Not on
    several nodes, whose launchers need not count alike.
    """
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restart == "0" or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return {}
    store, rank, size = next(rendezvous("env://", timeout=timeout))
    names = PrefixStore(f"restart {restart}", store)
    return {"store": names, "rank": rank, "world_size": size}


def read_slurm_environment(port: int | None, num_gpus: int) -> None:
    """Translate SLURM's variables into those of torch.distributed, without a shell.

    Args:
        port: Port of the first node; ``MASTER_PORT`` or 29500 if None.
        num_gpus: GPUs on this node, which the local rank counts through.

    Raises:
        InputError: Outside of SLURM, or the node list cannot be resolved.
    """
    missing = [name for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST") if name not in os.environ]
    if missing:
        raise InputError(f"--launcher slurm needs {', '.join(missing)} in the environment: start it with srun")
    rank = _whole_number("SLURM_PROCID", "0", 0)
    nodes = os.environ["SLURM_NODELIST"]
    try:
        command = ["scontrol", "show", "hostnames", nodes]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"SLURM_NODELIST {nodes!r} could not be resolved by scontrol: {error}") from error
    if not found:
        raise InputError(f"SLURM_NODELIST {nodes!r} names no node: start with srun")
    os.environ.update(
        MASTER_ADDR=found[0],
        MASTER_PORT=str(port or os.environ.get("MASTER_PORT", 29500)),
        WORLD_SIZE=os.environ["SLURM_NTASKS"],
        RANK=str(rank),
        LOCAL_RANK=os.environ.get("SLURM_LOCALID", str(rank % max(num_gpus, 1))),
    )


def _whole_number(name: str, default: str, least: int) -> int:
    """Read a variable of the environment."""
    text = os.environ.get(name, default)
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{name}={text!r} in the environment must be a whole number, at least {least}: start anew")
    return int(text)


def report_input_errors(is_train: bool) -> None:
    """End the process with one line and status 2 on an :class:`InputError`, wherever the host lets it through."""
    previous = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, InputError):
            # A DataLoader worker sends its traceback as the message; the error itself is the last line.
            message = str(error).strip().rpartition("\n")[2].removeprefix(f"{InputError.__module__}.InputError: ")
            sys.stderr.write(f"error: {message}\n")
            raise SystemExit(2)
        stopping = RUN.stop.signal is not None and isinstance(error, (RuntimeError, EOFError, OSError))
        if stopping and RUN.model is not None and not RUN.model.in_step:
            # Loading processes that got the same signal are gone, so the next batch does not come, or is cut off in the
            # middle of its way; what is trained is whole.
            RUN.model.stop_if_asked(RUN.model.iteration)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            again = "; then add --auto_resume to continue" if is_train else ""
            sys.stderr.write(f"error: {error.filename or 'a file'}: {error.strerror}: make room or rights{again}\n")
            raise SystemExit(2)
        if isinstance(error, lmdb.Error):  # of the host's own dataset
            sys.stderr.write(f"error: {str(error).rstrip('.')}; {remedy(error)}\n")
            raise SystemExit(2)
        if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _LOST):
            seconds = os.environ.get(TIMEOUT, str(TIMEOUT_SECONDS))
            message = (
                f"error: another process of this run ended, or did not answer for {seconds} s ({TIMEOUT}): look at its "
                "output above, then start again with --auto_resume\n"
            )
            os.write(2, message.encode())  # os._exit would lose what a stream holds back
            os._exit(1)  # the process group's threads would wait for the others once more
        if issubclass(kind, KeyboardInterrupt):
            hint = "; add --auto_resume to continue from the newest checkpoint" if is_train else ""
            sys.stderr.write(f"\ninterrupted{hint}\n")
            raise SystemExit(INTERRUPTED)
        previous(kind, error, trace)

    sys.excepthook = report
