"""The U-Net in phiml mode: `phiml.nn.u_net`, made truly periodic where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from phiml import nn

from hyco.migration.registry import register
from hyco.phiml.synthetic.base import NetworkModel
from hyco.phiml.synthetic.layers import ACTIVATION
from hyco.problem.architectures import unet_filters
from hyco.problem.grid import Grid


@register("synthetic_model", "unet", "phiml")
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
    ) -> Any:
        """The network with default (not yet drawn) weights; raises ConfigError for an indivisible grid."""
        network = nn.u_net(
            inputs,
            outputs,
            levels=levels,
            filters=unet_filters(grid, levels, filters),
            batch_norm=batch_norm,
            activation=ACTIVATION[activation],
            in_spatial=grid.rank,
            periodic=False,
        )
        if periodic:
            _make_periodic(network)
        return network


def _make_periodic(network: Any) -> None:
    """Wrap every convolution and every upsampling of a zero-padded U-Net around the box.

    `phiml.nn.u_net(periodic=True)` of PhiML 1.16.1 swaps two arguments on the way down, so that those
    blocks become zero-padded residual blocks, and upsamples without wrapping; hence this.
    """
    from hyco.kernels.layers import doubled

    for module in network.modules():
        if getattr(module, "padding_mode", None) == "zeros":
            module.padding_mode = "circular"
        upsample = getattr(module, "_modules", {}).get("up")
        if upsample is not None:
            del module.up
            module.up = partial(doubled, upsample=upsample)
