"""The U-Net in legacy mode, layer for layer that of `phiml.nn.u_net`, and periodic where it is to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyco.legacy.synthetic.base import NetworkModel
from hyco.legacy.synthetic.layers import ACTIVATION, CONVOLUTION, convolution, normalisation
from hyco.migration.registry import register
from hyco.problem.architectures import unet_filters
from hyco.problem.grid import Grid

POOLING = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


class DoubleConv(nn.Module):
    """Twice a convolution of 3 cells, optional normalisation, and an activation (the second one a ReLU)."""

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        middle: int,
        batch_norm: bool,
        activation: str,
        periodic: bool,
    ) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            convolution(rank, inputs, middle, periodic),
            normalisation(rank, middle, batch_norm),
            ACTIVATION[activation](),
            convolution(rank, middle, outputs, periodic),
            normalisation(rank, outputs, batch_norm),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        return self.double_conv(x)


class Down(nn.Module):
    """Halve every axis by the maximum of 2 cells, then convolve."""

    def __init__(self, rank: int, inputs: int, outputs: int, *options: Any) -> None:
        super().__init__()
        self.maxpool = POOLING[rank](2)
        self.conv = DoubleConv(rank, inputs, outputs, outputs, *options)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *space) -> (batch, outputs, *space / 2)."""
        return self.conv(self.maxpool(x))


class Up(nn.Module):
    """Double every axis by linear interpolation, join the features of the way down, then convolve."""

    def __init__(
        self, rank: int, inputs: int, outputs: int, batch_norm: bool, activation: str, periodic: bool
    ):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode=INTERPOLATION[rank])
        self.conv = DoubleConv(rank, inputs, outputs, inputs // 2, batch_norm, activation, periodic)
        self.rank = rank
        self.periodic = periodic

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(batch, c, *space / 2), (batch, f, *space) -> (batch, outputs, *space)."""
        return self.conv(torch.cat([fine, self._upsample(coarse)], dim=1))

    def _upsample(self, coarse: Tensor) -> Tensor:
        if not self.periodic:
            return self.up(coarse)
        wide = self.up(functional.pad(coarse, (1, 1) * self.rank, mode="circular"))
        inner = (slice(2, -2),) * self.rank
        return wide[(slice(None), slice(None), *inner)]


class UNetwork(nn.Module):
    """Encoder and decoder of `levels` resolutions with skip connections; names as in `phiml.nn.u_net`."""

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        filters: Sequence[int],
        batch_norm: bool,
        activation: str,
        periodic: bool,
    ) -> None:
        super().__init__()
        self.levels = len(filters)
        options = (batch_norm, activation, periodic)
        self.inc = DoubleConv(rank, inputs, filters[0], filters[0], *options)
        for i in range(1, self.levels):
            self.add_module(f"down{i}", Down(rank, filters[i - 1], filters[i], *options))
            self.add_module(f"up{i}", Up(rank, filters[-i] + filters[-i - 1], filters[-i - 1], *options))
        self.outc = CONVOLUTION[rank](filters[0], outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        features = [self.inc(x)]
        for i in range(1, self.levels):
            features.append(self.get_submodule(f"down{i}")(features[-1]))
        x = features.pop()
        for i in range(1, self.levels):
            x = self.get_submodule(f"up{i}")(x, features.pop())
        return self.outc(x)


@register("synthetic_model", "unet", "legacy")
class UNet(NetworkModel):
    """U-Net surrogate in 1 to 3 dimensions.

    Architecture: `levels` resolutions (every axis must be divisible by 2^(levels-1)); `filters`, one number
    or one per level; `batch_norm`; `activation` (relu, tanh, silu, gelu, sigmoid) between the two
    convolutions of a level, a ReLU after them; `periodic` convolutions and upsampling, so that shifting the
    input by whole coarse cells shifts the output.  Source: Ronneberger, Fischer, Brox (2015).
    """

    name = "unet"

    @staticmethod
    def build(
        inputs: int,
        outputs: int,
        grid: Grid,
        *,
        levels: int = 3,
        filters: int | Sequence[int] = 16,
        batch_norm: bool = False,
        activation: str = "relu",
        periodic: bool = True,
    ) -> nn.Module:
        """The network with default (not yet drawn) weights; raises ConfigError for an indivisible grid."""
        per_level = unet_filters(grid, levels, filters)
        return UNetwork(grid.rank, inputs, outputs, per_level, batch_norm, activation, periodic)
