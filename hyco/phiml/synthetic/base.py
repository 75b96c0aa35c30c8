"""What the surrogates of phiml mode share: inputs, residual prediction, rollouts, checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from phiml import math
from phiml.math import Tensor, channel

from hyco.interfaces import SyntheticModel
from hyco.learning.amp import network_precision
from hyco.learning.checkpoints import check_entries
from hyco.learning.descriptions import check_surrogate, completed, describe_surrogate
from hyco.phiml.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.phiml.device import Compiled, Compute, frozen
from hyco.phiml.tensors import NativeArrays
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.problem.sampling import initial_weights, stream

LOWERED = {"bf16": "bfloat16", "fp16": "float16"}


class NetworkModel(SyntheticModel):
    """A surrogate around one network; a network architecture adds `build`.

    The network sees all fields (`inputs="all"`) or the dynamic ones, and predicts the dynamic ones at the
    next step, or with `residual` their change.  Static fields pass through bit for bit.

    Args:
        layout, grid: the components of a state, and the cells they live on.
        architecture: keys of the architecture, see the model's own docstring.
        residual, inputs: as above.
        seed: of the initial weights, drawn in numpy and so equal in both modes.
        device, precision: see `hyco.phiml.device.Compute`.
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
    ) -> None:
        self.layout = layout
        self.grid = grid
        self.residual = residual
        self.arrays = NativeArrays(layout, Compute(device, precision))
        self.description = describe_surrogate(
            self.name,
            layout,
            grid,
            architecture=completed(self.build, architecture),
            residual=residual,
            inputs=inputs,
            precision=precision,
        )
        self._inputs = layout.components if inputs == "all" else layout.dynamic
        with self.arrays.compute.scope():
            network = self.build(len(self._inputs), len(layout.dynamic), grid, **architecture)
        self.network = network.double() if precision == "float64" else network.float()
        shapes = {name: tuple(p.shape) for name, p in self.network.named_parameters()}
        self.assign({**self.weights(), **initial_weights(shapes, stream(seed, "weights"))})
        self.compiled_step = {
            on: Compiled(self._advance, self.arrays.compute, network=self.network) for on in (False, True)
        }
        self.training(False)

    @staticmethod
    @abstractmethod
    def build(*sizes: Any, **architecture: Any) -> Any:
        """The network (batch, inputs, *space) -> (batch, outputs, *space); `sizes`: inputs, outputs, grid."""

    def __call__(self, state: Tensor) -> Tensor:
        return self.arrays.place(self.compiled_step[self.network.training](self.arrays.place(state)))

    def _advance(self, state: Tensor) -> Tensor:
        dynamic = channel(field=",".join(self.layout.dynamic))
        seen = state.field[list(self._inputs)]
        self._be_part_of_traces()
        predicted = math.native_call(self._called, seen, channels_last=False, channel_dim=dynamic)
        if self.residual:
            predicted = state.field[list(self.layout.dynamic)] + predicted
        if not self.layout.static:
            return predicted
        parts = {
            name: (predicted if name in self.layout.dynamic else state).field[name]
            for name in self.layout.components
        }
        return math.stack(parts, channel("field"))

    def _called(self, seen: Any) -> Any:
        """The network's output in the precision of its input, computed in the precision that is in force."""
        amp = network_precision()
        if amp is None:
            return self.network(seen)
        native = self.arrays.compute.library.nn_library().torch
        # without the cache, which would make the weights that a trace has met constants of it
        with native.autocast(seen.device.type, getattr(native, LOWERED[amp]), cache_enabled=False):
            return self.network(seen).to(seen.dtype)

    def _be_part_of_traces(self) -> None:
        """Tell PhiML that what it is tracing, if anything, calls this network.

        Its weights belong to the trace then.  Of PhiML's networks only the U-Net and the MLP tell it
        themselves (1.16.1); the weights of any other would be constants of the trace, which PyTorch refuses.
        """
        self.arrays.compute.library.nn_library().register_module_call(self.network)

    def rollout(self, state: Tensor, steps: int) -> Tensor:
        frames = [self.arrays.place(state)]
        for _ in range(steps):
            frames.append(self(frames[-1]))
        return self.arrays.stack(frames)

    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        self.training(False)
        with frozen(self.network):
            return self.arrays.numpy(self.rollout(self.arrays.state(initial), steps))

    def training(self, on: bool) -> None:
        self.network.train(on)

    def weights(self) -> dict[str, NDArray[Any]]:
        return {name: t.detach().cpu().numpy().copy() for name, t in self.network.state_dict().items()}

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        check_entries(f"weights of a {self.name}", self.weights(), weights)
        state = self.network.state_dict()
        self.network.load_state_dict({n: t.new_tensor(np.array(weights[n])) for n, t in state.items()})

    def save(self, path: Path) -> None:
        write_checkpoint(path, f"{self.name} network", self.weights(), {"model": self.description})

    def load(self, path: Path) -> None:
        weights, facts = read_checkpoint(path, f"{self.name} network")
        check_entries(path, self.weights(), weights)
        check_surrogate(path, self.description, facts)
        self.assign(weights)
