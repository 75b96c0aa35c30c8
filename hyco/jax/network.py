"""A network with its weights, which have the names and shapes of PyTorch's, whatever library made them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from hyco.jax.layers import Array, Call, Normalisation, Parts

Statistics = dict[str, Array]
LOWERED = {"bf16": jnp.bfloat16}
UNNAMED = "parts", "layer"  # attributes whose own names do not stand in those of the weights


class Network:
    """An Equinox module (batch, inputs, *space) -> (batch, outputs, *space), as an object that is trained.

    Args:
        module: called with the input and a `hyco.jax.layers.Call`.
        dtype: of the weights.

    Attributes: names of the weights, in order; training, whether calls normalise by what they see.
    """

    def __init__(self, module: Any, dtype: Any) -> None:
        arrays, self._rest = eqx.partition(module, eqx.is_inexact_array)
        leaves, self._tree = jax.tree.flatten(arrays)
        self.names = tuple(_names(module))
        assert len(self.names) == len(leaves)
        self.learnable = [leaf.astype(dtype) for leaf in leaves]
        self.statistics = {
            name: value.astype(dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value
            for layer in _normalisations(module)
            for name, value in layer.statistics().items()
        }
        self.network: Any = self  # what other libraries have their own object for
        self.training = False
        self._within: Call | None = None
        self._weights: list[Array] = []
        self._jitted = jax.jit(self._applied, static_argnames=("training", "amp"))

    def __call__(self, x: Array, amp: str | None = None) -> Array:
        """What the network makes of x, computed in `amp` if that is given, and returned as x is."""
        if self._within is not None:
            return self._run(self._weights, self._within, x, amp)
        y, statistics = self._jitted(self.learnable, self.statistics, x, training=self.training, amp=amp)
        if self.training:
            self.statistics = statistics
        return y

    @contextmanager
    def using(self, weights: list[Array], statistics: Statistics, training: bool) -> Iterator[Call]:
        """Inside, calls have these weights; what is given keeps their statistics.  For what JAX traces."""
        self._within, self._weights = Call(statistics, training), weights
        try:
            yield self._within
        finally:
            self._within, self._weights = None, []

    def train(self, on: bool) -> None:
        """Whether calls normalise by what they see, and remember it."""
        self.training = on

    def again(self, step: Callable[[Any], Any], state: Any) -> Any:
        """step(state), of which only the state is kept: gradients compute it a second time."""
        return jax.checkpoint(step)(state)

    def parameters(self) -> tuple[Any, ...]:
        """Nothing: JAX differentiates by what it is told to, and keeps nothing for the rest."""
        return ()

    def named_buffers(self) -> list[tuple[str, Array]]:
        """The running statistics."""
        return list(self.statistics.items())

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights, and running statistics, by name."""
        statistics = {name: np.array(value) for name, value in self.statistics.items()}
        return {**self.named(self.learnable), **statistics}

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force; they have the names of all that there are."""
        self.learnable = [
            jnp.asarray(np.reshape(weights[name], old.shape), old.dtype)
            for name, old in zip(self.names, self.learnable, strict=True)
        ]
        self.statistics = {
            name: jnp.asarray(weights[name], old.dtype) for name, old in self.statistics.items()
        }

    def named(self, values: Sequence[Any]) -> dict[str, NDArray[Any]]:
        """A value per weight by name: copies, in the shapes that PyTorch has weights in."""
        return {name: _flat(name, np.array(value)) for name, value in zip(self.names, values, strict=True)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights by name, as PyTorch has them."""
        return {name: value.shape for name, value in self.named(self.learnable).items()}

    def _applied(
        self, weights: list[Array], statistics: Statistics, x: Array, *, training: bool, amp: str | None
    ) -> tuple[Array, Statistics]:
        call = Call(statistics, training)
        return self._run(weights, call, x, amp), call.statistics

    def _run(self, weights: list[Array], call: Call, x: Array, amp: str | None) -> Array:
        seen = x
        if amp is not None:  # but for normalisations, whose weights have one axis
            seen = x.astype(LOWERED[amp])
            weights = [w.astype(LOWERED[amp]) if w.ndim > 1 else w for w in weights]
        module = eqx.combine(jax.tree.unflatten(self._tree, weights), self._rest)
        return module(seen, call).astype(x.dtype)


def _flat(name: str, value: Any) -> Any:
    """A weight in the shape that PyTorch has it in: Equinox's biases have an axis per dimension."""
    return value.reshape(-1) if name.endswith("bias") and value.ndim else value


def _names(module: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of the arrays of a module, in the order in which JAX has them."""
    if eqx.is_inexact_array(module):
        yield prefix.removesuffix(".")
    elif isinstance(module, Parts):
        for name, layer in zip(module.names, module.layers, strict=True):
            yield from _names(layer, f"{prefix}{name}.")
    elif isinstance(module, tuple):
        for i, layer in enumerate(module):
            yield from _names(layer, f"{prefix}{i}.")
    elif isinstance(module, eqx.Module):
        for field in dataclasses.fields(module):
            if not field.metadata.get("static", False):
                inner = prefix if field.name in UNNAMED else f"{prefix}{field.name}."
                yield from _names(getattr(module, field.name), inner)


def _normalisations(module: Any) -> list[Normalisation]:
    found = jax.tree.leaves(module, is_leaf=lambda m: isinstance(m, Normalisation))
    return [layer for layer in found if isinstance(layer, Normalisation)]
