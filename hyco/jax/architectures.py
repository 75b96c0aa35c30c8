"""The networks of the surrogates: layer for layer, and name for name, those that PhiML makes in PyTorch.

PhiML's own JAX networks are not used: of version 1.16.1 `conv_net` raises with two layers, and `res_net` has
another number of weights than in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from hyco.jax.layers import (
    ACTIVATION,
    Activation,
    Array,
    Call,
    Convolution,
    Normalisation,
    Nothing,
    Parts,
    doubled,
    halved,
    normalisation,
    sequence,
)
from hyco.problem.architectures import layer_filters, unet_filters
from hyco.problem.fourier import Spectrum, fno_coordinates, fno_modes, fno_padding
from hyco.problem.grid import Grid


class DoubleConv(eqx.Module):
    """Twice a convolution of 3 cells, optional normalisation, and an activation (the second one a ReLU)."""

    double_conv: tuple[Any, ...]

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        middle: int,
        batch_norm: bool,
        activation: str,
        periodic: bool,
        name: str,
    ) -> None:
        self.double_conv = (
            Convolution(rank, inputs, middle, periodic=periodic),
            normalisation(middle, batch_norm, f"{name}.double_conv.1"),
            Activation(activation),
            Convolution(rank, middle, outputs, periodic=periodic),
            normalisation(outputs, batch_norm, f"{name}.double_conv.4"),
            Activation("relu"),
        )

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        return sequence(self.double_conv, x, call)


class Level(eqx.Module):
    """The convolutions of one resolution, on the way down or up."""

    conv: DoubleConv


class UNetwork(eqx.Module):
    """Encoder and decoder of several resolutions with skip connections."""

    parts: Parts
    levels: int = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        features = [self.parts["inc"](x, call)]
        for i in range(1, self.levels):
            features.append(self.parts[f"down{i}"].conv(halved(features[-1]), call))
        x = features.pop()
        for i in range(1, self.levels):
            joined = jnp.concatenate([features.pop(), doubled(x, self.periodic)], axis=1)
            x = self.parts[f"up{i}"].conv(joined, call)
        return self.parts["outc"](x, call)


class ResidualBlock(eqx.Module):
    """y = f(f(x)) + s(x):  f a convolution, optional normalisation, and an activation; s the identity.

    Where the number of channels changes, s is a convolution of 1 cell, normalised as f is.
    """

    sample_input: Convolution | Nothing
    bn_sample: Normalisation | Nothing
    bn1: Normalisation | Nothing
    conv1: Convolution
    bn2: Normalisation | Nothing
    conv2: Convolution
    activation: Activation

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        batch_norm: bool,
        activation: str,
        periodic: bool,
        name: str,
    ) -> None:
        same = inputs == outputs
        self.sample_input = Nothing() if same else Convolution(rank, inputs, outputs, cells=1)
        self.bn_sample = normalisation(outputs, batch_norm and not same, f"{name}.bn_sample")
        self.bn1 = normalisation(outputs, batch_norm, f"{name}.bn1")
        self.conv1 = Convolution(rank, inputs, outputs, periodic=periodic)
        self.bn2 = normalisation(outputs, batch_norm, f"{name}.bn2")
        self.conv2 = Convolution(rank, outputs, outputs, periodic=periodic)
        self.activation = Activation(activation)

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        first = self.conv1, self.bn1, self.activation
        second = self.conv2, self.bn2, self.activation
        change = sequence((*first, *second), x, call)
        return change + sequence((self.sample_input, self.bn_sample), x, call)


class Chain(eqx.Module):
    """Layers one after the other."""

    parts: Parts

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        return sequence(self.parts.layers, x, call)


class SpectralConvolution(eqx.Module):
    """A linear map between the channels of every kept wave; all other waves are dropped.

        v_o(x) = Re  1/N  sum_k  c_k  sum_i  R_iok u^_i(k)  exp(2 pi i k . x / n),      u^ = DFT of u

    u, v: channels on n cells per axis, N in all; k, c_k: see `hyco.problem.fourier.Spectrum`; R: the
    `weight` (inputs, outputs, *waves, 2), whose last dim holds real and imaginary parts.  The transforms
    are products with matrices, which yield the few kept waves alone.
    """

    weight: Array
    spectrum: Spectrum = eqx.field(static=True)

    def __init__(self, channels: int, spectrum: Spectrum) -> None:
        self.weight = jnp.zeros((channels, channels, *spectrum.shape, 2))
        self.spectrum = spectrum

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, channels, *space) -> the same."""
        space = "xyz"[: x.ndim - 2]
        waves = x[..., None]
        for i, axis in reversed(list(enumerate(space))):
            waves = _along(axis, space, waves, self.spectrum.analysis(i))
        real, imaginary = self.weight[..., 0], self.weight[..., 1]
        rows = jnp.stack([real, imaginary], -1), jnp.stack([-imaginary, real], -1)
        waves = jnp.einsum(f"bi{space}p,io{space}pq->bo{space}q", waves, jnp.stack(rows, -2))
        for i, axis in enumerate(space):
            waves = _along(axis, space, waves, self.spectrum.synthesis(i))
        return waves[..., 0]


def _along(axis: str, space: str, values: Array, matrix: Any) -> Array:
    """Values (batch, channels, *space, pair), multiplied along an axis by (axis, pair, new axis, pair)."""
    equation = f"bc{space}p,{axis}pkq->bc{space.replace(axis, 'k')}q"
    return jnp.einsum(equation, values, jnp.asarray(matrix, values.dtype))


class FourierOperator(eqx.Module):
    """Lift to `width` channels, Fourier layers, project; a box that is not periodic has zeros behind it."""

    parts: Parts
    grid: Grid = eqx.field(static=True)
    layers: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        parts, activation = self.parts, ACTIVATION[self.activation]
        if not self.periodic:
            where = jnp.asarray(fno_coordinates(self.grid), x.dtype)
            x = jnp.concatenate([x, jnp.broadcast_to(where, (x.shape[0], *where.shape))], axis=1)
        beyond = [(0, 0), (0, 0), *((0, p) for p in fno_padding(self.grid, self.periodic))]
        x = jnp.pad(parts["lift"](x, call), beyond)
        for i in range(self.layers):
            x = parts[f"spectral{i}"](x, call) + parts[f"pointwise{i}"](x, call)
            x = parts[f"norm{i}"](x, call)
            if i < self.layers - 1:
                x = activation(x)
        x = x[(slice(None), slice(None), *(slice(n) for n in self.grid.resolution))]
        return parts["project"](activation(parts["hidden"](x, call)), call)


def unet(
    inputs: int,
    outputs: int,
    grid: Grid,
    *,
    levels: int,
    filters: int | Sequence[int],
    batch_norm: bool,
    activation: str,
    periodic: bool,
) -> UNetwork:
    """The U-Net; raises ConfigError for an indivisible grid.  Source: Ronneberger, Fischer, Brox (2015)."""
    widths, rank = unet_filters(grid, levels, filters), grid.rank
    options = batch_norm, activation, periodic
    parts: dict[str, Any] = {"inc": DoubleConv(rank, inputs, widths[0], widths[0], *options, "inc")}
    for i in range(1, levels):
        before, after, name = widths[i - 1], widths[i], f"down{i}"
        parts[name] = Level(DoubleConv(rank, before, after, after, *options, f"{name}.conv"))
        before, after, name = widths[-i] + widths[-i - 1], widths[-i - 1], f"up{i}"
        parts[name] = Level(DoubleConv(rank, before, after, before // 2, *options, f"{name}.conv"))
    parts["outc"] = Convolution(rank, widths[0], outputs, cells=1)
    return UNetwork(Parts.of(**parts), levels, periodic)


def resnet(
    inputs: int,
    outputs: int,
    grid: Grid,
    *,
    layers: int,
    filters: int | Sequence[int],
    batch_norm: bool,
    activation: str,
    periodic: bool,
) -> Chain:
    """The residual network; raises ConfigError for another number of filters.  Source: He et al. (2016)."""
    widths = layer_filters("resnet", layers, filters)
    parts: dict[str, Any] = {}
    for i, (before, after) in enumerate(pairwise((inputs, *widths))):
        name = f"Res{i}" if i else "Res_in"
        parts[name] = ResidualBlock(grid.rank, before, after, batch_norm, activation, periodic, name)
    parts["Res_out"] = Convolution(grid.rank, widths[-1], outputs, cells=1)
    return Chain(Parts.of(**parts))


def convnet(
    inputs: int,
    outputs: int,
    grid: Grid,
    *,
    layers: int,
    filters: int | Sequence[int],
    batch_norm: bool,
    activation: str,
    periodic: bool,
) -> Chain:
    """The plain convolutional network; raises ConfigError for another number of filters.

    Source: LeCun, Bottou, Bengio, Haffner (1998).
    """
    widths = layer_filters("convnet", layers, filters)
    parts: dict[str, Any] = {}
    for i, (before, after) in enumerate(pairwise((inputs, *widths))):
        name = f"Conv{i}" if i else "Conv_in"
        layers_of = (
            Convolution(grid.rank, before, after, periodic=periodic),
            normalisation(after, batch_norm, f"{name}.1"),
            Activation(activation),
        )
        parts[name] = Chain(Parts(("0", "1", "2"), layers_of))
    parts["Conv_out"] = Convolution(grid.rank, widths[-1], outputs, cells=1)
    return Chain(Parts.of(**parts))


def fno(
    inputs: int,
    outputs: int,
    grid: Grid,
    *,
    layers: int,
    filters: int,
    modes: int | Sequence[int],
    batch_norm: bool,
    activation: str,
    periodic: bool,
) -> FourierOperator:
    """The Fourier neural operator; raises ConfigError for more modes than an axis has.

    Source: Li et al. (2021).
    """
    rank, kept = grid.rank, fno_modes(grid, modes)
    padding = fno_padding(grid, periodic)
    spectrum = Spectrum(tuple(n + p for n, p in zip(grid.resolution, padding, strict=True)), tuple(kept))

    def pointwise(before: int, after: int) -> Convolution:
        return Convolution(rank, before, after, cells=1)

    parts: dict[str, Any] = {"lift": pointwise(inputs if periodic else inputs + rank, filters)}
    for i in range(layers):
        parts[f"spectral{i}"] = SpectralConvolution(filters, spectrum)
        parts[f"pointwise{i}"] = pointwise(filters, filters)
        parts[f"norm{i}"] = normalisation(filters, batch_norm, f"norm{i}")
    parts["hidden"] = pointwise(filters, 2 * filters)
    parts["project"] = pointwise(2 * filters, outputs)
    return FourierOperator(Parts.of(**parts), grid, layers, activation, periodic)


ARCHITECTURES: dict[str, Callable[..., Any]] = {
    "unet": unet,
    "resnet": resnet,
    "convnet": convnet,
    "fno": fno,
}
