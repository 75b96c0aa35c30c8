"""What the surrogates of legacy mode share: inputs, residual prediction, rollouts, checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from numpy.typing import NDArray
from torch.utils.checkpoint import checkpoint

from hyco.interfaces import SyntheticModel
from hyco.learning.amp import lowered, network_precision
from hyco.learning.checkpoints import check_entries
from hyco.learning.descriptions import check_surrogate, completed, describe_surrogate
from hyco.learning.recomputation import recomputes
from hyco.legacy.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.legacy.device import Compute
from hyco.legacy.tensors import NativeArrays
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.problem.sampling import initial_weights, stream

LOWERED = {"bf16": torch.bfloat16, "fp16": torch.float16}


class NetworkModel(SyntheticModel):
    """A surrogate around one network; a network architecture adds `build`.

    The network sees all fields (`inputs="all"`) or the dynamic ones, and predicts the dynamic ones at the
    next step, or with `residual` their change.  Static fields pass through bit for bit.

    Args:
        layout, grid: the components of a state, and the cells they live on.
        architecture: keys of the architecture, see the model's own docstring.
        residual, inputs: as above.
        seed: of the initial weights, drawn in numpy and so equal in both modes.
        device, precision: see `hyco.legacy.device.Compute`.
    """

    mode = "legacy"
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
        self._dynamic = list(layout.indices(layout.dynamic))
        self._inputs = list(layout.indices(layout.components if inputs == "all" else layout.dynamic))
        network = self.build(len(self._inputs), len(self._dynamic), grid, **architecture)
        compute = self.arrays.compute
        self.network: torch.nn.Module = network.to(device=compute.torch_device, dtype=compute.dtype)
        shapes = {name: tuple(p.shape) for name, p in self.network.named_parameters()}
        self.assign({**self.weights(), **initial_weights(shapes, stream(seed, "weights"))})
        self.training(False)

    @staticmethod
    @abstractmethod
    def build(*sizes: Any, **architecture: Any) -> torch.nn.Module:
        """The network (batch, inputs, *space) -> (batch, outputs, *space); `sizes`: inputs, outputs, grid."""

    def __call__(self, state: torch.Tensor) -> torch.Tensor:
        state = self.arrays.place(state)
        predicted = self._called(state[:, self._inputs])
        if self.residual:
            predicted = state[:, self._dynamic] + predicted
        if not self.layout.static:
            return predicted
        return state.index_copy(1, torch.tensor(self._dynamic, device=state.device), predicted)

    def _called(self, seen: torch.Tensor) -> torch.Tensor:
        """The network's output in the precision of its input, computed in the precision that is in force."""
        amp = network_precision()
        if amp is None:
            output: torch.Tensor = self.network(seen)
            return output
        with torch.autocast(seen.device.type, LOWERED[amp]):
            return self.network(seen).to(seen.dtype)

    def rollout(self, state: torch.Tensor, steps: int) -> torch.Tensor:
        frames = [self.arrays.place(state)]
        for _ in range(steps):
            frames.append(self._again(frames[-1]) if recomputes() else self(frames[-1]))
        return torch.stack(frames, dim=2)

    def _again(self, state: torch.Tensor) -> torch.Tensor:
        """The same as a call, whose gradients compute it a second time, in the precision in force now."""
        amp = network_precision()

        def step(state: torch.Tensor) -> torch.Tensor:
            with lowered(amp):
                return self(state)

        return cast(torch.Tensor, checkpoint(step, state, use_reentrant=False, preserve_rng_state=False))

    @torch.no_grad()
    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        self.training(False)
        return self.arrays.numpy(self.rollout(self.arrays.state(initial), steps))

    def training(self, on: bool) -> None:
        self.network.train(on)

    def weights(self) -> dict[str, NDArray[Any]]:
        return {name: t.detach().cpu().numpy().copy() for name, t in self.network.state_dict().items()}

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        check_entries(f"weights of a {self.name}", self.weights(), weights)
        native = {name: torch.as_tensor(w) for name, w in weights.items()}
        self.network.load_state_dict(native)

    def save(self, path: Path) -> None:
        write_checkpoint(path, f"{self.name} network", self.weights(), {"model": self.description})

    def load(self, path: Path) -> None:
        weights, facts = read_checkpoint(path, f"{self.name} network")
        check_entries(path, self.weights(), weights)
        check_surrogate(path, self.description, facts)
        self.assign(weights)
