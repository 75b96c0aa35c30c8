"""The layers that surrogates are made of, (batch, channels, *space), as those of PyTorch compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

Array = jax.Array
ACTIVATION: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "sigmoid": jax.nn.sigmoid,
}
MOMENTUM = 0.1
EPSILON = 1e-5
ANY = 0  # initial weights are drawn in numpy (`hyco.problem.sampling`)


class Call:
    """One call of a network: whether it trains, and the statistics that its normalisations keep by name."""

    def __init__(self, statistics: dict[str, Array], training: bool) -> None:
        self.statistics = dict(statistics)
        self.training = training


class Parts(eqx.Module):
    """Layers by name, in order."""

    names: tuple[str, ...] = eqx.field(static=True)
    layers: tuple[Any, ...]

    @classmethod
    def of(cls, **layers: Any) -> Parts:
        """The layers, in this order."""
        return cls(tuple(layers), tuple(layers.values()))

    def __getitem__(self, name: str) -> Any:
        return self.layers[self.names.index(name)]


class Convolution(eqx.Module):
    """A convolution that keeps the grid: of 3 cells, wrapped or with zeros beyond the box, or of 1 cell."""

    layer: eqx.nn.Conv

    def __init__(
        self, rank: int, inputs: int, outputs: int, *, cells: int = 3, periodic: bool = False
    ) -> None:
        mode = "CIRCULAR" if periodic and cells > 1 else "ZEROS"
        self.layer = eqx.nn.Conv(
            rank, inputs, outputs, cells, padding=cells // 2, padding_mode=mode, key=jax.random.key(ANY)
        )

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, inputs, *space) -> (batch, outputs, *space)."""
        return jax.vmap(self.layer)(x)


class Normalisation(eqx.Module):
    """Batch normalisation: over batch and space in training, and by the running statistics otherwise.

        y = (x - mean) / sqrt(variance + 1e-5) weight + bias
        running <- 0.9 running + 0.1 (mean, variance n / (n - 1)),    n values per channel

    Equinox's keeps the biased variance, and its state apart from the layer (0.13).
    Source: Ioffe, Szegedy (2015), as `torch.nn.BatchNorm2d` documents it.
    """

    weight: Array
    bias: Array
    name: str = eqx.field(static=True)

    def __init__(self, channels: int, name: str) -> None:
        self.weight, self.bias, self.name = jnp.ones(channels), jnp.zeros(channels), name

    def statistics(self) -> dict[str, Array]:
        """The running statistics before any training."""
        values = jnp.zeros_like(self.weight), jnp.ones_like(self.weight), jnp.zeros((), jnp.int64)
        return dict(zip(self._names(), values, strict=True))

    def __call__(self, x: Array, call: Call) -> Array:
        """(batch, channels, *space) -> the same."""
        kept = call.statistics
        mean_name, variance_name, count_name = self._names()
        mean, variance = kept[mean_name], kept[variance_name]
        values = x.astype(mean.dtype)
        if call.training:
            axes = (0, *range(2, x.ndim))
            size = x.size // x.shape[1]
            mean, variance = values.mean(axes), values.var(axes)
            unbiased = variance * (size / max(1, size - 1))
            kept[mean_name] = _moved(kept[mean_name], mean)
            kept[variance_name] = _moved(kept[variance_name], unbiased)
            kept[count_name] = kept[count_name] + 1
        scale = self.weight / jnp.sqrt(variance + EPSILON)
        normal = (values - _across(mean, x)) * _across(scale, x) + _across(self.bias, x)
        return normal.astype(x.dtype)

    def _names(self) -> tuple[str, str, str]:
        return (
            f"{self.name}.running_mean",
            f"{self.name}.running_var",
            f"{self.name}.num_batches_tracked",
        )


class Nothing(eqx.Module):
    """The layer that changes nothing."""

    def __call__(self, x: Array, call: Call) -> Array:
        """The input."""
        return x


class Activation(eqx.Module):
    """A pointwise nonlinearity, by its name in the configuration."""

    name: str = eqx.field(static=True)

    def __call__(self, x: Array, call: Call) -> Array:
        """The same shape."""
        return ACTIVATION[self.name](x)


def normalisation(channels: int, batch_norm: bool, name: str) -> Normalisation | Nothing:
    """Batch normalisation, or nothing; `name`: of the layer within its network."""
    return Normalisation(channels, name) if batch_norm else Nothing()


def halved(x: Array) -> Array:
    """The maximum of 2 cells along every axis, (batch, channels, *space / 2); of equals the first counts."""
    rank = x.ndim - 2
    pool = {1: eqx.nn.MaxPool1d, 2: eqx.nn.MaxPool2d, 3: eqx.nn.MaxPool3d}[rank](2, 2)
    return jax.vmap(pool)(x)


def doubled(x: Array, periodic: bool) -> Array:
    """Twice as many cells along every axis by linear interpolation, (batch, channels, *space * 2).

        y_{2i} = x_{i-1} / 4 + 3 x_i / 4,    y_{2i+1} = 3 x_i / 4 + x_{i+1} / 4

    Beyond the ends a periodic box repeats; any other one keeps its last value.
    """
    for axis in range(2, x.ndim):
        widths = [(int(a == axis),) * 2 for a in range(x.ndim)]
        around = jnp.pad(x, widths, mode="wrap" if periodic else "edge")
        cells = x.shape[axis]
        below, above = (jax.lax.slice_in_dim(around, i, i + cells, axis=axis) for i in (0, 2))
        pairs = jnp.stack([0.25 * below + 0.75 * x, 0.75 * x + 0.25 * above], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * cells, *x.shape[axis + 1 :])
    return x


def sequence(layers: Sequence[Any], x: Array, call: Call) -> Array:
    """What layers make of x, one after the other."""
    for layer in layers:
        x = layer(x, call)
    return x


def _moved(running: Array, found: Array) -> Array:
    return (1.0 - MOMENTUM) * running + MOMENTUM * found


def _across(per_channel: Array, x: Array) -> Array:
    return per_channel.reshape(-1, *[1] * (x.ndim - 2))
