"""What is compared of models, data managers and datasets: of every method its input, repetition, and result.

A case takes a call's input to numpy before the control does it (`given`), repeats the call with it on
another component (`repetition`), and takes results of either side apart (`parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hyco.interfaces import Arrays, Batch
from hyco.migration.shadow.recorder import Part
from hyco.problem.fields import FieldLayout
from hyco.testing.compare import Snapshot

Array = NDArray[Any]
Parts = list[Part]
STATE, TRAJECTORY = (), ("time",)


class Case(Protocol):
    """How one method is compared; `component` is the control in `given`, the candidate in `repetition`."""

    def given(self, component: Any, *arguments: Any, **options: Any) -> Any:
        """Copies of the input, and of the state that the result depends on."""

    def repetition(self, component: Any, given: Any) -> Callable[[], Any]:
        """The same call on another component, whose state is made the same first."""

    def parts(self, component: Any, result: Any, given: Any) -> Parts:
        """What the result of either side consists of."""


class PhysicalCall(NamedTuple):
    """Numpy copies of what a physical model is given: state, parameters, and steps of a rollout."""

    state: Array
    parameters: dict[str, Array]
    steps: int


class Step(Case):
    """`PhysicalModel.step`."""

    def given(self, component: Any, state: Any, parameters: Mapping[str, Any] | None = None) -> PhysicalCall:
        return PhysicalCall(copy_of(component.arrays, state), parameters_of(component, parameters), 1)

    def repetition(self, component: Any, given: PhysicalCall) -> Callable[[], Any]:
        state, parameters = _native(component.arrays, given)
        return lambda: component.step(state, parameters)

    def parts(self, component: Any, result: Any, given: Any) -> Parts:
        values = component.arrays.numpy(result)
        return [_part("steps in a run", component, values, STATE, terms=_steps(component, values, 1))]


class PhysicalRollout(Case):
    """`PhysicalModel.rollout`."""

    def given(
        self, component: Any, state: Any, steps: int, parameters: Mapping[str, Any] | None = None
    ) -> PhysicalCall:
        return PhysicalCall(copy_of(component.arrays, state), parameters_of(component, parameters), steps)

    def repetition(self, component: Any, given: PhysicalCall) -> Callable[[], Any]:
        state, parameters = _native(component.arrays, given)
        return lambda: component.rollout(state, given.steps, parameters)

    def parts(self, component: Any, result: Any, given: Any) -> Parts:
        values = component.arrays.numpy(result)
        terms = _steps(component, values, given.steps)
        return [_part("steps in a run", component, values, TRAJECTORY, terms=terms)]


class NetworkCall(NamedTuple):
    """Numpy copies of what a surrogate is given, its weights, and whether it is in training mode."""

    state: Array
    weights: dict[str, Array]
    training: bool
    steps: int


class SyntheticRollout(Case):
    """`SyntheticModel.rollout`; what is not for training is repeated without gradients."""

    def given(self, component: Any, state: Any, steps: int) -> NetworkCall:
        training = bool(component.network.training)
        return NetworkCall(copy_of(component.arrays, state), component.weights(), training, steps)

    def repetition(self, component: Any, given: NetworkCall) -> Callable[[], Any]:
        component.assign(given.weights)
        component.training(given.training)
        if not given.training:
            return lambda: component.predict(given.state, given.steps)
        state = component.arrays.state(given.state)
        return lambda: component.rollout(state, given.steps)

    def parts(self, component: Any, result: Any, given: Any) -> Parts:
        values = _numpy(component.arrays, result)
        terms = (given.steps - 1) * largest(values)
        return [_part("network in a run", component, values, TRAJECTORY, terms=terms)]


class Network(Case):
    """`SyntheticModel.__call__`, a rollout of one step."""

    rollout = SyntheticRollout()

    def given(self, component: Any, state: Any) -> NetworkCall:
        return self.rollout.given(component, state, 1)

    def repetition(self, component: Any, given: NetworkCall) -> Callable[[], Any]:
        if given.training:
            self.rollout.repetition(component, given)
            state = component.arrays.state(given.state)
            return lambda: component(state)
        predict = self.rollout.repetition(component, given)
        return lambda: predict()[:, :, 1]

    def parts(self, component: Any, result: Any, given: Any) -> Parts:
        return [_part("network in a run", component, _numpy(component.arrays, result), STATE)]


class Load(Case):
    """`DataManager.load`."""

    def given(self, component: Any, simulation: int) -> int:
        return simulation

    def repetition(self, component: Any, given: int) -> Callable[[], Any]:
        return lambda: component.load(given)

    def parts(self, component: Any, result: Any, given: Any) -> Parts:
        return [_part("stored values", component, component.arrays.numpy(result), TRAJECTORY)]


class GetBatch(Case):
    """`Dataset.get_batch`."""

    def given(self, component: Any, indices: Sequence[int]) -> list[int]:
        return list(indices)

    def repetition(self, component: Any, given: list[int]) -> Callable[[], Any]:
        return lambda: component.get_batch(given)

    def parts(self, component: Any, result: Batch, given: Any) -> Parts:
        numpy = component.arrays.numpy
        observed = np.ones(()) if result.observed is None else result.observed.astype(float)
        return [
            _part("stored values", component, numpy(result.initial), STATE, "initial states"),
            _part("stored values", component, numpy(result.targets), TRAJECTORY, "targets"),
            Part("stored values", "sizes", np.array([result.size, result.generated])),
            Part("stored values", "observed", observed),
        ]


def largest(values: Array) -> float:
    """The largest absolute value of those that are finite."""
    return float(np.max(np.abs(values), where=np.isfinite(values), initial=0.0))


def _part(
    quantity: str, component: Any, values: Array, time: tuple[str, ...], name: str = "", terms: float = 0.0
) -> Part:
    """A state or trajectory, its dims and components with their names."""
    layout: FieldLayout = component.layout
    dims = ("batch", "field", *time, *layout.axes)
    return Part(quantity, name, Snapshot(values, dims, {"field": tuple(layout.components)}), terms)


def _steps(component: Any, values: Array, steps: int) -> float:
    """The terms of n steps on N cells along the longest axis: n (max|u| + N max|u_i - u_j|) - max|u|.

    i and j are neighbours: the points at which semi-Lagrangian steps interpolate are sums of up to N cells,
    and rounded by r N cells they change what is interpolated by that much.
    """
    axes = range(-len(component.grid.axes), 0)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        steepest = max(largest(np.diff(values, axis=axis)) for axis in axes)
    whole = largest(values)
    return steps * (whole + max(component.grid.resolution) * steepest) - whole


def copy_of(arrays: Arrays, tensor: Any) -> Array:
    """Values in memory of their own, which the candidate may do with as it likes."""
    return np.array(arrays.numpy(tensor))


def _numpy(arrays: Arrays, result: Any) -> Array:
    return result if isinstance(result, np.ndarray) else arrays.numpy(result)


def parameters_of(model: Any, given: Mapping[str, Any] | None = None) -> dict[str, Array]:
    """The parameters that a call uses."""
    return {name: copy_of(model.arrays, p) for name, p in {**model.parameters, **(given or {})}.items()}


def _native(arrays: Arrays, given: PhysicalCall) -> tuple[Any, dict[str, Any]]:
    parameters = {name: arrays.parameter(value) for name, value in given.parameters.items()}
    return arrays.state(given.state), parameters
