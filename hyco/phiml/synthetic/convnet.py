"""The plain convolutional network in phiml mode: `phiml.nn.conv_net`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phiml import nn

from hyco.migration.registry import register
from hyco.phiml.synthetic.base import NetworkModel
from hyco.phiml.synthetic.layers import ACTIVATION
from hyco.problem.architectures import layer_filters
from hyco.problem.grid import Grid


@register("synthetic_model", "convnet", "phiml")
class ConvNet(NetworkModel):
    """Plain convolutional network of full resolution in 1 to 3 dimensions.

    Architecture: `layers` convolutions of 3 cells; `filters`, one number or one per layer; `batch_norm`;
    `activation` (relu, tanh, silu, gelu, sigmoid) after every layer; `periodic` convolutions, so that
    shifting the input by whole cells shifts the output.  A cell sees `layers` cells in each direction.
    Source: LeCun, Bottou, Bengio, Haffner (1998).
    """

    name = "convnet"

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
        return nn.conv_net(
            inputs,
            outputs,
            list(layer_filters("convnet", layers, filters)),
            batch_norm=batch_norm,
            activation=ACTIVATION[activation],
            in_spatial=grid.rank,
            periodic=periodic,
        )
