"""What an MPRNet is made of: one typed configuration, every default once, and the paper's three as presets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from mprnet_plugin.tasks import TASKS, Widths
from mprnet_plugin.typed_options import Options

__all__ = ["DEFAULTS", "PRESETS", "WIDEST", "MPRNetConfig"]

WIDEST = 4096
"""No width beyond this is taken for meant: a network of it would need terabytes."""
Width = Annotated[int, Field(ge=1, le=WIDEST)]
Step = Annotated[int, Field(ge=0, le=WIDEST)]


class MPRNetConfig(Options):
    """The keyword arguments of :class:`~mprnet_plugin.archs.mprnet_arch.MPRNet`, checked.

    Raises:
        InputError: (from ``read``) a value of another type or out of range, or a combination that cannot be built.
    """

    in_c: Width = Field(3, description="channels of the degraded image")
    out_c: Width = Field(
        3,
        description="channels of the restored images; their residual is the input's first out_c channels, or its only "
        "one for each",
    )
    n_feat: Width = Field(96, description="width at full resolution of stages 1 and 2")
    scale_unetfeats: Step = Field(48, description="what each U-Net level adds to the width")
    scale_orsnetfeats: Step = Field(32, description="what stage 3 adds to the width")
    num_cab: Annotated[int, Field(ge=1, le=256)] = Field(
        8, description="channel attention blocks in each of stage 3's three blocks"
    )
    kernel_size: Annotated[int, Field(ge=1, le=31)] = Field(3, description="odd side of the convolutions")
    reduction: Width = Field(4, description="divisor of the width inside channel attention")
    bias: bool = Field(False, description="whether convolutions have a bias, where the published layout allows one")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.in_c < self.out_c and self.in_c != 1:
            raise ValueError(
                f"in_c={self.in_c} must be 1 or at least out_c={self.out_c}: the output's residual is the input"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={self.kernel_size} must be odd, so that sizes are kept")
        if self.reduction > self.n_feat:
            raise ValueError(f"reduction={self.reduction} must be between 1 and n_feat={self.n_feat}")
        return self

    @property
    def width(self) -> int:
        """Width of stage 3, the widest map at full resolution."""
        return self.n_feat + self.scale_orsnetfeats

    @property
    def preset(self) -> str | None:
        """The name in :data:`PRESETS` of the network that this is, or None."""
        return next((name for name, widths in PRESETS.items() if MPRNetConfig(**widths) == self), None)

    @property
    def task(self) -> str | None:
        """The task that the authors trained this network for, or None."""
        return None if self.preset is None else self.preset.removesuffix(LIGHT)

    def describe(self) -> str:
        """Return this in words, such as ``Deraining (n_feat=40, scale_unetfeats=20, scale_orsnetfeats=16)``."""
        return f"{self.preset or 'custom'} ({self.differences()})"

    def differences(self) -> str:
        """Return the three widths, and what else is not MPRNet's default, as text."""
        values = self.model_dump()
        shown = (name for name in values if name in Widths.__annotations__ or values[name] != getattr(DEFAULTS, name))
        return ", ".join(f"{name}={values[name]}" for name in shown)


DEFAULTS = MPRNetConfig()

LIGHT = "-light"
PRESETS: Mapping[str, Widths] = MappingProxyType(
    {
        **{name: task.widths for name, task in TASKS.items()},
        **{f"{name}{LIGHT}": task.light for name, task in TASKS.items() if task.light is not None},
    }
)
"""Task to widths, for 20,127,073, 15,741,025 and 3,637,249 parameters; keyword arguments for MPRNet.
``Deblurring-light`` is the authors' smaller network, 6,376,449 parameters."""
