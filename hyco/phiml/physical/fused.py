"""Steps by fused kernels (`hyco.kernels`), from and to named tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from phiml.math import Tensor

from hyco.phiml.losses import rollout_loss
from hyco.phiml.tensors import NativeArrays
from hyco.problem.divergence import divergence_modes, inverse_laplacian
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid

Values = Mapping[str, NDArray[np.float64]]


class FusedSteps(ABC):
    """Rollouts of one equation, and losses of them; nothing is traced.

    PhiML takes tens of microseconds to find that nothing is to be done to a tensor, as long as a step of a
    small grid takes, so that tensors which are as they have to be are unwrapped and wrapped without its help.
    """

    def __init__(self, arrays: NativeArrays) -> None:
        self.arrays, self.layout = arrays, arrays.layout
        self.state_dims = "batch", "field", *self.layout.axes
        self.trajectory_dims = "batch", "field", "time", *self.layout.axes
        self._example = arrays.native(arrays.parameter(0.0))  # on this device, in this precision
        self._known: dict[tuple[Any, ...], Tensor] = {}  # a tensor of every shape that was wrapped

    @property
    def dtype(self) -> Any:
        """The library's own type of the values."""
        return self._example.dtype

    def can_take(self, state: Tensor, parameters: Mapping[str, Tensor]) -> bool:
        """Whether these are plain states and parameters, no symbols of a trace."""
        if self.arrays.tracing:
            return False
        from hyco.kernels.autograd import can_run

        axes = set(self.layout.axes)
        plain = all(not p.rank or set(p.shape.names) == axes for p in parameters.values())
        return plain and set(state.shape.names) == set(self.state_dims) and can_run()

    def step(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The state after one step."""
        return self._wrap(self._frames(state, 1, parameters)[:, :, 1], self.state_dims)

    def rollout(self, state: Tensor, steps: int, parameters: Mapping[str, Tensor]) -> Tensor:
        """The trajectory of `steps` + 1 frames."""
        return self._wrap(self._frames(state, steps, parameters), self.trajectory_dims)

    def objective(
        self,
        initial: Tensor,
        targets: Tensor,
        weights: NDArray[Any] | None,
        parameters: Mapping[str, Tensor],
        learned: Values,
    ) -> tuple[float, dict[str, NDArray[np.float64]]]:
        """The loss of rollouts (`hyco.phiml.losses`), and its gradients by the parameters that are learned.

        Args:
            initial, targets: a state, and the frames that follow it.
            weights: of the entries, (batch, time, *space), in this precision; None: the mean.
            parameters: those in force.
            learned: in place of some of them.
        """
        leaves, named = {}, dict(parameters)
        for name, value in learned.items():
            axes = self.layout.axes if np.ndim(value) else ()
            leaves[name] = self.arrays.native(self.arrays.parameter(value), *axes).clone().requires_grad_()
            named[name] = self.arrays.wrap(leaves[name], *axes)
        given = None if weights is None else self.arrays.entries(weights)
        targets = self.arrays.place(targets)
        with self.arrays.compute.scope():
            rollout = self.rollout(initial, targets.shape.get_size("time"), named)
            loss = rollout_loss(rollout, targets, self.layout, given).native()
        if leaves:
            loss.backward()
        return float(loss.detach()), {
            name: leaf.grad.detach().cpu().numpy().astype(np.float64) for name, leaf in leaves.items()
        }

    @abstractmethod
    def _frames(self, state: Tensor, steps: int, parameters: Mapping[str, Tensor]) -> Any:
        """The native trajectory (batch, field, time, *space)."""

    def _parameter(self, parameter: Tensor) -> Any:
        return self._native(parameter, self.layout.axes if parameter.rank else ())

    def _native(self, tensor: Tensor, dims: tuple[str, ...]) -> Any:
        """The native tensor on this device, in this precision, with the dims in this order."""
        native: Any = getattr(tensor, "_native", None)
        example = self._example
        if type(native) is type(example) and native.dtype == example.dtype and tuple(tensor._names) == dims:
            return native
        return self.arrays.native(self.arrays.place(tensor), *dims)

    def _wrap(self, native: Any, dims: tuple[str, ...]) -> Tensor:
        """The named tensor of one that is on this device, in this precision."""
        key = (*dims, *native.shape)
        if key not in self._known:
            self._known[key] = self.arrays.wrap(self._example.expand(native.shape), *dims)
        return self._known[key]._with_natives_replaced([native])


class StagedSteps(FusedSteps):
    """Of an equation whose steps are made stage by stage."""

    def __init__(self, equation: str, grid: Grid, dt: float, substeps: int, arrays: NativeArrays) -> None:
        super().__init__(arrays)
        self.kernel = STAGES[equation](grid, dt, substeps, self.layout)

    def _frames(self, state: Tensor, steps: int, parameters: Mapping[str, Tensor]) -> Any:
        """The native trajectory (batch, field, time, *space)."""
        from hyco.kernels.autograd import staged_rollout

        given = {name: self._parameter(parameters[name]) for name in self.kernel.parameters}
        return staged_rollout(self.kernel, self._native(state, self.state_dims), steps, given)


def _gray_scott(grid: Grid, dt: float, substeps: int, layout: FieldLayout) -> Any:
    from hyco.kernels.reactions import GrayScott

    boundaries = layout.field("u").boundary, layout.field("v").boundary
    return GrayScott(grid.resolution, grid.spacing, dt, substeps=substeps, boundaries=boundaries)


def _navier_stokes(grid: Grid, dt: float, substeps: int, layout: FieldLayout) -> Any:
    from hyco.kernels.flows import NavierStokes

    walls = layout.field("velocity").boundary
    axes = zip(grid.resolution, grid.spacing, strict=True)
    return NavierStokes(
        grid.resolution,
        grid.spacing,
        dt,
        substeps=substeps,
        walls=walls,
        outside=layout.field("density").boundary,
        modes=[divergence_modes(cells, width, walls).pressure for cells, width in axes],
        inverse=inverse_laplacian(grid, walls),
    )


STAGES: Mapping[str, Callable[..., Any]] = {"gray_scott": _gray_scott, "navier_stokes": _navier_stokes}


class WholeSteps(FusedSteps):
    """Of an equation whose whole step is in the kernels: a rollout is one call."""

    def __init__(self, equation: str, grid: Grid, dt: float, substeps: int, arrays: NativeArrays) -> None:
        from hyco.kernels.equations import PARTS
        from hyco.kernels.rollout import Rollout

        super().__init__(arrays)
        self.parts = PARTS[equation]
        moved = self.layout.slice_of(self.parts.moved)
        self.kernel = Rollout(
            grid.resolution,
            grid.spacing,
            dt,
            moved=moved.stop - moved.start,
            boundary=self.layout.field(self.parts.moved).boundary,
            wind=None if self.parts.wind is None else self.layout.slice_of(self.parts.wind).start,
            scaled=self.parts.factor is not None,
            substeps=0 if self.parts.diffusivity is None else substeps,
        )

    def objective(
        self,
        initial: Tensor,
        targets: Tensor,
        weights: NDArray[Any] | None,
        parameters: Mapping[str, Tensor],
        learned: Values,
    ) -> tuple[float, dict[str, NDArray[np.float64]]]:
        """The same by one call of compiled loops, which makes no trajectory and no graph."""
        if self.arrays.compute.device != "cpu":
            return super().objective(initial, targets, weights, parameters, learned)
        from hyco.kernels.autograd import objective

        given: dict[str, Any] = {}
        for role, name in self.parts.parameters.items():
            value = learned[name] if name in learned else self._parameter(parameters[name]).numpy()
            given[role] = np.asarray(value, self.arrays.compute.precision)
            given[f"by_{role}"] = name in learned
        natives = self._native(initial, self.state_dims), self._native(targets, self.trajectory_dims)
        loss, found = objective(self.kernel, *natives, weights, **given)
        roles = {name: role for role, name in self.parts.parameters.items()}
        return loss, {n: np.asarray(getattr(found, roles[n]), np.float64) for n in learned}

    def _frames(self, state: Tensor, steps: int, parameters: Mapping[str, Tensor]) -> Any:
        """The native trajectory (batch, field, time, *space)."""
        from hyco.kernels.autograd import rollout

        given = {role: self._parameter(parameters[name]) for role, name in self.parts.parameters.items()}
        return rollout(self.kernel, self._native(state, self.state_dims), steps, **given)
