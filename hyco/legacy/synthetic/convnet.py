"""The plain convolutional network in legacy mode, layer for layer that of `phiml.nn.conv_net`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from hyco.legacy.synthetic.base import NetworkModel
from hyco.legacy.synthetic.layers import ACTIVATION, CONVOLUTION, convolution, normalisation
from hyco.migration.registry import register
from hyco.problem.architectures import layer_filters
from hyco.problem.grid import Grid


def convolutional_network(
    rank: int,
    inputs: int,
    outputs: int,
    filters: Sequence[int],
    batch_norm: bool,
    activation: str,
    periodic: bool,
) -> nn.Sequential:
    """A convolution, optional normalisation and an activation per filter count, then a convolution of 1 cell.

    Names as in `phiml.nn.conv_net`.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (before, after) in enumerate(pairwise((inputs, *filters))):
        layers[f"Conv{i}" if i else "Conv_in"] = nn.Sequential(
            convolution(rank, before, after, periodic),
            normalisation(rank, after, batch_norm),
            ACTIVATION[activation](),
        )
    layers["Conv_out"] = CONVOLUTION[rank](filters[-1], outputs, kernel_size=1)
    return nn.Sequential(layers)


@register("synthetic_model", "convnet", "legacy")
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
    ) -> nn.Module:
        """The network, its weights not yet drawn; raises ConfigError for another number of filters."""
        widths = layer_filters("convnet", layers, filters)
        return convolutional_network(grid.rank, inputs, outputs, widths, batch_norm, activation, periodic)
