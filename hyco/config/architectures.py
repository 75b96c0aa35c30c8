"""The architectures of surrogates: one block of keys each, chosen by `model.synthetic.name`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from hyco.config.section import Count, Section
from hyco.problem.architectures import layer_filters, unet_filters
from hyco.problem.fourier import fno_modes
from hyco.problem.grid import Grid


def _filter_counts(value: Any) -> Any:
    counts = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not counts or any(type(count) is not int or count < 1 for count in counts):
        raise PydanticCustomError("filters_type", "a whole number from 1, or a list of them")
    return counts if isinstance(value, (list, tuple)) else value


Activation = Literal["relu", "tanh", "silu", "gelu", "sigmoid"]
Filters = Annotated[int | tuple[int, ...], BeforeValidator(_filter_counts)]


class Architecture(Section):
    """What the blocks of all architectures have in common: they know which grids they fit."""

    @abstractmethod
    def check_grid(self, grid: Grid) -> None:
        """Raises ConfigError, without a path, when such a network cannot be built for this grid."""


class UNet(Architecture):
    """`levels` resolutions; `filters` is one width for all levels, or a list of one width per level."""

    levels: Annotated[int, Field(ge=1, le=16)] = 3
    filters: Filters = 16
    batch_norm: bool = False
    activation: Activation = "relu"
    periodic: bool = True

    def check_grid(self, grid: Grid) -> None:
        unet_filters(grid, self.levels, self.filters)


class ResNet(Architecture):
    """`layers` residual blocks of two convolutions; `filters` is one width, or a list of one per block."""

    layers: Count = 3
    filters: Filters = 16
    batch_norm: bool = False
    activation: Activation = "relu"
    periodic: bool = True

    def check_grid(self, grid: Grid) -> None:
        layer_filters("resnet", self.layers, self.filters)


class ConvNet(Architecture):
    """`layers` convolutions, one after the other; `filters` is one width, or a list of one per layer."""

    layers: Count = 3
    filters: Filters = 16
    batch_norm: bool = False
    activation: Activation = "relu"
    periodic: bool = True

    def check_grid(self, grid: Grid) -> None:
        layer_filters("convnet", self.layers, self.filters)


class FNO(Architecture):
    """`layers` Fourier layers of `filters` channels; `modes` waves per axis: one number, or one per axis."""

    layers: Count = 4
    filters: Count = 16
    modes: Filters = 12
    batch_norm: bool = False
    activation: Activation = "gelu"
    periodic: bool = True

    def check_grid(self, grid: Grid) -> None:
        fno_modes(grid, self.modes)


ARCHITECTURES: Mapping[str, type[Architecture]] = {
    "unet": UNet,
    "resnet": ResNet,
    "convnet": ConvNet,
    "fno": FNO,
}
