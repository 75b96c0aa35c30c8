"""Physical models of both sides: steps, rollouts, gradients, and how often they are compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from phiml import math

from hyco.interfaces import Batch
from hyco.phiml.device import Compiled
from hyco.testing import assert_equivalent
from hyco.testing.cases import BY_NAME, CASES, SELECTED, Case
from tests.sides import SIDES, implementation, rollout_gradients, taken


def parametrised(some: Sequence[Case]) -> pytest.MarkDecorator:
    """Over these cases; those that are not selected are for the full run."""
    marked = [pytest.param(c, marks=[] if c in SELECTED else pytest.mark.full, id=c.name) for c in some]
    return pytest.mark.parametrize("case", marked)


cases = parametrised(CASES)
WINDOW = 3
# the operations of PhiFlow and PhiML, which fused kernels (test_kernels.py) otherwise stand for
PHIFLOW: dict[str, dict[str, str]] = {"legacy": {}, "phiml": {"kernels": "phiflow"}}


def frames(case: Case, batch: int = 2) -> NDArray[np.float64]:
    """Trajectories (batch, field, time, *space) of another flow, as targets."""
    return case.model("legacy").predict(case.states(batch, seed=1), WINDOW)


def arguments(case: Case, batch: int = 2) -> tuple[Any, ...]:
    """Initial states, targets, and a guess of the parameters that is not what made the targets."""
    guess = {name: 0.7 * np.asarray(v) for name, v in case.parameters().items()}
    return case.states(batch), frames(case, batch)[:, :, 1:], guess


@cases
def test_step(case: Case, precision: str, device: str) -> None:
    snapshots = []
    for side, choice in PHIFLOW.items():
        model = case.model(side, precision, device, **choice)
        state = model.arrays.state(case.states(2))
        snapshots.append(taken(model.step(state), model.arrays, model.layout))
    assert snapshots[0].names["field"] == case.layout.components
    assert_equivalent(*snapshots, "step")


@cases
def test_long_rollouts(case: Case, precision: str, device: str) -> None:
    damped = any(p.diffusive for p in case.facts.parameters)
    steps, quantity = (50, "rollout of 50 steps") if damped else (20, "rollout of 20 steps without diffusion")
    snapshots = []
    for side, choice in PHIFLOW.items():
        model = case.model(side, precision, device, **choice)
        rollout = model.rollout(model.arrays.state(case.states(2)), steps)
        snapshots.append(taken(rollout, model.arrays, model.layout))
    assert snapshots[0].values.shape[2] == steps + 1
    assert_equivalent(*snapshots, quantity)


@cases
def test_the_parameters_and_bounds_are_the_same(case: Case) -> None:
    legacy, phiml = (case.model(side) for side in SIDES)
    for name in legacy.parameters:
        both = [taken(m.parameters[name], m.arrays, m.layout) for m in (legacy, phiml)]
        assert both[0].dims == both[1].dims
        assert np.array_equal(both[0].values, both[1].values)
        spec = case.facts.parameter(name)
        expected = (spec.lower, case.limit if spec.diffusive else np.inf)
        assert legacy.bounds(name) == phiml.bounds(name) == expected


def test_initial_states_are_the_same_bits() -> None:
    for case in CASES:
        states = []
        for side in SIDES:
            model = case.model(side)
            states.append(model.arrays.numpy(model.initial_state(3, rng=np.random.default_rng(5))))
        assert np.array_equal(*states)


# --------------------------------------------------------------------------------------------- gradients


@cases
def test_gradients_by_parameters_and_by_state(case: Case, precision: str, device: str) -> None:
    initial, targets, guess = arguments(case)
    legacy, phiml = (
        rollout_gradients(case.model(s, precision, device), initial, targets, guess) for s in SIDES
    )
    assert_equivalent(legacy[0], phiml[0], "loss", precision=precision)
    assert_equivalent(legacy[1], phiml[1], "parameter gradient")
    assert_equivalent(legacy[2], phiml[2], "state gradient")


def slope(
    model: Any,
    initial: NDArray[Any],
    targets: NDArray[Any],
    values: Mapping[str, NDArray[Any]],
    name: str,
    direction: NDArray[Any],
) -> float:
    """The derivative of the rollout loss along one direction, by central differences of two widths.

    The two are combined so that the error is of fourth order.  `name` is a parameter, or `state`.
    """

    def loss(step: float) -> float:
        start = initial + step * direction if name == "state" else initial
        moved = {n: np.asarray(v) + (step * direction if n == name else 0.0) for n, v in values.items()}
        model.assign(moved)
        error = model.predict(start, WINDOW)[:, :, 1:] - targets
        return float(np.mean(error[:, list(model.layout.indices(model.layout.dynamic))] ** 2))

    h = 1e-4  # wider ones would reach points where a departure point changes cells and the gradient jumps
    narrow, wide = ((loss(w) - loss(-w)) / (2 * w) for w in (h, 2 * h))
    return (4.0 * narrow - wide) / 3.0


@pytest.mark.parametrize("side", SIDES)
@parametrised([c for c in CASES if c.rank < 3])
def test_gradients_are_those_of_central_differences(side: str, case: Case, rng: np.random.Generator) -> None:
    initial, targets, guess = arguments(case, batch=1)
    model = case.model(side)
    _, by_parameter, by_state = rollout_gradients(model, initial, targets, guess)
    for name, value in guess.items():
        direction = 0.25 * np.abs(value).max() * rng.standard_normal(value.shape)
        expected = slope(model, initial, targets, guess, name, direction)
        assert_equivalent(expected, float(np.sum(by_parameter[name] * direction)), "central differences")
    direction = 0.01 * rng.standard_normal(initial.shape)
    expected = slope(model, initial, targets, guess, "state", direction)
    assert_equivalent(expected, float(np.sum(by_state * direction)), "central differences")


def diffusivity(case: Case) -> str:
    """The first parameter of which faces take the smaller of two values; none: an empty name."""
    return next((p.name for p in case.facts.parameters if p.diffusive and case.is_field(p.name)), "")


TIES = [c for c in CASES if diffusivity(c)]


def uniform(case: Case) -> dict[str, NDArray[np.float64]]:
    """A guess at which every face lies between two equal coefficients, where the smaller one has no slope."""
    values = {name: np.asarray(v) for name, v in case.parameters().items()}
    return {**values, diffusivity(case): np.full(case.grid.resolution, 0.3 * case.limit)}


@parametrised(TIES)
def test_at_a_uniform_coefficient_the_gradients_agree_and_do_not_vanish(case: Case) -> None:
    initial, targets, _ = arguments(case)
    legacy, phiml = (rollout_gradients(case.model(s), initial, targets, uniform(case)) for s in SIDES)
    assert_equivalent(legacy[1], phiml[1], "parameter gradient")
    assert np.count_nonzero(legacy[1][diffusivity(case)]) > 0.9 * case.grid.cells


@pytest.mark.parametrize("side", SIDES)
@parametrised([c for c in TIES if c.rank < 3])
def test_at_a_uniform_coefficient_the_gradient_is_the_mean_of_both_sides_of_the_kink(
    side: str, case: Case
) -> None:
    """Central differences of a kinked function average its two slopes, as half a gradient to each cell does.

    Along a single cell, where all faces of the cell turn at once.
    """
    initial, targets, _ = arguments(case, batch=1)
    model, guess = case.model(side), uniform(case)
    _, by_parameter, _ = rollout_gradients(model, initial, targets, guess)
    direction = np.zeros(case.grid.resolution)
    direction[tuple(n // 2 for n in case.grid.resolution)] = 0.01 * case.limit
    expected = slope(model, initial, targets, guess, diffusivity(case), direction)
    found = float(np.sum(by_parameter[diffusivity(case)] * direction))
    assert_equivalent(expected, found, "central differences at a kink")


def objective_of(model: Any, targets: NDArray[Any]) -> Compiled:
    """The rollout loss of a phiml model with its gradient by the parameters, compiled."""

    def loss(parameters: Mapping[str, Any], state: Any, wanted: Any) -> Any:
        error = model.rollout(state, WINDOW, parameters).time[1:] - wanted
        return math.mean(error * error, error.shape)

    return Compiled(loss, model.arrays.compute, gradient_of="parameters")


def gradients_of_calls(case: Case, calls: int) -> list[NDArray[np.float64]]:
    """The gradient at a uniform coefficient, from one compiled function called again and again."""
    initial, targets, _ = arguments(case)
    model = case.model("phiml", kernels="phiflow")
    arrays, objective = model.arrays, objective_of(model, targets)
    native = {name: arrays.parameter(v) for name, v in uniform(case).items()}
    results = [objective(native, arrays.state(initial), arrays.trajectory(targets)) for _ in range(calls)]
    assert objective.traces == 1
    return [arrays.numpy(gradient[diffusivity(case)]) for _, gradient in results]


def legacy_gradient(case: Case) -> NDArray[np.float64]:
    """The same by plain PyTorch."""
    initial, targets, _ = arguments(case)
    return rollout_gradients(case.model("legacy"), initial, targets, uniform(case))[1][diffusivity(case)]


@parametrised(TIES)
def test_the_gradient_is_the_same_in_every_call_of_a_trace(case: Case) -> None:
    """TorchScript's optimiser, left on, would make that of a minimum zero at ties from the third call on."""
    for gradient in gradients_of_calls(case, 6):
        assert_equivalent(legacy_gradient(case), gradient, "parameter gradient")


# ------------------------------------------------------------------------------------------------ traces


@cases
def test_steps_and_rollouts_are_compiled_once_per_shape(case: Case) -> None:
    model = case.model("phiml", kernels="phiflow")
    arrays = model.arrays
    state = arrays.state(case.states(2))
    for _ in range(3):
        state = model.step(state)
    assert model.compiled_step.traces == 1
    model.rollout(state, 4)
    model.rollout(arrays.state(case.states(2, seed=1)), 6)
    model.assign({name: 0.5 * np.asarray(v) for name, v in case.parameters().items()})
    model.step(state)
    model.step(state, {name: arrays.parameter(0.9 * np.asarray(v)) for name, v in case.parameters().items()})
    model.predict(case.states(2), 3)
    assert model.compiled_step.traces == 1
    model.step(arrays.state(case.states(3)))
    model.step(arrays.state(case.states(2)))
    assert model.compiled_step.traces == 2


def batch_of(model: Any, case: Case, size: int) -> Batch:
    """Windows of a size."""
    trajectory = frames(case, size)
    initial, targets = np.ascontiguousarray(trajectory[:, :, 0]), trajectory[:, :, 1:]
    return Batch(model.arrays.state(initial), model.arrays.trajectory(targets), size)


@pytest.mark.parametrize("name", ["burgers-1d-field-periodic", "burgers-2d-scalar-zero"])
def test_the_objective_of_a_fit_is_compiled_once_per_shape(name: str) -> None:
    case = BY_NAME[name]
    model = case.model("phiml", kernels="phiflow")
    trainer = implementation("phiml", "physical_trainer")(
        model, bounds={"diffusion_coeff": (0.0, case.limit)}
    )
    for share in (0.3, 0.5, 0.6):
        values = {"diffusion_coeff": share * np.asarray(case.value("diffusion_coeff"))}
        trainer.loss_and_gradients(batch_of(model, case, 3), values)
        model.assign(values)
        trainer.loss(batch_of(model, case, 3))
    assert (trainer.compiled_gradient.traces, trainer.compiled_loss.traces) == (1, 1)
    trainer.loss_and_gradients(batch_of(model, case, 2), values)
    trainer.loss_and_gradients(batch_of(model, case, 3), values)
    trainer.loss(batch_of(model, case, 2))
    assert (trainer.compiled_gradient.traces, trainer.compiled_loss.traces) == (2, 2)
    assert model.compiled_step.traces == 0  # the step was traced as a part of the objective
