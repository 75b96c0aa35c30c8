"""What a test has to ask of each side in its own words: snapshots, gradients, stencils, adapters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from phiml import math

from hyco.compat.adapters import adapt
from hyco.interfaces import Arrays
from hyco.migration.registry import implementations, resolve, use_mode
from hyco.phiml.device import Compiled
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import AXES, Boundary, Grid
from hyco.testing import Snapshot, snapshot
from hyco.testing.cases import SIZES

SIDES = ("legacy", "phiml")
OTHER = {"legacy": "phiml", "phiml": "legacy"}
Gradients = dict[str, NDArray[np.float64]]


def implementation(side: str, component: str, name: str = "default") -> Any:
    """The class of one side."""
    with use_mode(side):
        return resolve(component, name)


def module(side: str, name: str) -> Any:
    """A module that both sides have: `module("legacy", "stencils")`."""
    return import_module(f"hyco.{side}.{name}")


def arrays_of(side: str, layout: FieldLayout, precision: str = "float64", device: str = "cpu") -> Any:
    """The numpy border of a side."""
    return module(side, "tensors").NativeArrays(layout, module(side, "device").Compute(device, precision))


def scope(arrays: Any) -> AbstractContextManager[Any]:
    """Where native tensors can be computed with in full precision; PhiML needs one."""
    return getattr(arrays.compute, "scope", nullcontext)()


def taken(tensor: Any, arrays: Arrays, layout: FieldLayout) -> Snapshot:
    """A snapshot of a state, trajectory or parameter, with the dims and names that the tensor carries."""
    take = _of_native if isinstance(tensor, torch.Tensor) else _of_named
    return take(tensor, arrays, layout)


def _of_named(tensor: math.Tensor, arrays: Arrays, layout: FieldLayout) -> Snapshot:
    order = [d for d in ("batch", "field", "time", *layout.axes) if d in tensor.shape]
    assert sorted(order) == sorted(tensor.shape.names), tensor.shape
    names = {"field": tensor.shape.get_item_names("field")} if "field" in order else {}
    return snapshot(tensor, order, arrays=arrays, names=names)


def _of_native(tensor: torch.Tensor, arrays: Arrays, layout: FieldLayout) -> Snapshot:
    space = len(layout.axes)
    leading = {0: (), 2: ("batch", "field"), 3: ("batch", "field", "time")}[max(0, tensor.ndim - space)]
    names = {"field": layout.components} if leading else {}
    return snapshot(tensor, (*leading, *layout.axes[: tensor.ndim]), arrays=arrays, names=names)


def rollout_gradients(
    model: Any, initial: NDArray[Any], targets: NDArray[Any], values: Mapping[str, NDArray[Any]]
) -> tuple[float, Gradients, NDArray[np.float64]]:
    """The rollout loss of a physical model, and its gradients by parameters and by the initial state."""
    return _GRADIENTS[model.mode](model, initial, targets, values)


def _legacy_gradients(
    model: Any, initial: NDArray[Any], targets: NDArray[Any], values: Mapping[str, NDArray[Any]]
) -> tuple[float, Gradients, NDArray[np.float64]]:
    arrays = model.arrays
    state = arrays.state(initial).requires_grad_()
    parameters = {name: arrays.parameter(v).requires_grad_() for name, v in values.items()}
    rollout = model.rollout(state, targets.shape[2], parameters)
    loss = module("legacy", "losses").rollout_loss(rollout, arrays.trajectory(targets), model.layout)
    by_state, *others = torch.autograd.grad(loss, [state, *parameters.values()])
    by_parameter = {name: arrays.numpy(g) for name, g in zip(parameters, others, strict=True)}
    return loss.item(), by_parameter, arrays.numpy(by_state)


def _phiml_gradients(
    model: Any, initial: NDArray[Any], targets: NDArray[Any], values: Mapping[str, NDArray[Any]]
) -> tuple[float, Gradients, NDArray[np.float64]]:
    arrays = model.arrays

    def objective(parameters: Mapping[str, Any], state: Any, wanted: Any) -> Any:
        rollout = model.rollout(state, targets.shape[2], parameters)
        return module("phiml", "losses").rollout_loss(rollout, wanted, model.layout)

    native = {name: arrays.parameter(v) for name, v in values.items()}
    inputs = native, arrays.state(initial), arrays.trajectory(targets)
    loss, by_parameter = Compiled(objective, arrays.compute, gradient_of="parameters")(*inputs)
    _, by_state = Compiled(objective, arrays.compute, gradient_of="state")(*inputs)
    gradients = {name: arrays.numpy(g) for name, g in by_parameter.items()}
    return float(arrays.compute.native(loss)), gradients, arrays.numpy(by_state)


_GRADIENTS = {"legacy": _legacy_gradients, "phiml": _phiml_gradients}


class Stencils:
    """Advection, diffusion, gradients of one side, from and to numpy: (batch, axis, *space)."""

    def __init__(self, side: str, grid: Grid, precision: str = "float64", device: str = "cpu") -> None:
        self.grid = grid
        self.layout = FieldLayout((FieldSpec("velocity", vector=True),), grid.axes)
        self.arrays = arrays_of(side, self.layout, precision, device)
        self.native = module(side, "stencils")

    def advect(
        self, quantity: NDArray[Any], velocity: NDArray[Any], dt: float, boundary: Boundary
    ) -> NDArray[Any]:
        """One semi-Lagrangian step."""
        with scope(self.arrays):
            q, v = self.arrays.state(quantity), self.arrays.state(velocity)
            return self.arrays.numpy(self.native.advect(q, v, dt, self.grid, boundary))

    def diffuse(
        self,
        quantity: NDArray[Any],
        coefficient: NDArray[Any] | float,
        dt: float,
        boundary: Boundary,
        substeps: int = 1,
    ) -> NDArray[Any]:
        """Explicit diffusion."""
        with scope(self.arrays):
            q, c = self.arrays.state(quantity), self.arrays.parameter(coefficient)
            return self.arrays.numpy(self.native.diffuse(q, c, dt, self.grid, boundary, substeps=substeps))

    def gradient(self, potential: NDArray[Any], boundary: Boundary) -> NDArray[Any]:
        """The gradient (axis, *space) of a potential (*space)."""
        with scope(self.arrays):
            found = self.native.gradient(self.arrays.parameter(potential), self.grid, boundary)
            slopes = [found[a] for a in self.grid.axes] if isinstance(found, dict) else found
            return np.stack([self.arrays.numpy(slope) for slope in slopes])


def box(*resolution: int) -> Grid:
    """A box whose axes differ in size and spacing."""
    return Grid.of(**{a: (s, n) for a, s, n in zip(AXES, SIZES, resolution, strict=False)})


@dataclass(frozen=True)
class Seen:
    """One implementation of a component: its side, its name, and the side from which it is seen."""

    side: str
    name: str
    through: str

    @property
    def mode(self) -> str:
        """The test mode it belongs to."""
        return self.side if self.side == self.through else "hybrid"

    def __str__(self) -> str:
        """`phiml-burgers`, or `phiml-burgers-in-legacy` behind an adapter."""
        return f"{self.side}-{self.name}" + (f"-in-{self.through}" if self.mode == "hybrid" else "")

    def adapted(self, component: Any, precision: str = "float64") -> Any:
        """A component of this side, behind an adapter where it is seen from the other one."""
        layout = component.layout if hasattr(component, "layout") else component.model.layout
        return adapt(component, self.through, lambda side: arrays_of(side, layout, precision))


def registered(component: str) -> list[Seen]:
    """Every implementation of a component on both sides, plain and behind an adapter."""
    return [
        Seen(side, name, through)
        for side in SIDES
        for name in implementations(component, side)
        for through in SIDES
    ]
