"""MPRNet: Multi-Stage Progressive Image Restoration (Zamir et al., CVPR 2021, arXiv 2102.02808).

Written from the paper. Parameter names and shapes are those of the published checkpoints; the forward pass
computes the same function on a cheaper schedule:

* the patches of a stage are one batch, so each layer runs once a stage instead of once a patch;
* a 1x1 convolution commutes with bilinear upsampling (whose weights sum to one), so it runs at the low resolution, and
  features that are added afterwards are added before a single upsampling;
* bilinear downsampling by two is the mean of 2x2 pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mprnet_plugin.archs.blocks import (
    ORB,
    SAM,
    BlockFactory,
    Conv,
    DownSample,
    Pyramid,
    UpSample,
    add_to,
    conv,
    join,
    join_pyramid,
    split,
    upsample,
)
from mprnet_plugin.archs.config import DEFAULTS, MPRNetConfig
from mprnet_plugin.archs.pretrained import Pretrained
from mprnet_plugin.errors import InputError

__all__ = ["SIZE_MULTIPLE", "STAGES", "Decoder", "Encoder", "MPRNet", "ORSNet"]

STAGES = 3
SIZE_MULTIPLE = 8
"""Height and width must be multiples of this: halved once into patches and twice inside the U-Nets."""


class Encoder(nn.Module):
    """Down-going half of a stage's U-Net; with ``csff`` it also takes the previous stage's features."""

    def __init__(self, n_feat: int, scale: int, blocks: BlockFactory, csff: bool) -> None:
        super().__init__()
        widths = [n_feat, n_feat + scale, n_feat + 2 * scale]
        self.encoder_level1 = blocks.cabs(widths[0])
        self.encoder_level2 = blocks.cabs(widths[1])
        self.encoder_level3 = blocks.cabs(widths[2])
        self.down12 = DownSample(widths[0], widths[1])
        self.down23 = DownSample(widths[1], widths[2])
        if csff:
            for level, width in enumerate(widths, 1):
                self.add_module(f"csff_enc{level}", conv(width, width, 1, blocks.bias))
                self.add_module(f"csff_dec{level}", conv(width, width, 1, blocks.bias))

    def _fuse(self, level: int, x: Tensor, previous: tuple[Pyramid, Pyramid] | None) -> Tensor:
        """Add the previous stage's encoder and decoder features (cross-stage feature fusion)."""
        if previous is None:
            return x
        encoded, decoded = previous[0][level - 1], previous[1][level - 1]
        x = add_to(self.get_submodule(f"csff_enc{level}")(encoded), x)
        return add_to(self.get_submodule(f"csff_dec{level}")(decoded), x)

    def forward(self, x: Tensor, previous: tuple[Pyramid, Pyramid] | None = None) -> Pyramid:
        """Encode (N, n_feat, H, W); ``previous`` is the (encoder, decoder) features of the stage before."""
        level1 = self._fuse(1, self.encoder_level1(x), previous)
        level2 = self._fuse(2, self.encoder_level2(self.down12(level1)), previous)
        level3 = self._fuse(3, self.encoder_level3(self.down23(level2)), previous)
        return Pyramid(level1, level2, level3)


class Decoder(nn.Module):
    """Up-going half of a stage's U-Net, with a channel attention block on each skip connection."""

    def __init__(self, n_feat: int, scale: int, blocks: BlockFactory) -> None:
        super().__init__()
        widths = [n_feat, n_feat + scale, n_feat + 2 * scale]
        self.decoder_level1 = blocks.cabs(widths[0])
        self.decoder_level2 = blocks.cabs(widths[1])
        self.decoder_level3 = blocks.cabs(widths[2])
        self.skip_attn1 = blocks.cab(widths[0])
        self.skip_attn2 = blocks.cab(widths[1])
        self.up21 = UpSample(widths[1], widths[0])
        self.up32 = UpSample(widths[2], widths[1])

    def forward(self, features: Pyramid) -> Pyramid:
        """Decode an encoder's features into features of the same shapes."""
        level3 = self.decoder_level3(features.level3)
        level2 = self.decoder_level2(add_to(self.up32(level3), self.skip_attn2(features.level2)))
        level1 = self.decoder_level1(add_to(self.up21(level2), self.skip_attn1(features.level1)))
        return Pyramid(level1, level2, level3)


class ORSNet(nn.Module):
    """Stage 3: full resolution throughout, fed by stage 2's features of every level."""

    def __init__(self, n_feat: int, scale_orsnet: int, scale_unet: int, num_cab: int, blocks: BlockFactory) -> None:
        super().__init__()
        width = n_feat + scale_orsnet
        self.orb1 = ORB(width, num_cab, blocks)
        self.orb2 = ORB(width, num_cab, blocks)
        self.orb3 = ORB(width, num_cab, blocks)
        self.up_enc1 = UpSample(n_feat + scale_unet, n_feat)
        self.up_dec1 = UpSample(n_feat + scale_unet, n_feat)
        self.up_enc2 = self._two_steps(n_feat, scale_unet)
        self.up_dec2 = self._two_steps(n_feat, scale_unet)
        self.conv_enc1 = conv(n_feat, width, 1, blocks.bias)
        self.conv_enc2 = conv(n_feat, width, 1, blocks.bias)
        self.conv_enc3 = conv(n_feat, width, 1, blocks.bias)
        self.conv_dec1 = conv(n_feat, width, 1, blocks.bias)
        self.conv_dec2 = conv(n_feat, width, 1, blocks.bias)
        self.conv_dec3 = conv(n_feat, width, 1, blocks.bias)

    @staticmethod
    def _two_steps(n_feat: int, scale: int) -> nn.Sequential:
        return nn.Sequential(UpSample(n_feat + 2 * scale, n_feat + scale), UpSample(n_feat + scale, n_feat))

    @staticmethod
    def _project(x: Tensor, steps: nn.Module, last: Conv) -> Tensor:
        """Apply every projection on the way up at the resolution of ``x``; the caller upsamples."""
        for step in steps.modules():
            if isinstance(step, UpSample):
                x = step.project(x)
        result: Tensor = last(x)
        return result

    def project(self, encoded: Pyramid, decoded: Pyramid) -> Pyramid:
        """Map stage 2's features to the width of this stage; they are not needed any more then."""
        level3 = self._project(encoded.level3, self.up_enc2, self.conv_enc3)
        level3 = add_to(level3, self._project(decoded.level3, self.up_dec2, self.conv_dec3))
        level2 = self._project(encoded.level2, self.up_enc1, self.conv_enc2)
        level2 = add_to(level2, self._project(decoded.level2, self.up_dec1, self.conv_dec2))
        level1 = add_to(self.conv_enc1(encoded.level1), self.conv_dec1(decoded.level1))
        return Pyramid(level1, level2, level3)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map (N, n_feat + scale_orsnet, H, W) and the three maps of :meth:`project`, in a list, to the first's shape.

        The list is emptied: each map, which are the network's largest, goes as soon as it has served.
        """
        x = maps.pop(0)
        x = add_to(self.orb1(x), maps.pop(0))
        x = add_to(self.orb2(x), upsample(maps.pop(0)))
        return add_to(self.orb3(x), upsample(upsample(maps.pop(0))))


class MPRNet(Pretrained, nn.Module):
    """Multi-stage progressive restoration network.

    Args:
        in_c: Channels of the degraded image.
        out_c: Channels of the restored images. Their residual is the input's first ``out_c`` channels, or its only
            channel for each.
        n_feat: Width at full resolution of stages 1 and 2.
        scale_unetfeats: What each U-Net level adds to the width.
        scale_orsnetfeats: What stage 3 adds to the width.
        num_cab: Channel attention blocks in each of stage 3's three blocks.
        kernel_size: Odd side of the blocks' convolutions.
        reduction: Divisor of the width inside channel attention.
        bias: Whether convolutions have a bias, where the published layout allows one.

    Attributes:
        config: All of this as one object.

    Raises:
        InputError: A value that cannot be built; the message names it.
    """

    def __init__(
        self,
        in_c: int = DEFAULTS.in_c,
        out_c: int = DEFAULTS.out_c,
        n_feat: int = DEFAULTS.n_feat,
        scale_unetfeats: int = DEFAULTS.scale_unetfeats,
        scale_orsnetfeats: int = DEFAULTS.scale_orsnetfeats,
        num_cab: int = DEFAULTS.num_cab,
        kernel_size: int = DEFAULTS.kernel_size,
        reduction: int = DEFAULTS.reduction,
        bias: bool = DEFAULTS.bias,
    ) -> None:
        super().__init__()
        self.config = MPRNetConfig.read(
            {
                "in_c": in_c,
                "out_c": out_c,
                "n_feat": n_feat,
                "scale_unetfeats": scale_unetfeats,
                "scale_orsnetfeats": scale_orsnetfeats,
                "num_cab": num_cab,
                "kernel_size": kernel_size,
                "reduction": reduction,
                "bias": bias,
            }
        )
        width = self.config.width
        blocks = BlockFactory(kernel_size, reduction, bias, nn.PReLU())

        def shallow() -> nn.Sequential:
            return nn.Sequential(conv(in_c, n_feat, kernel_size, bias), blocks.cab(n_feat))

        self.shallow_feat1 = shallow()
        self.shallow_feat2 = shallow()
        self.shallow_feat3 = shallow()
        self.stage1_encoder = Encoder(n_feat, scale_unetfeats, blocks, csff=False)
        self.stage1_decoder = Decoder(n_feat, scale_unetfeats, blocks)
        self.stage2_encoder = Encoder(n_feat, scale_unetfeats, blocks, csff=True)
        self.stage2_decoder = Decoder(n_feat, scale_unetfeats, blocks)
        self.stage3_orsnet = ORSNet(n_feat, scale_orsnetfeats, scale_unetfeats, num_cab, blocks)
        self.sam12 = SAM(n_feat, out_c, bias)
        self.sam23 = SAM(n_feat, out_c, bias)
        self.concat12 = conv(2 * n_feat, n_feat, kernel_size, bias)
        self.concat23 = conv(2 * n_feat, width, kernel_size, bias)
        self.tail = conv(width, out_c, kernel_size, bias)

    @classmethod
    def from_config(cls, config: MPRNetConfig) -> Self:
        """Build the network that a configuration describes."""
        return cls(**config.model_dump())

    @property
    def in_c(self) -> int:
        """Channels of the degraded image."""
        return self.config.in_c

    @property
    def out_c(self) -> int:
        """Channels of the restored images."""
        return self.config.out_c

    @property
    def width(self) -> int:
        """Channels of the widest map at full resolution, which decides the memory that an image takes."""
        return self.config.width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Restore a batch.

        Args:
            x: Degraded images, (N, in_c, H, W), H and W multiples of 8, usually in [0, 1].

        Returns:
            ``[stage3, stage2, stage1]``, each (N, out_c, H, W), not clamped. The first is the result; all three are
            supervised in training.

        Raises:
            InputError: H or W is not a multiple of 8; pad first (the predictor and the host model do).
        """
        height, width = x.shape[-2:]
        if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
            raise InputError(f"height {height} and width {width} must be multiples of {SIZE_MULTIPLE}: pad the image")
        image = x[:, : self.out_c]
        halves = split(x, 2)  # top, bottom
        quarters = split(halves, 3)  # left, right of each

        # Stage 1: encoded as quarters, decoded as halves.
        encoded = join_pyramid(self.stage1_encoder(self.shallow_feat1(quarters)), 3)
        decoded = self.stage1_decoder(encoded)
        features, stage1 = self.sam12(decoded.level1, halves[:, : self.out_c])

        # Stage 2: encoded as halves, decoded whole. What is done with goes at once: these are the largest maps.
        features = torch.cat([self.shallow_feat2(halves), features], 1)
        features = self.concat12(features)
        encoded = join_pyramid(self.stage2_encoder(features, (encoded, decoded)), 2)
        del decoded, features
        decoded = self.stage2_decoder(encoded)
        features, stage2 = self.sam23(decoded.level1, image)
        projected = self.stage3_orsnet.project(encoded, decoded)
        del encoded, decoded

        # Stage 3: whole, at full resolution.
        features = torch.cat([self.shallow_feat3(x), features], 1)
        maps = [self.concat23(features), *projected]
        del features, projected
        return [self.tail(self.stage3_orsnet(maps)) + image, stage2, join(stage1, 2)]
