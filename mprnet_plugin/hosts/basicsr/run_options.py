"""The sections of an options file for BasicSR's runners with our model; those of training are in ``training``."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from typing_extensions import Self

from mprnet_plugin.training.options import Positive, TrainOptions, ValOptions
from mprnet_plugin.typed_options import Component, Number, Options, Text

__all__ = [
    "MODEL_TYPE",
    "EvaluationSetOptions",
    "HostPairedOptions",
    "KeepOptions",
    "LoggerOptions",
    "PathOptions",
    "RunOptions",
    "TrainingSetOptions",
    "dataset_options",
]

MODEL_TYPE = "MPRNetModel"
_LONGEST_NAME = 200
"""Bytes; the host appends a date to a folder's name, and file systems take 255."""


def _folder_name(name: str) -> str:
    if not name or os.sep in name or "\0" in name or name.startswith("."):
        raise ValueError(f"{name!r} must be a plain folder name")
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"must be a folder name of at most {_LONGEST_NAME} bytes, not of {len(name.encode())}")
    return name


def _text_of_number(value: object) -> object:
    """Take 2024, which YAML reads as a number, for the name that is meant."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18 else value


FolderName = Annotated[
    str, BeforeValidator(_text_of_number, json_schema_input_type=str | int), AfterValidator(_folder_name)
]


class PathOptions(Options):
    """Files to start from."""

    pretrain_network_g: Text | None = Field(
        None,
        description="weights to start from or to test: a file (ours, the host's, the authors' or PaddleGAN's), "
        "mprnet://Deblurring (published) or mprnet://demo/Deblurring (small, from this package)",
    )
    param_key_g: Text | None = Field(
        None, description="entry of the file that holds them; the moving average if left out"
    )
    strict_load_g: Literal[True] = Field(True, description="all weights must fit, always")
    resume_state: Text | None = Field(
        None, description="a training state to continue from; --auto_resume finds the newest"
    )
    ignore_resume_networks: Text | list[str] | None = Field(
        None, description="networks that resuming does not load, as the host has it"
    )


class WandbOptions(Options):
    """Weights and Biases, as the host has it; needs wandb installed and TensorBoard logging on."""

    project: Text | None = Field(None, description="project to log to; none: off")
    resume_id: Text | None = Field(None, description="run to continue")


class KeepOptions(Options):
    """Which files of weights are left on the disk."""

    keep_checkpoints: Annotated[int, Field(ge=1, le=10**6)] | None = Field(
        None, description="checkpoints that stay, the newest; older ones are deleted; all stay if left out"
    )
    keep_every: Positive | None = Field(
        None, description="with keep_checkpoints: those of iterations that are multiples of this stay too"
    )
    save_best: Text | None = Field(
        None, description="metric whose best validation keeps its network as net_g_best.pth: psnr, or SET/psnr"
    )
    safetensors: bool = Field(False, description="write net_g_latest and net_g_best as .safetensors too, to share them")


class LoggerOptions(KeepOptions):
    """What is written, and how often."""

    print_freq: Positive = Field(description="iterations between lines of the log")
    save_checkpoint_freq: Positive = Field(description="iterations between checkpoints")
    use_tb_logger: bool = Field(True, description="write curves and pictures for TensorBoard")
    wandb: WandbOptions | None = Field(None, description="log to Weights and Biases too")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.keep_every is not None and self.keep_checkpoints is None:
            raise ValueError(
                "keep_every keeps some of what keep_checkpoints deletes: write keep_checkpoints: 5 beside it"
            )
        return self


class LoaderOptions(Options):
    """What the host's runner and loader read of a set's section, beside what the dataset itself does."""

    type: Text = Field(description="name of the dataset")
    name: FolderName | None = Field(None, description="what tables and folders call the set; its phase if left out")
    phase: Literal["train", "val", "test"] | None = Field(None, description="the host sets it")
    scale: Literal[1] = Field(1, description="the host sets it")
    pin_memory: bool = Field(False, description="faster copies to a GPU")
    persistent_workers: bool = Field(False, description="keep loading processes between epochs")
    prefetch_mode: Literal["cpu", "cuda"] | None = Field(None, description="the host's prefetcher")
    num_prefetch_queue: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="batches of prefetch_mode cpu")


class TrainingSetOptions(LoaderOptions):
    """A training set."""

    batch_size: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        None, description="samples of one optimiser step, over all processes"
    )
    batch_size_per_gpu: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        None, description="samples of one process instead, as the host has it"
    )
    num_worker_per_gpu: Annotated[int, Field(ge=0, le=1024)] = Field(0, description="loading processes; 0: none")
    dataset_enlarge_ratio: Annotated[Number, Field(gt=0, le=1e6)] = Field(
        1, description="how often an epoch repeats the set"
    )


class EvaluationSetOptions(LoaderOptions):
    """A validation or test set."""

    protocol: Text | None = Field(
        None, description="how its benchmark scores: implies metrics and rounding, and puts published figures beside"
    )
    metrics: dict[str, Component] | None = Field(
        None, description="metrics of this set, beside its protocol's: name to {type, arguments, better}"
    )
    optional: bool = Field(False, description="leave the set out, with a line, where its files are absent")


class HostPairedOptions(Options):
    """The host's own dataset of pairs, with its options; runs do not resume in the middle of an epoch with it."""

    hints = MappingProxyType(
        {
            "mini_batch_sizes": "batch_size alone, as patches keep their size here; Restormer's grow while it trains",
            "gt_sizes": "gt_size, one side for all of the training",
            "iters": "train: total_iter",
            "geometric_augs": "use_hflip: true and use_rot: true",
            "use_flip": "use_hflip: true",
        }
    )

    dataroot_lq: Text = Field(description="folder of degraded pictures, or an LMDB")
    dataroot_gt: Text = Field(description="folder of sharp pictures, or an LMDB")
    meta_info_file: Text | None = Field(None, description="text file with the names of the pictures, one a line")
    filename_tmpl: Text = Field("{}", description="name of a degraded picture, {} being that of the sharp one")
    io_backend: dict[str, Any] = Field(description="{type: disk}, or {type: lmdb}")
    gt_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="side of the random crop in training"
    )
    use_hflip: bool = Field(False, description="horizontal flips in training; required there")
    use_rot: bool = Field(False, description="vertical flips and rotations by 90 degrees in training; required there")
    use_shuffle: bool = Field(True, description="in every options file of the host, and read by nobody: it shuffles")
    color: Literal["rgb", "y"] | None = Field(None, description="y: luma alone, for networks of one channel")
    mean: list[Number] | None = Field(None, description="taken from each channel")
    std: list[Number] | None = Field(None, description="and what it is then divided by")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        missing = [name for name in ("gt_size", "use_hflip", "use_rot") if name not in self.model_fields_set]
        if getattr(self, "phase", None) == "train" and missing:
            raise ValueError(f"{missing[0]} is missing, without which the host's dataset does not train")
        return self


class RunOptions(Options):
    """An options file for ``python -m basicsr.train`` or ``basicsr.test``."""

    name: FolderName = Field(description="of the run: experiments/NAME, results/NAME")
    model_type: Literal["MPRNetModel"] = Field(description="our model")
    scale: Literal[1] = Field(1, description="images keep their size")
    num_gpu: Literal["auto"] | Annotated[int, Field(ge=0, le=1024)] = Field(
        "auto", description="GPUs of this process, one at most; 0: stay on the CPU"
    )
    manual_seed: Annotated[int, Field(ge=0, lt=2**32 - 65536)] = Field(0, description="of everything that is drawn")
    datasets: dict[str, dict[str, Any]] = Field(description="train, val, val_2, test_1 and so on, each a set's section")
    network_g: Component = Field(description="the network with its arguments")
    path: PathOptions = Field(PathOptions(), description="files to start from")
    train: TrainOptions | None = Field(None, description="how it is trained")
    val: ValOptions | None = Field(None, description="how it is validated or tested")
    logger: LoggerOptions | None = Field(None, description="what is written")
    dist_params: dict[str, Any] | None = Field(None, description="of the process group: backend, port")
    find_unused_parameters: bool = Field(
        False, description="for networks that leave parameters out, in several processes"
    )


@functools.cache
def dataset_options(dataset: type, training: bool) -> type[Options] | None:
    """Return the class of a set's whole section: what the host reads of it and what the dataset does.

    Args:
        dataset: A dataset class.
        training: Whether it is the training set's section.

    Returns:
        None for a dataset whose options nobody has listed: one that neither has an ``options_class`` nor is the host's.
    """
    loader = TrainingSetOptions if training else EvaluationSetOptions
    hosts = HostPairedOptions if dataset.__module__ == "basicsr.data.paired_image_dataset" else None
    own: type[Options] | None = getattr(dataset, "options_class", hosts)
    if own is None:
        return None
    return type(f"{dataset.__name__}Section", (own, loader), {"__doc__": own.__doc__, "__module__": __name__})


def as_typed(section: dict[str, Any], options: Options) -> None:
    """Write whole numbers that YAML read as floats (4e5) back into a section as such, nested sections included."""
    for key, value in section.items():
        typed = getattr(options, key, None)
        if isinstance(value, float) and isinstance(typed, int):
            section[key] = typed
        elif isinstance(value, Mapping) and isinstance(typed, Options):
            as_typed(section[key], typed)
