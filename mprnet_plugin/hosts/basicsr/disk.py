"""What a training leaves on the disk: how large it will be, which checkpoints stay, the best network."""

from __future__ import annotations

import copy
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from mprnet_plugin.hosts.basicsr import checkpoints
from mprnet_plugin.hosts.basicsr.run_options import KeepOptions
from mprnet_plugin.training.checkpoints import NotWholeError, check_whole, expendable
from mprnet_plugin.weights.convert import save_weights

__all__ = ["Disk", "Validated", "optimizer_bytes", "weight_bytes"]

Content = Mapping[str, Mapping[str, Tensor]]
"""``params``, and ``params_ema`` where there is a moving average, to weights by name."""


class Validated(NamedTuple):
    """A validation's result by the metric that decides which network is the best."""

    dataset: str
    metric: str
    value: float
    iter: int
    lower_is_better: bool


class Disk:
    """The files of weights of one run; only the first process writes and deletes.

    Args:
        opt: The run's options.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        logger, path = opt.get("logger") or {}, opt["path"]
        self.options = KeepOptions.pick(logger, "logger")
        self.models, self.states = Path(path["models"]), Path(path["training_states"])
        self._planned = range(0, opt["train"]["total_iter"] + 1, logger.get("save_checkpoint_freq") or 10**12)[1:]
        state = path.get("resume_state")
        # One that the options name by hand may be asked for again.
        self._named = {Path(state).stem} if state and not opt.get("auto_resume") else set()

    def announce(self, network: int, optimizer: int | None) -> None:
        """Say how large the checkpoints will be, which of them stay, and which are deleted that are there already.

        Args:
            network: Bytes of the weights in one.
            optimizer: Bytes of the optimiser's state; None if only the first step can tell.
        """
        if not self._planned:
            return
        size, stay = network + (optimizer or 0), len(self._planned) - len(self._expendable(self._planned))
        state = "of unknown size" if optimizer is None else _bytes(optimizer)
        text = (
            f"Disk: a checkpoint is {_bytes(size)} (weights {_bytes(network)}, state {state}), "
            f"all {len(self._planned)} of this run {_bytes(len(self._planned) * size)}; "
        )
        keep, milestones = self.options.keep_checkpoints, self.options.keep_every
        if keep is None:
            text += "all stay, unless logger:keep_checkpoints says how many"
        else:
            also = f" and every {milestones:,d}th iteration's" if milestones else ""
            text += f"the newest {keep}{also} stay, older ones are deleted: {_bytes(stay * size)} in the end"
        get_root_logger().info(text)
        there = self._whole()
        gone = self._expendable([*there, max(there, default=0) + 1])
        if gone:
            get_root_logger().warning(
                f"{len(gone)} of the {len(there)} checkpoints that are there will be deleted at the next save, "
                f"iterations {gone[0]:,d} to {gone[-1]:,d}: logger:keep_checkpoints: {keep}"
            )
        free = shutil.disk_usage(self.models).free if self.models.is_dir() else math.inf
        if free < (stay - len(there)) * size:
            get_root_logger().warning(f"Disk: {_bytes(free)} are free in {self.models}, fewer than that: make room")

    def prune(self, iteration: int) -> None:
        """Delete the checkpoints that need not stay, now that the one of an iteration is whole.

        The state goes first: without it nobody takes a network for a checkpoint, so a kill in between leaves no half
        one, and the next call removes the rest.
        """
        if self.options.keep_checkpoints is None:
            return
        whole = [one for one in self._whole() if one <= iteration]
        networks = {int(path.stem.removeprefix("net_g_")) for path in _numbered(self.models, "net_g_", ".pth")}
        rest = {one for one in networks - set(whole) if one < iteration and not self._is_milestone(one)}
        for one in sorted({*self._expendable(whole), *rest}):
            (self.states / f"{one}.state").unlink(missing_ok=True)
            (self.models / f"net_g_{one}.pth").unlink(missing_ok=True)

    def keep_best(self, networks: Content, result: Validated) -> None:
        """Write ``net_g_best.pth`` where a validation is better than the one of the file, which a resumed run finds.

        The result stands in the file, under ``best``.
        """
        path = self.models / "net_g_best.pth"
        before, sign = self._best(path), -1 if result.lower_is_better else 1
        same = before is not None and (before["dataset"], before["metric"]) == (result.dataset, result.metric)
        if math.isnan(result.value) or (before and same and sign * result.value <= sign * before["value"]):
            return
        self.share(networks, "best")  # first, so that after a kill in between this validation writes both again
        checkpoints.save({**networks, "best": result._asdict()}, path)
        get_root_logger().info(f"{path.name}: iteration {result.iter}, {result.metric} {result.value:.4f}")

    def share(self, networks: Content, name: str) -> None:
        """Write the weights that are validated as safetensors too, where that is asked for."""
        if self.options.safetensors:
            save_weights(networks.get("params_ema", networks["params"]), self.models / f"net_g_{name}.safetensors")

    def _best(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            check_whole(path, "network")
        except NotWholeError as error:
            get_root_logger().warning(f"{error}: this validation's network takes its place")
            return None
        found: dict[str, Any] | None = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("best")
        return found

    def _whole(self) -> list[int]:
        """Return the iterations of which both files are there."""
        states = [path for path in _numbered(self.states, "", ".state") if path.stem not in self._named]
        return sorted(int(path.stem) for path in states if (self.models / f"net_g_{path.stem}.pth").exists())

    def _expendable(self, iterations: Any) -> list[int]:
        keep = self.options.keep_checkpoints
        return [] if keep is None else expendable(iterations, keep, self.options.keep_every)

    def _is_milestone(self, iteration: int) -> bool:
        every = self.options.keep_every
        return str(iteration) in self._named or (every is not None and iteration % every == 0)


def weight_bytes(net: nn.Module) -> int:
    """Return the bytes that a network's weights take in a file, where a tensor of many names is written once."""
    tensors = {value.data_ptr(): value for value in net.state_dict().values()}
    return sum(value.numel() * value.element_size() for value in tensors.values())


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int | None:
    """Return the bytes that an optimiser's state will take, found by a step on parameters without memory.

    Returns:
        None where the optimiser looks at values in its step.
    """
    twin = copy.copy(optimizer)
    twin.state, twin.param_groups = defaultdict(dict), []
    for group in optimizer.param_groups:
        parameters = [nn.Parameter(torch.empty_like(one, device="meta")) for one in group["params"]]
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
        twin.param_groups.append({**group, "params": parameters})
    try:
        type(optimizer).step(twin)  # the schedule's wrapper around its own step would count this one
    except (RuntimeError, NotImplementedError):
        return None
    tensors = [value for state in twin.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(value.numel() * value.element_size() for value in tensors)


def _numbered(folder: Path, start: str, end: str) -> list[Path]:
    paths = folder.glob(f"{start}*{end}")
    return [path for path in paths if path.name.removeprefix(start).removesuffix(end).isdecimal()]


def _bytes(count: float) -> str:
    """Return a size as disks are sold: 1 GB is 10^9 bytes."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
