"""What the physical models of phiml mode share: parameters, rollouts, checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from phiml.math import Tensor

from hyco.errors import ConfigError
from hyco.interfaces import PhysicalModel
from hyco.learning.checkpoints import check_entries
from hyco.learning.descriptions import check_equation, describe_equation
from hyco.phiml.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.phiml.device import Compiled, Compute
from hyco.phiml.physical.fused import FusedSteps, StagedSteps, WholeSteps
from hyco.phiml.tensors import NativeArrays
from hyco.problem.equation import check_parameters
from hyco.problem.equations import EQUATIONS
from hyco.problem.grid import Boundary, Grid


class GridModel(PhysicalModel):
    """A PDE on a uniform grid; an equation adds `advance`, which runs compiled.

    Args:
        grid: the box and its cells.
        dt: time step.
        parameters: name -> scalar or array (*space), in the order of `grid.axes`.
        boundaries: field -> boundary, where it differs from the equation's default.
        substeps: explicit diffusion substeps per time step.
        device, precision: see `hyco.phiml.device.Compute`.
        kernels: what steps are made by: `fused` kernels (`hyco.kernels`), `phiflow` with PhiML's operations,
            or `auto`: fused ones where there are any: on the CPU, and for some equations on CUDA.
        backend: the library that PhiML computes with; fused kernels are for `torch`.

    Attributes: fused (whether steps are made by fused kernels).

    Raises ConfigError when a parameter is missing, unknown, misshapen, or outside its bounds, and when there
    are no fused kernels but they are asked for.
    """

    mode = "phiml"
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
        kernels: Literal["auto", "fused", "phiflow"] = "auto",
        backend: Literal["torch", "jax"] = "torch",
    ) -> None:
        self.equation = EQUATIONS[self.name]
        self.grid = grid
        self.dt = dt
        self.substeps = substeps
        self.layout = self.equation.layout(grid, boundaries)
        self.arrays = NativeArrays(self.layout, Compute(device, precision, backend))
        self.description = describe_equation(
            self.name, self.layout, grid, dt=dt, substeps=substeps, precision=precision
        )
        check_parameters(self.equation, grid, dt, substeps, parameters)
        self._parameters = {name: self.arrays.parameter(v) for name, v in parameters.items()}
        self.compiled_step = Compiled(self.advance, self.arrays.compute)
        self.fused = kernels != "phiflow" and self._has_kernels(kernels == "fused")

    @abstractmethod
    def advance(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """One step of length `dt` with all parameters given."""

    @cached_property
    def fused_steps(self) -> FusedSteps:
        """The steps by fused kernels, of a model that is `fused`."""
        from hyco.kernels.equations import PARTS

        kind = WholeSteps if self.name in PARTS else StagedSteps
        return kind(self.name, self.grid, self.dt, self.substeps, self.arrays)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        return dict(self._parameters)

    def assign(self, values: Mapping[str, NDArray[Any] | float]) -> None:
        current = {name: self.arrays.numpy(p) for name, p in self._parameters.items()}
        check_parameters(self.equation, self.grid, self.dt, self.substeps, {**current, **values})
        self._parameters.update({name: self.arrays.parameter(v) for name, v in values.items()})

    def bounds(self, name: str) -> tuple[float, float]:
        spec = self.equation.parameter(name)
        return spec.lower, spec.upper(self.grid, self.dt, self.substeps)

    def initial_state(self, batch: int, *, rng: np.random.Generator) -> Tensor:
        return self.arrays.state(self.equation.initial_conditions(self.grid, self.layout, batch, rng))

    def step(self, state: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        given = {**self._parameters, **(parameters or {})}
        if self.fused and self.fused_steps.can_take(state, given):
            return self.fused_steps.step(state, given)
        return self.arrays.place(self.compiled_step(self.arrays.place(state), given))

    def rollout(self, state: Tensor, steps: int, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        given = {**self._parameters, **(parameters or {})}
        if self.fused and self.fused_steps.can_take(state, given):
            return self.fused_steps.rollout(state, steps, given)
        frames = [self.arrays.place(state)]
        for _ in range(steps):
            frames.append(self.step(frames[-1], parameters))
        return self.arrays.stack(frames)

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

    def _has_kernels(self, demanded: bool) -> bool:
        """Whether there are fused kernels for this equation and device; raises ConfigError where demanded."""
        from hyco.kernels.equations import KERNELS

        compute = self.arrays.compute
        # a class of somebody else's with the name of an equation here may make other steps
        known = self.name in KERNELS and type(self).advance.__module__ == f"{__package__}.{self.name}"
        on_cpu = compute.device == "cpu" and compute.backend == "torch"
        found = known and (on_cpu or self._runs_on_cuda())
        if demanded and compute.backend != "torch":
            raise ConfigError(
                "trainer.kernels: fused: there are no fused kernels in JAX. Use auto or phiflow, or "
                "trainer.backend=torch."
            )
        if demanded and not found:
            what = f"{self.name} on {compute.device}" if known else self.name
            raise ConfigError(
                f"trainer.kernels: fused: there are no fused kernels for {what}, only for "
                f"{', '.join(sorted(KERNELS))} on the CPU, and some of them on CUDA, where Triton runs. "
                "Use auto or phiflow, or trainer.device=cpu."
            )
        return found

    def _runs_on_cuda(self) -> bool:
        """Whether there are kernels for whole steps on this CUDA device that do what they should."""
        from hyco.kernels.equations import ON_CUDA

        compute = self.arrays.compute
        if self.name not in ON_CUDA or compute.device == "cpu" or compute.backend != "torch":
            return False
        from hyco.kernels.cuda_check import verified

        steps = WholeSteps(self.name, self.grid, self.dt, self.substeps, self.arrays)
        return verified(steps.kernel, compute.device, steps.dtype)
