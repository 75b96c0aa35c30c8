"""What the surrogates of phiml mode share: inputs, residual prediction, rollouts, checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from phiml.backend import choose_backend
from phiml.math import Tensor

from hyco.errors import ConfigError
from hyco.interfaces import SyntheticModel
from hyco.learning.amp import lowered, network_precision
from hyco.learning.checkpoints import check_entries
from hyco.learning.descriptions import check_surrogate, completed, describe_surrogate
from hyco.learning.recomputation import recomputes
from hyco.phiml.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.phiml.device import Compute, frozen
from hyco.phiml.networks import Backend, Native, TorchNetwork
from hyco.phiml.tensors import NativeArrays
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.problem.sampling import initial_weights, stream


class NetworkModel(SyntheticModel):
    """A surrogate around one network; a network architecture adds `build`.

    The network sees all fields (`inputs="all"`) or the dynamic ones, and predicts the dynamic ones at the
    next step, or with `residual` their change.  Static fields pass through bit for bit.  Names are taken off
    the values once for a whole rollout: the network is PhiML's, in the library that PhiML computes with.

    Args:
        layout, grid: the components of a state, and the cells they live on.
        architecture: keys of the architecture, see the model's own docstring.
        residual, inputs: as above.
        seed: of the initial weights, drawn in numpy and so equal in both modes.
        device, precision: see `hyco.phiml.device.Compute`.
        backend: the library that PhiML computes with.
    """

    mode = "phiml"
    suffix = SUFFIX
    arrays: NativeArrays

    def __init__(
        self,
        layout: FieldLayout,
        grid: Grid,
        *,
        architecture: Mapping[str, Any],
        residual: bool = True,
        inputs: Literal["all", "dynamic"] = "all",
        seed: int = 0,
        device: str = "auto",
        precision: str = "float32",
        backend: Backend = "torch",
    ) -> None:
        self.layout = layout
        self.grid = grid
        self.residual = residual
        self.arrays = NativeArrays(layout, Compute(device, precision, backend))
        keys = completed(self.build, architecture)
        self.description = describe_surrogate(
            self.name,
            layout,
            grid,
            architecture=keys,
            residual=residual,
            inputs=inputs,
            precision=precision,
        )
        self._inputs = layout.indices(layout.components if inputs == "all" else layout.dynamic)
        self._dynamic = layout.indices(layout.dynamic)
        sizes = len(self._inputs), len(self._dynamic), grid
        self._native = self._built(*sizes, **keys)
        self.network = self._native.network
        self.assign({**self.weights(), **initial_weights(self._native.shapes(), stream(seed, "weights"))})
        self.training(False)

    @staticmethod
    @abstractmethod
    def build(*sizes: Any, **architecture: Any) -> Any:
        """The network (batch, inputs, *space) -> (batch, outputs, *space); `sizes`: inputs, outputs, grid."""

    def __call__(self, state: Tensor) -> Tensor:
        arrays, axes = self.arrays, self.layout.axes
        native = arrays.native(arrays.place(state), "batch", "field", *axes)
        with arrays.compute.scope():  # PhiML's networks round what comes in to the precision in force
            return arrays.wrap(self._next(native), "batch", "field", *axes)

    def rollout(self, state: Tensor, steps: int) -> Tensor:
        arrays, axes = self.arrays, self.layout.axes
        frames = [arrays.native(arrays.place(state), "batch", "field", *axes)]
        with arrays.compute.scope():
            for _ in range(steps):
                frames.append(self._again(frames[-1]) if recomputes() else self._next(frames[-1]))
            stacked = choose_backend(*frames).stack(frames, 2)
        return arrays.wrap(stacked, "batch", "field", "time", *axes)

    def _next(self, state: Any) -> Any:
        """The state after one step, both native, (batch, field, *space)."""
        predicted = self._native(_components(state, self._inputs), network_precision())
        if self.residual:
            predicted = _components(state, self._dynamic) + predicted
        if not self.layout.static:
            return predicted
        parts = [state[:, i : i + 1] for i in range(state.shape[1])]
        for i, component in enumerate(self._dynamic):
            parts[component] = predicted[:, i : i + 1]
        return choose_backend(state).concat(parts, 1)

    def _again(self, state: Any) -> Any:
        """The same, whose gradients compute it a second time, in the precisions in force now."""
        amp = network_precision()

        def step(state: Any) -> Any:
            with self.arrays.compute.scope(), lowered(amp):
                return self._next(state)

        return self._native.again(step, state)

    def _built(self, *sizes: Any, **architecture: Any) -> Native:
        """The network in the library that computes."""
        compute = self.arrays.compute
        with compute.scope():
            if compute.backend == "torch":
                return TorchNetwork(self.build(*sizes, **architecture), compute)
            from hyco.jax.architectures import ARCHITECTURES
            from hyco.jax.network import Network

            if self.name not in ARCHITECTURES:
                raise ConfigError(
                    f"model.synthetic.name: {self.name} is not there in JAX, only "
                    f"{', '.join(sorted(ARCHITECTURES))}. Use one of them, or trainer.backend=torch."
                )
            return Network(ARCHITECTURES[self.name](*sizes, **architecture), compute.precision)

    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        self.training(False)
        with frozen(self.network):
            return self.arrays.numpy(self.rollout(self.arrays.state(initial), steps))

    def training(self, on: bool) -> None:
        self.network.train(on)

    def weights(self) -> dict[str, NDArray[Any]]:
        return self._native.weights()

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        check_entries(f"weights of a {self.name}", self.weights(), weights)
        self._native.assign(weights)

    def save(self, path: Path) -> None:
        write_checkpoint(path, f"{self.name} network", self.weights(), {"model": self.description})

    def load(self, path: Path) -> None:
        weights, facts = read_checkpoint(path, f"{self.name} network")
        check_entries(path, self.weights(), weights)
        check_surrogate(path, self.description, facts)
        self.assign(weights)


def _components(state: Any, indices: Sequence[int]) -> Any:
    """Some components of a native state, without a copy where they are neighbours."""
    first, last = indices[0], indices[-1] + 1
    if tuple(indices) != tuple(range(first, last)):
        return state[:, np.array(indices)]
    return state if last - first == state.shape[1] else state[:, first:last]
