"""Gradient descent on the weights of a network, by Optax; its state has the names of PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from hyco.interfaces import Optimizer
from hyco.jax.layers import Array
from hyco.jax.network import Network, Statistics
from hyco.learning.amp import Amp, lowered
from hyco.learning.recomputation import recomputing

BETAS = (0.9, 0.999)
EPSILON = 1e-8
SMALL = 1e-6
ADAM = {"exp_avg": "mu", "exp_avg_sq": "nu"}


class JaxDescent:
    """Updates of all weights of a network.

    adam:   Kingma and Ba (2015); weight decay as L2, inside the gradient.
    adamw:  the same with decoupled decay, Loshchilov and Hutter (2019).
    sgd:    v <- momentum v + g,  w <- w - learning_rate v;  decay as L2.

    Args:
        network: what is trained.
        loss: of JAX arrays, a scalar, which calls the network.
        settings: the optimiser, and the decay of the weights.
        clipping: the greatest norm of a gradient; None: any.
        amp: what the network computes in.
        recompute: whether gradients compute the network a second time.

    Attributes: gradient_norm before clipping, of the last update.
    """

    def __init__(
        self,
        network: Network,
        loss: Callable[..., Array],
        *,
        settings: Optimizer,
        clipping: float | None,
        amp: Amp | None,
        recompute: bool,
    ) -> None:
        self.network, self.loss = network, loss
        self.clipping, self.amp, self.recompute = clipping, amp, recompute
        self.gradient_norm: Array | None = None
        self._rate = 0.0
        self._gradients: list[Array] = []
        self._rule = _rule(settings)
        self._state = self._rule.init(network.learnable)
        self._began = False
        self._update = jax.jit(self._updated)
        self._value = jax.jit(self._valued, static_argnames="training")

    def update(self, *data: Array) -> Array:
        """One step; the loss before it."""
        network = self.network
        rate = jnp.asarray(self._rate, network.learnable[0].dtype)
        found = self._update(network.learnable, network.statistics, self._state, rate, data)
        network.learnable, network.statistics, self._state, loss, self._gradients, norm = found
        self.gradient_norm = None if self.clipping is None else norm
        self._began = True
        return loss

    def value(self, *data: Array) -> Array:
        """The loss in evaluation mode."""
        network = self.network
        return self._value(network.learnable, network.statistics, data, training=False)[0]

    def set_learning_rate(self, learning_rate: float) -> None:
        """The step size of the next updates."""
        self._rate = learning_rate

    def gradients(self) -> dict[str, NDArray[Any]]:
        """The gradients of the last update's loss, by weight, as the optimiser took them."""
        return self.network.named(self._gradients) if self._gradients else {}

    def loss_scale(self) -> dict[str, Any]:
        """Nothing: no loss is scaled."""
        return {}

    def put_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Nothing changes."""

    def moments(self) -> dict[str, NDArray[Any]]:
        """The optimiser's state per weight, as `index.name`; nothing before the first update."""
        if not self._began:
            return {}
        found = {name: list(self.network.named(values).values()) for name, values in self._moments().items()}
        count = len(self.network.names)
        return {f"{i}.{name}": values[i] for i in range(count) for name, values in found.items()}

    def put_moments(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `moments` took out."""
        self._state, self._began = self._rule.init(self.network.learnable), bool(arrays)
        if not arrays:
            return
        parts = {
            name: [arrays[f"{i}.{name}"] for i in range(len(self.network.names))] for name in self._moments()
        }
        self._state = tuple(self._filled(part, parts) for part in self._state)

    def _updated(
        self, weights: list[Array], statistics: Statistics, state: Any, rate: Array, data: tuple[Array, ...]
    ) -> tuple[Any, ...]:
        def valued(weights: list[Array]) -> tuple[Array, Statistics]:
            return self._valued(weights, statistics, data, training=True)

        (loss, statistics), gradients = jax.value_and_grad(valued, has_aux=True)(weights)
        norm = optax.tree.norm(gradients)
        if self.clipping is not None:
            share = jnp.minimum(1.0, self.clipping / (norm + SMALL))
            gradients = [g * share for g in gradients]
        changes, state = self._rule.update(gradients, state, weights)
        moved = [w - rate * c for w, c in zip(weights, changes, strict=True)]
        return moved, statistics, state, loss, gradients, norm

    def _valued(
        self, weights: list[Array], statistics: Statistics, data: tuple[Array, ...], *, training: bool
    ) -> tuple[Array, Statistics]:
        recompute = recomputing(self.recompute and training)
        with self.network.using(weights, statistics, training) as call, lowered(self.amp), recompute:
            return self.loss(*data), call.statistics

    def _moments(self) -> dict[str, list[Any]]:
        """Name in PyTorch -> the values of all weights."""
        found: dict[str, list[Any]] = {}
        for part in self._state:
            if isinstance(part, optax.ScaleByAdamState):
                # PyTorch counts the steps per weight, in float32 whatever the type of the weights
                found["step"] = [np.float32(part.count)] * len(self.network.names)
                found |= {name: getattr(part, attribute) for name, attribute in ADAM.items()}
            elif isinstance(part, optax.TraceState):
                found["momentum_buffer"] = part.trace
        return found

    def _filled(self, part: Any, arrays: Mapping[str, list[NDArray[Any]]]) -> Any:
        """A part of the optimiser's state with these values."""
        weights = self.network.learnable

        def placed(values: list[NDArray[Any]]) -> list[Array]:
            return [
                jnp.asarray(np.reshape(v, w.shape), w.dtype) for v, w in zip(values, weights, strict=True)
            ]

        if isinstance(part, optax.ScaleByAdamState):
            count = jnp.asarray(int(arrays["step"][0]), part.count.dtype)
            return optax.ScaleByAdamState(count, *(placed(arrays[name]) for name in ADAM))
        if isinstance(part, optax.TraceState):
            return optax.TraceState(placed(arrays["momentum_buffer"]))
        return part


def _rule(settings: Optimizer) -> optax.GradientTransformation:
    """Gradients -> changes of the weights in units of minus the learning rate."""
    decay = optax.add_decayed_weights(settings.weight_decay)
    if settings.name == "sgd":
        momentum = [optax.trace(settings.momentum)] if settings.momentum else []
        return optax.chain(decay, *momentum)
    adam = optax.scale_by_adam(*BETAS, EPSILON)
    return optax.chain(adam, decay) if settings.name == "adamw" else optax.chain(decay, adam)
