"""A surrogate's network in the library that PhiML computes with: its calls, and its weights as numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hyco.learning.amp import Amp
from hyco.phiml.device import Compute

Backend = Literal["torch", "jax"]
LOWERED = {"bf16": "bfloat16", "fp16": "float16"}


class Native(Protocol):
    """What both libraries offer.  Attributes: network, the library's own object."""

    network: Any

    def __call__(self, x: Any, amp: Amp | None = None) -> Any:
        """(batch, inputs, *space) -> (batch, outputs, *space), computed in `amp`, returned as x is."""

    def again(self, step: Callable[[Any], Any], state: Any) -> Any:
        """step(state), of which only the state is kept: gradients compute it a second time."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the learnable weights by name, in order."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """Copies of all weights, and of running statistics, by name."""

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force; they have the names and shapes of those that there are."""


class TorchNetwork(Native):
    """A module of PyTorch, which PhiML made."""

    def __init__(self, module: Any, compute: Compute) -> None:
        from hyco.kernels.layers import wrapping

        self.network = wrapping(module.double() if compute.precision == "float64" else module.float())
        self._torch = compute.library.nn_library().torch

    def __call__(self, x: Any, amp: Amp | None = None) -> Any:
        if amp is None:
            return self.network(x)
        with self._torch.autocast(x.device.type, getattr(self._torch, LOWERED[amp])):
            return self.network(x).to(x.dtype)

    def again(self, step: Callable[[Any], Any], state: Any) -> Any:
        from hyco.kernels.layers import again

        return again(step, state)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(p.shape) for name, p in self.network.named_parameters()}

    def weights(self) -> dict[str, NDArray[Any]]:
        return {name: t.detach().cpu().numpy().copy() for name, t in self.network.state_dict().items()}

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        state = self.network.state_dict()
        self.network.load_state_dict({n: t.new_tensor(np.array(weights[n])) for n, t in state.items()})
