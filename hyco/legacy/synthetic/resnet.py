"""The residual network in legacy mode, layer for layer that of `phiml.nn.res_net`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hyco.legacy.synthetic.base import NetworkModel
from hyco.legacy.synthetic.layers import ACTIVATION, CONVOLUTION, convolution, normalisation
from hyco.migration.registry import register
from hyco.problem.architectures import layer_filters
from hyco.problem.grid import Grid


class ResidualBlock(nn.Module):
    """y = f(f(x)) + s(x):  f a convolution, optional normalisation, and an activation; s the identity.

    Where the number of channels changes, s is a convolution of 1 cell, normalised as f is.
    """

    def __init__(
        self, rank: int, inputs: int, outputs: int, batch_norm: bool, activation: str, periodic: bool
    ) -> None:
        super().__init__()
        same = inputs == outputs
        self.sample_input = nn.Identity() if same else CONVOLUTION[rank](inputs, outputs, kernel_size=1)
        self.bn_sample = normalisation(rank, outputs, batch_norm and not same)
        self.activation = ACTIVATION[activation]()
        self.bn1 = normalisation(rank, outputs, batch_norm)
        self.conv1 = convolution(rank, inputs, outputs, periodic)
        self.bn2 = normalisation(rank, outputs, batch_norm)
        self.conv2 = convolution(rank, outputs, outputs, periodic)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        change = self.activation(self.bn1(self.conv1(x)))
        change = self.activation(self.bn2(self.conv2(change)))
        return change + self.bn_sample(self.sample_input(x))


def residual_network(
    rank: int,
    inputs: int,
    outputs: int,
    filters: Sequence[int],
    batch_norm: bool,
    activation: str,
    periodic: bool,
) -> nn.Sequential:
    """One block per filter count, then a convolution of 1 cell; names as in `phiml.nn.res_net`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (before, after) in enumerate(pairwise((inputs, *filters))):
        block = ResidualBlock(rank, before, after, batch_norm, activation, periodic)
        layers[f"Res{i}" if i else "Res_in"] = block
    layers["Res_out"] = CONVOLUTION[rank](filters[-1], outputs, kernel_size=1)
    return nn.Sequential(layers)


@register("synthetic_model", "resnet", "legacy")
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
    ) -> nn.Module:
        """The network, its weights not yet drawn; raises ConfigError for another number of filters."""
        widths = layer_filters("resnet", layers, filters)
        return residual_network(grid.rank, inputs, outputs, widths, batch_norm, activation, periodic)
