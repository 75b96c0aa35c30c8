"""The Fourier neural operator in phiml mode, of PhiML's layers and its backend's transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phiml import nn
from phiml.backend import choose_backend, default_backend

from hyco.migration.registry import register
from hyco.phiml.synthetic.base import NetworkModel
from hyco.phiml.synthetic.layers import ACTIVATION
from hyco.problem.fourier import Spectrum, fno_coordinates, fno_modes, fno_padding
from hyco.problem.grid import Grid


def spectral_convolution(channels: int, spectrum: Spectrum, example: Any) -> Any:
    """A linear map between the channels of every kept wave; all other waves are dropped.

        v_o(x) = Re  1/N  sum_k  c_k  sum_i  R_iok u^_i(k)  exp(2 pi i k . x / n),      u^ = DFT of u

    u, v: channels on n cells per axis, N in all; k, c_k: see `hyco.problem.fourier.Spectrum`; R: the
    `weight` (inputs, outputs, *waves, 2), whose last dim holds real and imaginary parts.  The transforms
    are products with real matrices, which yield the few kept waves alone: traces differentiate products
    of complex numbers wrongly, without the conjugate.

    Args:
        example: a parameter, whose class, type and device are those of the weight.
    """
    space = "xyz"[: len(spectrum.cells)]

    def forward(x: Any) -> Any:
        backend = choose_backend(x)
        waves = x[..., None]
        for i, axis in reversed(list(enumerate(space))):
            waves = _along(axis, space, waves, getattr(module, f"analysis{i}"))
        real, imaginary = module.weight[..., 0], module.weight[..., 1]
        rows = [backend.stack([real, imaginary], -1), backend.stack([-imaginary, real], -1)]
        waves = backend.einsum(f"bi{space}p,io{space}pq->bo{space}q", waves, backend.stack(rows, -2))
        for i, axis in enumerate(space):
            waves = _along(axis, space, waves, getattr(module, f"synthesis{i}"))
        return waves[..., 0]

    weight = type(example)(example.new_zeros((channels, channels, *spectrum.shape, 2)))
    module = default_backend().module({"weight": weight}, forward)
    for i in range(len(space)):
        for name, matrix in (("analysis", spectrum.analysis(i)), ("synthesis", spectrum.synthesis(i))):
            module.register_buffer(f"{name}{i}", example.double().new_tensor(matrix), persistent=False)
    return module


def _along(axis: str, space: str, values: Any, matrix: Any) -> Any:
    """Values (batch, channels, *space, pair), multiplied along an axis by (axis, pair, new axis, pair)."""
    equation = f"bc{space}p,{axis}pkq->bc{space.replace(axis, 'k')}q"
    return choose_backend(values).einsum(equation, values, matrix)


def fourier_operator(
    grid: Grid,
    inputs: int,
    outputs: int,
    width: int,
    layers: int,
    modes: Sequence[int],
    batch_norm: bool,
    activation: str,
    periodic: bool,
) -> Any:
    """Lift to `width` channels, Fourier layers, project; a box that is not periodic has zeros behind it."""

    def part(before: int, after: int) -> Any:
        """The network whose parts are the layers: a convolution of 3 cells that is not used, and one of 1."""
        options = {"batch_norm": batch_norm, "activation": ACTIVATION[activation], "in_spatial": grid.rank}
        return nn.conv_net(before, after, [before], **options)

    def forward(x: Any) -> Any:
        backend = choose_backend(x)
        if not periodic:
            where = network.coordinates.expand(x.shape[0], *network.coordinates.shape)
            x = backend.concat([x, where], 1)
        x = backend.pad(network.lift(x), beyond, mode="constant")
        for i in range(layers):
            x = parts[f"spectral{i}"](x) + parts[f"pointwise{i}"](x)
            x = parts[f"norm{i}"](x)
            if i < layers - 1:
                x = activate(x)
        x = x[(slice(None), slice(None), *inside)]
        return network.project(activate(network.hidden(x)))

    padding = fno_padding(grid, periodic)
    cells = tuple(n + p for n, p in zip(grid.resolution, padding, strict=True))
    beyond = [(0, 0), (0, 0), *((0, p) for p in padding)]
    inside = tuple(slice(n) for n in grid.resolution)
    parts = {"lift": part(inputs if periodic else inputs + grid.rank, width).Conv_out}
    example = parts["lift"].weight
    for i in range(layers):
        layer = part(width, width)
        parts[f"spectral{i}"] = spectral_convolution(width, Spectrum(cells, tuple(modes)), example)
        parts[f"pointwise{i}"] = layer.Conv_out
        _, parts[f"norm{i}"], activate = layer.Conv_in
    parts["hidden"] = part(width, 2 * width).Conv_out
    parts["project"] = part(2 * width, outputs).Conv_out
    network = default_backend().module({}, forward)
    network.register_buffer(
        "coordinates", example.double().new_tensor(fno_coordinates(grid)), persistent=False
    )
    for name, module in parts.items():
        network.add_module(name, module)
    return network


@register("synthetic_model", "fno", "phiml")
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
    ) -> Any:
        """The network, its weights not yet drawn; raises ConfigError for more modes than an axis has."""
        kept = fno_modes(grid, modes)
        return fourier_operator(
            grid, inputs, outputs, filters, layers, kept, batch_norm, activation, periodic
        )
