"""The Fourier neural operator in legacy mode."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyco.legacy.synthetic.base import NetworkModel
from hyco.legacy.synthetic.layers import ACTIVATION, CONVOLUTION, normalisation
from hyco.migration.registry import register
from hyco.problem.fourier import Spectrum, fno_coordinates, fno_modes, fno_padding
from hyco.problem.grid import Grid


class SpectralConvolution(nn.Module):
    """A linear map between the channels of every kept wave; all other waves are dropped.

        v_o(x) = Re  1/N  sum_k  c_k  sum_i  R_iok u^_i(k)  exp(2 pi i k . x / n),      u^ = DFT of u

    u, v: channels on n cells per axis, N in all; k, c_k: see `hyco.problem.fourier.Spectrum`; R: the
    `weight` (inputs, outputs, *waves, 2), whose last dim holds real and imaginary parts.
    """

    copies: Tensor

    def __init__(self, channels: int, spectrum: Spectrum) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.weight = nn.Parameter(torch.zeros(channels, channels, *spectrum.shape, 2))
        self.register_buffer("copies", torch.from_numpy(spectrum.copies), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *space) -> (batch, channels, *space)."""
        waves = x
        for axis in reversed(range(2, x.ndim)):
            waves = _low(torch.fft.fft(waves, dim=axis), axis, self.spectrum)
        weight = torch.view_as_complex(self.weight)
        waves = torch.einsum("bi...,io...->bo...", waves, weight) * self.copies
        for axis in range(2, x.ndim):
            waves = torch.fft.ifft(_spread(waves, axis, self.spectrum), dim=axis)
        return waves.real


def _low(waves: Tensor, axis: int, kept: Spectrum) -> Tensor:
    """The kept waves of all waves along an axis."""
    positive, negative = kept.modes[axis - 2], kept.negative[axis - 2]
    start = kept.cells[axis - 2] - negative
    return torch.cat([waves.narrow(axis, 0, positive), waves.narrow(axis, start, negative)], dim=axis)


def _spread(waves: Tensor, axis: int, kept: Spectrum) -> Tensor:
    """All waves along an axis, those that were not kept being zero."""
    positive, negative = kept.modes[axis - 2], kept.negative[axis - 2]
    shape = list(waves.shape)
    shape[axis] = kept.cells[axis - 2] - positive - negative
    parts = [waves.narrow(axis, 0, positive), waves.new_zeros(shape), waves.narrow(axis, positive, negative)]
    return torch.cat(parts, dim=axis)


class FourierOperator(nn.Module):
    """Lift to `width` channels, Fourier layers, project; a box that is not periodic has zeros behind it."""

    coordinates: Tensor

    def __init__(
        self,
        grid: Grid,
        inputs: int,
        outputs: int,
        width: int,
        layers: int,
        modes: Sequence[int],
        batch_norm: bool,
        activation: str,
        periodic: bool,
    ) -> None:
        super().__init__()
        pointwise = CONVOLUTION[grid.rank]
        padding = fno_padding(grid, periodic)
        cells = tuple(n + p for n, p in zip(grid.resolution, padding, strict=True))
        self.layers = layers
        self.periodic = periodic
        self.padding = [width for p in reversed(padding) for width in (0, p)]
        self.inside = tuple(slice(n) for n in grid.resolution)
        self.activation = ACTIVATION[activation]()
        self.register_buffer("coordinates", torch.from_numpy(fno_coordinates(grid)), persistent=False)
        self.lift = pointwise(inputs if periodic else inputs + grid.rank, width, kernel_size=1)
        for i in range(layers):
            self.add_module(f"spectral{i}", SpectralConvolution(width, Spectrum(cells, tuple(modes))))
            self.add_module(f"pointwise{i}", pointwise(width, width, kernel_size=1))
            self.add_module(f"norm{i}", normalisation(grid.rank, width, batch_norm))
        self.hidden = pointwise(width, 2 * width, kernel_size=1)
        self.project = pointwise(2 * width, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        if not self.periodic:
            where = self.coordinates.expand(x.shape[0], *self.coordinates.shape)
            x = torch.cat([x, where], dim=1)
        x = functional.pad(self.lift(x), self.padding)
        for i in range(self.layers):
            x = self.get_submodule(f"spectral{i}")(x) + self.get_submodule(f"pointwise{i}")(x)
            x = self.get_submodule(f"norm{i}")(x)
            if i < self.layers - 1:
                x = self.activation(x)
        x = x[(slice(None), slice(None), *self.inside)]
        return self.project(self.activation(self.hidden(x)))


@register("synthetic_model", "fno", "legacy")
class FNO(NetworkModel):
    """Fourier neural operator in 1 to 3 dimensions.

    Architecture: `layers` Fourier layers; `filters`, their number of channels; `modes`, one number or one
    per axis: the waves |k| < modes that a layer sees, at most half the cells of the axis and one;
    `batch_norm` after each layer; `activation` (relu, tanh, silu, gelu, sigmoid) between the layers and in
    the projection, whose hidden layer has twice the channels.  With `periodic`, shifting the input by whole
    cells shifts the output.  Without, the network sees the coordinates too, and the layers compute on a box
    that is longer by an eighth (rounded up to whole cells) along each axis, zeros behind its end.
    Source: Li et al. (2021), "Fourier neural operator for parametric partial differential equations".
    """

    name = "fno"

    @staticmethod
    def build(
        inputs: int,
        outputs: int,
        grid: Grid,
        *,
        layers: int = 4,
        filters: int = 16,
        modes: int | Sequence[int] = 12,
        batch_norm: bool = False,
        activation: str = "gelu",
        periodic: bool = True,
    ) -> nn.Module:
        """The network, its weights not yet drawn; raises ConfigError for more modes than an axis has."""
        kept = fno_modes(grid, modes)
        return FourierOperator(grid, inputs, outputs, filters, layers, kept, batch_norm, activation, periodic)
