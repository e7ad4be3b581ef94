"""What training and validation can be told, whichever host runs them: names, types, ranges and defaults."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from mprnet_plugin.typed_options import Component, Number, Options, Text, shorten

__all__ = [
    "EarlyStoppingOptions",
    "LocalPoolingOptions",
    "MixupOptions",
    "StepOptions",
    "TrainOptions",
    "TrainPrecision",
    "ValOptions",
]

TrainPrecision = Literal["fp32", "bf16", "fp16"]
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


class EarlyStoppingOptions(Options):
    """End a training whose validation no longer improves."""

    metric: Text = Field("psnr", description="what is watched: psnr of the first validation set, or SET/psnr")
    patience: Annotated[int, Field(ge=1, le=10**6)] = Field(
        description="validations in a row without a better value that end the run"
    )
    min_delta: Annotated[Number, Field(ge=0, le=1e6)] = Field(
        0.0, description="a value is better if it is so by more than this, in the metric's unit"
    )


class StepOptions(Options):
    """How one optimiser step is taken, whichever host trains."""

    hints = MappingProxyType({"use_grad_clip": "grad_clip: 0.01, the norm that true means in NAFNet and Restormer"})

    clamp_output: bool = Field(False, description="losses see outputs clamped to [0, 1], as published for denoising")
    mixup: MixupOptions | None = Field(None, description="blend samples of a batch")
    micro_batch_size: Positive | None = Field(
        None, description="samples per forward pass; gradients accumulate to the whole batch, memory follows this"
    )
    precision: TrainPrecision = Field(
        "fp32",
        description="of the forward and backward pass; bf16 and fp16 halve its memory, fp16 with a loss that is scaled "
        "to its range; fp32 is exact (TF32 is off)",
    )
    channels_last: bool = Field(
        False, description="keep a pixel's channels side by side in memory, which many kernels are faster with"
    )
    compile: bool = Field(
        False, description="let torch compile the network for training, which takes minutes; validation runs without"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute the insides of MPRNet's blocks again instead of keeping them; the same digits"
    )
    grad_clip: Annotated[Number, Field(gt=0, le=1e9)] | None = Field(
        None, description="largest norm of all gradients together, larger ones are scaled down to it; none: no limit"
    )
    max_skipped_steps: NotNegative = Field(
        10, description="steps in a row that may be skipped because their loss or gradients are not finite"
    )


class LossOptions(Component):
    """One loss of a list, ``{type: NAME, weight: 0.1, stages: [3], argument: value, ...}``."""

    weight: Annotated[Number, Field(gt=0, le=1e9)] = Field(1.0, description="factor on the loss")
    stages: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)] | None = Field(
        None, description="numbers of the stages whose images it sees, 3 the final one of MPRNet; all if left out"
    )


class TrainOptions(StepOptions):
    """How the network is trained."""

    hints = MappingProxyType(
        {
            **StepOptions.hints,
            "optim": "optim_g",
            "lr": "optim_g: {type: Adam, lr: 2e-4}",
            "batch_size": "datasets:train:batch_size",
            "mixing_augs": "mixup: {alpha: 1.2} in its place, which is Restormer's",
            "gan_opt": "losses: without it, as there is no discriminator here",
        }
    )

    total_iter: Positive = Field(description="optimiser steps in all")
    optim_g: Component = Field(description="an optimiser of torch.optim with its arguments, lr among them")
    scheduler: Component = Field(description="a learning rate schedule with its arguments")
    pixel_opt: Component | None = Field(None, description="a loss of every stage's image, with its arguments")
    edge_opt: Component | None = Field(None, description="a second loss of every stage's image")
    perceptual_opt: Component | None = Field(None, description="a third, such as the host's PerceptualLoss")
    losses: list[LossOptions] | None = Field(
        None, description="further losses, or all of them: each any registered loss, its weight, its stages"
    )
    ema_decay: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="decay of the moving average of the weights, which is then what is validated; 0: none"
    )
    ema_warmup: bool = Field(
        False, description="let the decay start at (1 + t) / (10 + t) in iteration t: the start is forgotten sooner"
    )
    warmup_iter: Annotated[int, Field(ge=-1)] = Field(
        -1, description="iterations of the host's linear warm-up; -1: none"
    )

    @model_validator(mode="after")
    def _has_a_loss(self) -> Self:
        if not (self.pixel_opt or self.edge_opt or self.perceptual_opt or self.losses):
            raise ValueError("pixel_opt is missing: a loss, such as pixel_opt: {type: CharbonnierLoss, eps: 1e-6}")
        return self

    def decay_at(self, iteration: int) -> float:
        """Return the moving average's decay in an iteration, counted from 1.

        With ``ema_warmup`` it is the smaller of ``ema_decay`` and (1 + t) / (10 + t), as in TensorFlow's
        ``ExponentialMovingAverage`` with ``num_updates``.

        Example:
            >>> parts = dict.fromkeys(("optim_g", "scheduler", "pixel_opt"), {"type": "x"})
            >>> options = TrainOptions(total_iter=9, ema_decay=0.999, ema_warmup=True, **parts)
            >>> [round(options.decay_at(iteration), 3) for iteration in (1, 10, 100, 10**5)]
            [0.182, 0.55, 0.918, 0.999]
        """
        return min(self.ema_decay, (1 + iteration) / (10 + iteration)) if self.ema_warmup else self.ema_decay


_WHOLE = "nothing, as pictures are restored whole, whatever their size"


class ValOptions(Options):
    """How validation and testing restore and show pictures."""

    hints = MappingProxyType(
        {
            **dict.fromkeys(("grids", "max_minibatch", "crop_size", "window_size"), _WHOLE),
            "rgb2bgr": "nothing, as metrics and files get the order that they expect",
            "use_image": "round_to_uint8, with the same value",
        }
    )

    val_freq: Positive | None = Field(None, description="iterations between validations; required in training")
    save_img: bool = Field(False, description="write every restored picture")
    suffix: NamePart | None = Field(
        None, description="end of the names of restored pictures; the run's name if left out"
    )
    metrics: dict[str, Component] | None = Field(
        None, description="metrics of sets that name neither protocol nor metrics: name to {type, arguments, better}"
    )
    pbar: bool = Field(True, description="show a progress bar on a terminal")
    grid_images: Annotated[int, Field(ge=0, le=1000)] = Field(
        4, description="rows of the before/after picture: the set's first; tests show the worst, the median, the best"
    )
    grid_names: list[str] = Field(
        [], description="show these pictures instead, by the names that images.csv has (of files, without suffix)"
    )
    round_to_uint8: bool | None = Field(
        None, description="score pictures rounded to 8 bits; left out: what each set's protocol says, else true"
    )
    local_pooling: LocalPoolingOptions | None = Field(None, description="pool locally (TLC), without retraining")
    engine: Literal["auto", "torch", "ncnn"] = Field(
        "auto",
        description="what runs the convolutions on a CPU, in fp32: ncnn is faster and as exact; auto: the faster",
    )
    tile: Annotated[int, Field(ge=64, le=65536, multiple_of=8)] | None = Field(
        None,
        description="restore in blended windows of this side, for whole pictures on small cards; differs a little from "
        "whole ones, as channel attention is global",
    )
    tile_overlap: Annotated[int, Field(ge=0, le=1024, multiple_of=8)] = Field(
        64, description="pixels that neighbouring windows share, at most half of a window"
    )
    early_stopping: EarlyStoppingOptions | None = Field(
        None, description="in training: end the run when validation no longer improves, with status 0"
    )
    self_ensemble: bool = Field(False, description="average eight flips and rotations: eight times the work")
