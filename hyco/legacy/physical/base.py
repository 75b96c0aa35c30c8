"""What the physical models of legacy mode share: parameters, rollouts, checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyco.interfaces import PhysicalModel
from hyco.learning.checkpoints import check_entries
from hyco.learning.descriptions import check_equation, describe_equation
from hyco.legacy.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.legacy.device import Compute
from hyco.legacy.tensors import NativeArrays
from hyco.problem.equation import check_parameters
from hyco.problem.equations import EQUATIONS
from hyco.problem.grid import Boundary, Grid


class GridModel(PhysicalModel):
    """A PDE on a uniform grid; an equation adds `advance`.

    Args:
        grid: the box and its cells.
        dt: time step.
        parameters: name -> scalar or array (*space), in the order of `grid.axes`.
        boundaries: field -> boundary, where it differs from the equation's default.
        substeps: explicit diffusion substeps per time step.
        device, precision: see `hyco.legacy.device.Compute`.

    Raises ConfigError when a parameter is missing, unknown, misshapen, or outside its bounds.
    """

    mode = "legacy"
    suffix = SUFFIX
    arrays: NativeArrays

    def __init__(
        self,
        grid: Grid,
        dt: float,
        parameters: Mapping[str, NDArray[Any] | float],
        *,
        boundaries: Mapping[str, Boundary] | None = None,
        substeps: int = 5,
        device: str = "auto",
        precision: str = "float32",
    ) -> None:
        self.equation = EQUATIONS[self.name]
        self.grid = grid
        self.dt = dt
        self.substeps = substeps
        self.layout = self.equation.layout(grid, boundaries)
        self.arrays = NativeArrays(self.layout, Compute(device, precision))
        self.description = describe_equation(
            self.name, self.layout, grid, dt=dt, substeps=substeps, precision=precision
        )
        check_parameters(self.equation, grid, dt, substeps, parameters)
        self._parameters = {name: self.arrays.parameter(v) for name, v in parameters.items()}

    @abstractmethod
    def advance(self, state: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One step of length `dt` with all parameters given."""

    @property
    def parameters(self) -> Mapping[str, torch.Tensor]:
        return dict(self._parameters)

    def assign(self, values: Mapping[str, NDArray[Any] | float]) -> None:
        current = {name: self.arrays.numpy(p) for name, p in self._parameters.items()}
        check_parameters(self.equation, self.grid, self.dt, self.substeps, {**current, **values})
        self._parameters.update({name: self.arrays.parameter(v) for name, v in values.items()})

    def bounds(self, name: str) -> tuple[float, float]:
        spec = self.equation.parameter(name)
        return spec.lower, spec.upper(self.grid, self.dt, self.substeps)

    def initial_state(self, batch: int, *, rng: np.random.Generator) -> torch.Tensor:
        return self.arrays.state(self.equation.initial_conditions(self.grid, self.layout, batch, rng))

    def step(self, state: torch.Tensor, parameters: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        return self.advance(self.arrays.place(state), {**self._parameters, **(parameters or {})})

    def rollout(
        self, state: torch.Tensor, steps: int, parameters: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        frames = [self.arrays.place(state)]
        for _ in range(steps):
            frames.append(self.step(frames[-1], parameters))
        return torch.stack(frames, dim=2)

    @torch.no_grad()
    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        return self.arrays.numpy(self.rollout(self.arrays.state(initial), steps))

    def save(self, path: Path) -> None:
        arrays = {name: self.arrays.numpy(p) for name, p in self._parameters.items()}
        write_checkpoint(path, f"{self.name} physical model", arrays, {"model": self.description})

    def load(self, path: Path) -> None:
        arrays, facts = read_checkpoint(path, f"{self.name} physical model")
        current = {name: self.arrays.numpy(p) for name, p in self._parameters.items()}
        check_entries(path, current, arrays)
        check_equation(path, self.description, facts)
        self.assign(arrays)
