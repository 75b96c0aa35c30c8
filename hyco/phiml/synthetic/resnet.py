"""The residual network in phiml mode: `phiml.nn.res_net`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phiml import nn

from hyco.migration.registry import register
from hyco.phiml.synthetic.base import NetworkModel
from hyco.phiml.synthetic.layers import ACTIVATION
from hyco.problem.architectures import layer_filters
from hyco.problem.grid import Grid


@register("synthetic_model", "resnet", "phiml")
class ResNet(NetworkModel):
    """Residual network of full resolution in 1 to 3 dimensions.

    Architecture: `layers` blocks of two convolutions and a skip connection; `filters`, one number or one per
    block; `batch_norm`; `activation` (relu, tanh, silu, gelu, sigmoid) after every convolution of a block;
    `periodic` convolutions, so that shifting the input by whole cells shifts the output.  A cell sees
    2 `layers` cells in each direction.  Source: He, Zhang, Ren, Sun (2016).
    """

    name = "resnet"

    @staticmethod
    def build(
        inputs: int,
        outputs: int,
        grid: Grid,
        *,
        layers: int = 3,
        filters: int | Sequence[int] = 16,
        batch_norm: bool = False,
        activation: str = "relu",
        periodic: bool = True,
    ) -> Any:
        """The network, its weights not yet drawn; raises ConfigError for another number of filters."""
        return nn.res_net(
            inputs,
            outputs,
            list(layer_filters("resnet", layers, filters)),
            batch_norm=batch_norm,
            activation=ACTIVATION[activation],
            in_spatial=grid.rank,
            periodic=periodic,
        )
