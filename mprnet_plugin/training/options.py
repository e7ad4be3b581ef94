"""What training and validation can be told, whichever host runs them: names, types, ranges and defaults."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mprnet_plugin.typed_options import Component, Number, Options, shorten

__all__ = ["LocalPoolingOptions", "MixupOptions", "StepOptions", "TrainOptions", "TrainPrecision", "ValOptions"]

TrainPrecision = Literal["fp32", "bf16"]
Positive = Annotated[int, Field(ge=1, le=10**12)]
NotNegative = Annotated[int, Field(ge=0, le=10**12)]


def _name_part(text: str) -> str:
    if "/" in text or "\\" in text or "\0" in text or len(text) > 100:
        raise ValueError(f"{shorten(text)} must be the end of a file name: at most 100 letters, none of them / or \\")
    return text


NamePart = Annotated[str, AfterValidator(_name_part)]


class MixupOptions(Options):
    """Blend each sample with another of the batch (Zhang et al., ICLR 2018), as in the denoising recipe."""

    alpha: Annotated[Number, Field(ge=1e-6, le=1e6)] = Field(
        0.6, description="the share is drawn from Beta(alpha, alpha); small values blend little"
    )
    start_iter: NotNegative = Field(0, description="first iteration that blends")


class LocalPoolingOptions(Options):
    """Pool channel attention locally instead of over the whole picture (TLC: Chu et al., ECCV 2022)."""

    train_size: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] = Field(
        256, description="side of the patches that the network was trained on; in training, those of datasets:train"
    )
    base_size: Annotated[int, Field(ge=1, le=65536)] = Field(
        384, description="side of the window for patches of 256; 384 is published"
    )


class StepOptions(Options):
    """How one optimiser step is taken, whichever host trains."""

    clamp_output: bool = Field(False, description="losses see outputs clamped to [0, 1], as published for denoising")
    mixup: MixupOptions | None = Field(None, description="blend samples of a batch")
    micro_batch_size: Positive | None = Field(
        None, description="samples per forward pass; gradients accumulate to the whole batch, memory follows this"
    )
    precision: TrainPrecision = Field(
        "fp32", description="of the forward and backward pass; bf16 halves its memory, fp32 is exact (TF32 is off)"
    )
    max_skipped_steps: NotNegative = Field(
        10, description="steps in a row that may be skipped because their loss or gradients are not finite"
    )


class TrainOptions(StepOptions):
    """How the network is trained."""

    hints = MappingProxyType(
        {"optim": "optim_g", "lr": "optim_g: {type: Adam, lr: 2e-4}", "batch_size": "datasets:train:batch_size"}
    )

    total_iter: Positive = Field(description="optimiser steps in all")
    optim_g: Component = Field(description="an optimiser of torch.optim with its arguments, lr among them")
    scheduler: Component = Field(description="a learning rate schedule with its arguments")
    pixel_opt: Component = Field(description="the loss of every stage's image, with its arguments")
    edge_opt: Component | None = Field(None, description="a second loss of every stage's image")
    ema_decay: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="decay of the moving average of the weights, which is then what is validated; 0: none"
    )
    warmup_iter: Annotated[int, Field(ge=-1)] = Field(
        -1, description="iterations of the host's linear warm-up; -1: none"
    )


class ValOptions(Options):
    """How validation and testing restore and show pictures."""

    val_freq: Positive | None = Field(None, description="iterations between validations; required in training")
    save_img: bool = Field(False, description="write every restored picture")
    suffix: NamePart | None = Field(
        None, description="end of the names of restored pictures; the run's name if left out"
    )
    metrics: dict[str, Component] | None = Field(
        None, description="metrics of sets that name neither protocol nor metrics: name to {type, arguments, better}"
    )
    pbar: bool = Field(True, description="show a progress bar on a terminal")
    grid_images: Annotated[int, Field(ge=0, le=1000)] = Field(4, description="rows of the before/after picture")
    round_to_uint8: bool | None = Field(
        None, description="score pictures rounded to 8 bits; left out: what each set's protocol says, else true"
    )
    local_pooling: LocalPoolingOptions | None = Field(None, description="pool locally (TLC), without retraining")
    engine: Literal["auto", "torch", "ncnn"] = Field(
        "auto",
        description="what runs the convolutions on a CPU, in fp32: ncnn is faster and as exact; auto: the faster",
    )
    self_ensemble: bool = Field(False, description="average eight flips and rotations: eight times the work")
