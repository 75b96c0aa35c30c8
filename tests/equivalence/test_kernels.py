"""Fused kernels against the plain PyTorch of legacy mode: steps, rollouts, gradients, trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from hyco.compat.adapters import adapt
from hyco.interfaces import Batch
from hyco.kernels import rollout as rollouts
from hyco.kernels.autograd import objective, rollout
from hyco.kernels.equations import KERNELS, PARTS
from hyco.kernels.rollout import Gradients, Rollout
from hyco.legacy import stencils
from hyco.legacy.losses import rollout_loss
from hyco.problem.equation import diffusion_limit
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from hyco.testing.cases import BY_NAME, CASES, Case
from hyco.testing.tolerances import tolerance
from tests.sides import arrays_of, box, implementation

DT, SUBSTEPS, STEPS = 1.3, 5, 3
TYPES = {"float32": torch.float32, "float64": torch.float64}
CELLS = [(9,), (8, 7), (6, 5, 4), (1,), (1, 5), (5, 1), (40, 6)]
ROLES = {equation: next(iter(parts.parameters)) for equation, parts in PARTS.items()}
UNITS = {"advection": 1.0, "inviscid_burgers": 2.0}  # of parameters; others are diffusivities


def kinds(equation: str) -> tuple[str, ...]:
    """What a parameter may be."""
    return ("field",) if ROLES[equation] == "potential" else ("scalar", "field")


@dataclass(frozen=True)
class Problem:
    """Random states and a parameter of one equation; departure points are many cells away.

    Of a field of parameters every other value is the same, so that there are ties and none.

    `crossed`: about how many cells a wind crosses in a step, where that is given; `smooth`: whether it varies
    slowly from cell to cell, so that neighbours come from neighbours.
    """

    equation: str
    cells: tuple[int, ...]
    boundary: Boundary
    kind: str
    batch: int = 3
    precision: str = "float64"
    seed: int = 0
    crossed: float | None = None
    smooth: bool = False

    @property
    def grid(self) -> Grid:
        return box(*self.cells)

    @property
    def components(self) -> int:
        return {"heat": 1, "advection": 1 + self.grid.rank}.get(self.equation, self.grid.rank)

    def values(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The initial state and the parameter, which ask for gradients."""
        rng = torch.Generator().manual_seed(self.seed)
        kind = {"generator": rng, "dtype": TYPES[self.precision]}
        initial = 2.0 * torch.randn((self.batch, self.components, *self.cells), **kind)
        for axis in range(2, initial.ndim) if self.smooth else ():
            for _ in range(8):
                initial = (initial + initial.roll(1, axis) + initial.roll(-1, axis)) / 3.0
        if self.crossed is not None:
            initial *= self.crossed * min(self.grid.spacing) / DT / initial.abs().amax()
        unit = UNITS.get(self.equation, diffusion_limit(self.grid, DT, SUBSTEPS))
        parameter = torch.rand(self.cells if self.kind == "field" else (), **kind) * unit
        if self.kind == "field":
            parameter.view(-1)[::2] = parameter.view(-1)[0]
        return initial.requires_grad_(), parameter.requires_grad_()

    @property
    def kernel(self) -> Rollout:
        parts = PARTS[self.equation]
        return Rollout(
            self.cells,
            self.grid.spacing,
            DT,
            moved=self.grid.rank if parts.moved == "velocity" else 1,
            boundary=self.boundary,
            wind=None if parts.wind is None else int(parts.moved != "velocity"),
            scaled=parts.factor is not None,
            substeps=SUBSTEPS if parts.diffusivity else 0,
        )

    def fused(self, initial: torch.Tensor, parameter: torch.Tensor, steps: int = STEPS) -> torch.Tensor:
        return rollout(self.kernel, initial, steps, **{ROLES[self.equation]: parameter})

    def plain(self, initial: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        frames = [initial]
        for _ in range(STEPS):
            frames.append(self._step(frames[-1], parameter))
        return torch.stack(frames, dim=2)

    def _step(self, state: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        on = self.grid, self.boundary
        if self.equation == "advection":
            carried = stencils.advect(state[:, :1], parameter * state[:, 1:], DT, *on)
            return torch.cat([carried, state[:, 1:]], dim=1)
        carried = state if self.equation == "heat" else stencils.advect(state, state, DT, *on)
        if self.equation == "inviscid_burgers":
            return carried - DT * stencils.gradient(parameter, *on)
        return stencils.diffuse(carried, parameter, DT, *on, substeps=SUBSTEPS)


def gradients(problem: Problem, made: torch.Tensor, *by: torch.Tensor) -> list[torch.Tensor]:
    """Those of a sum with random weights, so that every entry of a trajectory counts differently."""
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(1), dtype=made.dtype)
    return list(torch.autograd.grad((made * weights).sum(), by))


def equal(expected: torch.Tensor, found: torch.Tensor, quantity: str) -> None:
    """Equivalent; a single number needs no more than that."""
    a, b = (np.atleast_1d(t.detach().numpy()) for t in (expected, found))
    assert a.shape == b.shape and a.dtype == b.dtype
    if a.size == 1 or np.ptp(a) == 0.0:  # nothing to tell apart by its entries
        assert np.allclose(a, b, rtol=tolerance(quantity, str(a.dtype)).rtol, atol=0.0)
    else:
        assert_equivalent(a, b, quantity)


PROBLEMS = [
    Problem(equation, cells, boundary, kind, batch, precision, seed)
    for seed, (equation, cells, boundary, kind, batch, precision) in enumerate(
        product(PARTS, CELLS, BOUNDARIES, ("scalar", "field"), (1, 3), TYPES)
    )
    if kind in kinds(equation)
]


@pytest.mark.parametrize("equation", PARTS)
@pytest.mark.parametrize("cells", CELLS, ids=str)
def test_rollouts_and_gradients_are_legacys(equation: str, cells: tuple[int, ...]) -> None:
    chosen = [p for p in PROBLEMS if (p.equation, p.cells) == (equation, cells)]
    assert len(chosen) == 12 * len(kinds(equation))
    for problem in chosen:
        inputs = problem.values()
        expected, found = problem.plain(*inputs), problem.fused(*inputs)
        equal(expected, found, "fused steps")
        for one, other in zip(*(gradients(problem, t, *inputs) for t in (expected, found)), strict=True):
            equal(one, other, "fused gradient")


REMAINDERS = [(33,), (150,), (65, 33), (7, 33), (20, 150), (9, 7, 33)]


@pytest.mark.parametrize("cells", REMAINDERS, ids=str)
@pytest.mark.parametrize("equation", ["burgers", "advection"])
def test_winds_of_all_speeds_carry_to_the_last_bit_as_legacys_do(
    equation: str, cells: tuple[int, ...]
) -> None:
    """Departure points near and far, within chunks of a row alike or not, rows of odd lengths."""
    speeds = (0.1, 0.7, 3.0, 20.0)
    for boundary, crossed, smooth, precision in product(BOUNDARIES, speeds, (True, False), TYPES):
        problem = Problem(equation, cells, boundary, "field", 2, precision, 0, crossed, smooth)
        with torch.no_grad():
            inputs = problem.values()
            expected, found = problem.plain(*inputs), problem.fused(*inputs)
        assert torch.equal(expected, found), problem


@pytest.mark.parametrize("cells", [(33,), (5, 66)], ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_uniform_winds_of_every_length_carry_as_legacys_do(
    cells: tuple[int, ...], boundary: Boundary
) -> None:
    """Departure points at every distance from the ends of a row, within what is kept beyond them or not."""
    problem = Problem("advection", cells, boundary, "scalar", 1)
    initial, _ = problem.values()
    for crossed in np.arange(-40.3, 41.0, 0.7):
        state = initial.detach().clone()
        state[:, 1:] = crossed * min(problem.grid.spacing) / DT
        inputs = state.requires_grad_(), torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        expected, found = problem.plain(*inputs), problem.fused(*inputs)
        assert torch.equal(expected, found), crossed
        for one, other in zip(*(gradients(problem, t, *inputs) for t in (expected, found)), strict=True):
            equal(one, other, "fused gradient")


@pytest.mark.parametrize("cells", REMAINDERS, ids=str)
@pytest.mark.parametrize("equation", ["burgers", "advection"])
def test_winds_of_all_speeds_have_legacys_gradients(equation: str, cells: tuple[int, ...]) -> None:
    for boundary, crossed, smooth in product(BOUNDARIES, (0.7, 3.0, 20.0), (True, False)):
        problem = Problem(equation, cells, boundary, "field", 2, "float64", 0, crossed, smooth)
        inputs = problem.values()
        expected, found = problem.plain(*inputs), problem.fused(*inputs)
        for one, other in zip(*(gradients(problem, t, *inputs) for t in (expected, found)), strict=True):
            equal(one, other, "fused gradient")


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_at_a_uniform_coefficient_each_cell_has_half_of_the_gradient(boundary: Boundary) -> None:
    problem = Problem("burgers", (8, 7), boundary, "field")
    initial, _ = problem.values()
    uniform = torch.full((8, 7), 0.01, dtype=torch.float64, requires_grad=True)
    expected, found = (
        gradients(problem, made(initial, uniform), uniform)[0] for made in (problem.plain, problem.fused)
    )
    equal(expected, found, "fused gradient")
    assert np.count_nonzero(found.numpy()) == found.numel()


@pytest.mark.parametrize("equation", PARTS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_tiles_and_threads_change_no_bit(
    equation: str, boundary: Boundary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are shared out among the threads, a member's or whole members, as where grids are large."""
    for batch in (1, 2, 11):
        problem = Problem(equation, (61, 9), boundary, "field", batch)
        inputs = problem.values()
        seen = []
        for threads in (1, 2, 3):
            monkeypatch.setattr(rollouts, "WORTH_A_THREAD", 1)
            monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
            made = problem.fused(*inputs)
            loss, slope = objective_of(problem, *windows_of(problem))
            seen.append([made, *gradients(problem, made, *inputs), torch.tensor(loss), slope])
        for other in seen[1:]:
            for one, again in zip(seen[0], other, strict=True):
                assert torch.equal(one, again)
        equal(problem.plain(*inputs), seen[0][0], "fused steps")


def test_a_grid_that_does_not_fit_the_cache_is_the_same() -> None:
    """Tiles of fewer rows than the grid has, for which neighbouring rows are computed twice."""
    for boundary in BOUNDARIES:
        problem = Problem("burgers", (90, 800), boundary, "field", 1)
        inputs = problem.values()
        expected, found = problem.plain(*inputs), problem.fused(*inputs)
        equal(expected, found, "fused steps")
        for one, other in zip(*(gradients(problem, t, *inputs) for t in (expected, found)), strict=True):
            equal(one, other, "fused gradient")


@pytest.mark.parametrize("equation", PARTS)
def test_gradients_are_those_of_central_differences(equation: str, rng: np.random.Generator) -> None:
    problem = Problem(equation, (8, 7), "periodic", "field", 1)
    initial, _ = problem.values()
    parameter = torch.from_numpy(rng.uniform(0.2, 1.0, (8, 7)) * UNITS.get(equation, 0.02))
    inputs = (0.2 * initial.detach()).requires_grad_(), parameter.requires_grad_()
    found = gradients(problem, problem.fused(*inputs), *inputs)
    weights = torch.randn(
        (1, problem.components, STEPS + 1, 8, 7),
        generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
    )
    for which, gradient in enumerate(found):
        direction = torch.from_numpy(rng.standard_normal(gradient.shape)) * (0.01 if which else 0.1)

        def value(
            step: float, number: int = which, along: torch.Tensor = direction, of: Any = inputs
        ) -> float:
            moved = [t.detach() + (step * along if i == number else 0.0) for i, t in enumerate(of)]
            return float((problem.fused(*moved) * weights).sum())

        h = 1e-5
        slope = (value(h) - value(-h)) / (2 * h)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


@pytest.mark.parametrize("cells", [(9,), (8, 7), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_all_that_a_step_can_have_at_once(cells: tuple[int, ...], boundary: Boundary) -> None:
    """A wind with a factor, a potential, and diffusion, which no equation has together."""
    problem = Problem("burgers", cells, boundary, "field")
    kernel = replace(problem.kernel, scaled=True)
    given = problem.values()
    factor, potential = (
        torch.rand(cells, generator=torch.Generator().manual_seed(n), dtype=torch.float64).requires_grad_()
        for n in (7, 8)
    )
    inputs = *given, factor, potential
    frames, on = [given[0]], (problem.grid, boundary)
    for _ in range(STEPS):
        carried = stencils.advect(frames[-1], factor * frames[-1], DT, *on)
        pushed = carried - DT * stencils.gradient(potential, *on)
        frames.append(stencils.diffuse(pushed, given[1], DT, *on, substeps=SUBSTEPS))
    expected = torch.stack(frames, dim=2)
    found = rollout(kernel, given[0], STEPS, coefficient=given[1], factor=factor, potential=potential)
    equal(expected, found, "fused steps")
    for one, other in zip(*(gradients(problem, t, *inputs) for t in (expected, found)), strict=True):
        equal(one, other, "fused gradient")


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_gradient_by_a_potential_alone(boundary: Boundary) -> None:
    """For which the adjoint goes back to the first step, but not to the first state."""
    problem = Problem("burgers", (8, 7), boundary, "field")
    state, coefficient = problem.values()
    potential = torch.rand((8, 7), generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    found = []
    for others in ((state, coefficient), (state.detach(), coefficient.detach())):
        by = potential.clone().requires_grad_()
        made = rollout(problem.kernel, others[0], STEPS, coefficient=others[1], potential=by)
        found += gradients(problem, made, by)
    assert torch.equal(*found)


def test_a_potential_needs_what_it_pushes() -> None:
    kernel = replace(Problem("burgers", (8, 7), "zero", "field").kernel, wind=None)
    state, number = torch.ones(1, 2, 8, 7), torch.tensor(0.1)
    with pytest.raises(ValueError, match="a potential pushes what a wind carries"):
        rollout(kernel, state, 1, coefficient=number, potential=torch.ones(8, 7))


# ---------------------------------------------------------------------------------------------- objectives


def windows_of(problem: Problem, weighted: bool = False) -> tuple[Any, ...]:
    """Initial states, targets of another flow, weights of which some are 0 or None, and a parameter."""
    initial, parameter = problem.values()
    with torch.no_grad():
        targets = problem.fused(1.1 * initial, 0.7 * parameter)[:, :, 1:]
    rng = torch.Generator().manual_seed(5)
    shape = (problem.batch, STEPS, *problem.cells)
    weights = torch.rand(shape, generator=rng, dtype=initial.dtype) * (torch.rand(shape, generator=rng) < 0.6)
    return initial.detach(), targets, weights / weights.sum() if weighted else None, parameter


def objective_of(
    problem: Problem, initial: Any, targets: Any, weights: Any, parameter: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """The loss and its gradient by the parameter, from compiled loops alone."""
    name = ROLES[problem.equation]
    loss, found = objective(
        problem.kernel,
        initial,
        targets,
        None if weights is None else weights.numpy(),
        **{name: parameter.detach().numpy(), f"by_{name}": True},
    )
    assert found.initial is None
    return loss, torch.from_numpy(getattr(found, name))


def plain_objective(
    problem: Problem, initial: Any, targets: Any, weights: Any, parameter: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """The same by automatic differentiation."""
    made = problem.plain(initial, parameter)
    layout = BY_NAME[f"{problem.equation}-{len(problem.cells)}d-field-periodic"].layout
    loss = rollout_loss(made, targets, layout, weights)
    return loss.item(), torch.autograd.grad(loss, parameter)[0]


@pytest.mark.parametrize("equation", PARTS)
@pytest.mark.parametrize("cells", [(9,), (8, 7), (6, 5, 4), (5, 1), (20, 70)], ids=str)
def test_objectives_are_legacys(equation: str, cells: tuple[int, ...]) -> None:
    for boundary, kind, weighted, batch in product(BOUNDARIES, kinds(equation), (True, False), (1, 11)):
        problem = Problem(equation, cells, boundary, kind, batch)
        windows = windows_of(problem, weighted)
        one, other = plain_objective(problem, *windows), objective_of(problem, *windows)
        assert other[0] == pytest.approx(one[0], rel=tolerance("loss", "float64").rtol)
        equal(one[1], other[1], "fused gradient")


def test_objectives_in_single_precision_are_legacys() -> None:
    for equation, weighted in product(PARTS, (True, False)):
        problem = Problem(equation, (20, 70), "periodic", "field", 3, "float32", 3, 1.0, True)
        windows = windows_of(problem, weighted)
        one, other = plain_objective(problem, *windows), objective_of(problem, *windows)
        assert other[1].dtype == torch.float32
        assert other[0] == pytest.approx(one[0], rel=tolerance("loss", "float32").rtol)
        equal(one[1], other[1], "fused gradient")


@pytest.mark.parametrize("equation", PARTS)
@pytest.mark.parametrize("weighted", [True, False])
def test_objectives_have_the_slopes_of_central_differences(equation: str, weighted: bool) -> None:
    problem = Problem(equation, (8, 7), "periodic", "field", 2, "float64", 0, 0.8, True)
    initial, targets, weights, parameter = windows_of(problem, weighted)
    rng = torch.Generator().manual_seed(3)
    parameter = parameter.detach() * (0.5 + 0.5 * torch.rand((8, 7), generator=rng, dtype=torch.float64))
    direction = parameter * torch.rand((8, 7), generator=rng, dtype=torch.float64)
    _, found = objective_of(problem, initial, targets, weights, parameter)
    h = 1e-4

    def value(step: float) -> float:
        return objective_of(problem, initial, targets, weights, parameter + step * direction)[0]

    assert (value(h) - value(-h)) / (2 * h) == pytest.approx(float((found * direction).sum()), rel=1e-6)


@pytest.mark.parametrize("equation", PARTS)
def test_windows_that_overlap_in_memory_are_read_where_they_are(equation: str) -> None:
    """As a dataset cuts them out of one block of trajectories: nothing is copied, no bit differs."""
    problem = Problem(equation, (8, 7), "periodic", "field", 1)
    initial, parameter = (t.detach() for t in problem.values())
    block = problem.fused(initial, parameter, steps=9)[0]
    components, frames, cells = block.shape[0], block.shape[1], block[0, 0].numel()
    strides = (cells, frames * cells, cells, 7, 1)
    cut = block.as_strided((6, components, STEPS + 1, 8, 7), strides)
    views = cut[:, :, 0], cut[:, :, 1:]
    copies = tuple(view.clone(memory_format=torch.contiguous_format) for view in views)
    for view in views:
        line, _ = rollouts._flat(view.numpy(), 2)
        assert np.shares_memory(line, block.numpy())
    one, other = (objective_of(problem, *given, None, 0.8 * parameter) for given in (views, copies))
    assert one[0] == other[0] and torch.equal(one[1], other[1])
    turned = tuple(view.transpose(-1, -2).contiguous().transpose(-1, -2) for view in copies)
    again = objective_of(problem, *turned, None, 0.8 * parameter)
    assert again[0] == other[0] and torch.equal(again[1], other[1])


def test_a_loss_alone_is_the_loss_that_comes_with_gradients() -> None:
    for equation in PARTS:
        problem = Problem(equation, (8, 7), "zero", "field", 11)
        initial, targets, _, parameter = windows_of(problem)
        name = ROLES[equation]
        loss, found = objective(problem.kernel, initial, targets, **{name: parameter.detach().numpy()})
        assert found == Gradients()
        assert loss == objective_of(problem, initial, targets, None, parameter)[0]


def test_only_the_gradients_that_are_asked_for_are_made() -> None:
    problem = Problem("burgers", (8, 7), "zero", "field")
    initial, parameter = problem.values()
    both = gradients(problem, problem.fused(initial, parameter), initial, parameter)
    by_state = gradients(problem, problem.fused(initial, parameter.detach()), initial)
    by_parameter = gradients(problem, problem.fused(initial.detach(), parameter), parameter)
    assert torch.equal(both[0], by_state[0]) and torch.equal(both[1], by_parameter[0])
    with torch.no_grad():
        assert not problem.fused(initial, parameter).requires_grad
    assert not problem.fused(initial.detach(), parameter.detach()).requires_grad


def test_the_layout_in_memory_and_no_steps_change_nothing() -> None:
    problem = Problem("burgers", (8, 7), "periodic", "field")
    initial, parameter = problem.values()
    strided = initial.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    turned = parameter.detach().t().contiguous().t()
    assert not strided.is_contiguous() and not turned.is_contiguous()
    assert torch.equal(problem.fused(strided, turned), problem.fused(initial, parameter))
    assert torch.equal(problem.fused(initial, parameter, steps=0)[:, :, 0], initial)
    made = problem.fused(initial, parameter, steps=0)
    assert torch.equal(torch.autograd.grad(made.sum(), initial)[0], torch.ones_like(initial))


def test_what_is_not_finite_or_absurdly_far_stays_within_memory_and_shows() -> None:
    for boundary in BOUNDARIES:
        problem = Problem("burgers", (8, 7), boundary, "scalar", 1)
        initial, parameter = problem.values()
        for bad in (float("nan"), float("inf"), -float("inf"), 1e300):
            state = initial.detach().clone()
            state[0, 0, 3, 3] = bad
            made = problem.fused(state.requires_grad_(), parameter)
            assert not np.isfinite(made.detach().numpy()[:, :, 1:]).all() or bad == 1e300
            made.sum().backward()


# ---------------------------------------------------------------------------------------------- phiml mode

FUSED = [c for c in CASES if c.equation in KERNELS]


def batch_of(model: Any, case: Case) -> Batch:
    """Windows of another flow than the model's."""
    frames = case.model("legacy").predict(case.states(3, seed=1), 3)
    initial = np.ascontiguousarray(1.1 * frames[:, :, 0])
    return Batch(model.arrays.state(initial), model.arrays.trajectory(frames[:, :, 1:]), 3)


def fit(model: Any, side: str, case: Case, **changes: Any) -> tuple[float, Mapping[str, Any], float]:
    """Loss and gradients of a physical trainer at a guess, and the loss with the parameters in force."""
    names = [p.name for p in case.facts.parameters]
    trainer = implementation(side, "physical_trainer")(model, bounds=dict.fromkeys(names, (0.0, 9.0)))
    batch = batch_of(model, case)
    guess = {n: 0.7 * np.asarray(case.value(n)) for n in names}
    loss, found = trainer.loss_and_gradients(batch, guess)
    return loss, found, float(trainer.loss(batch))


@pytest.mark.parametrize("case", FUSED, ids=lambda c: c.name)
def test_a_model_steps_and_learns_as_legacys_does(case: Case, precision: str) -> None:
    legacy, fused = (case.model(side, precision) for side in ("legacy", "phiml"))
    assert fused.fused
    states = case.states(2).astype(precision)
    flow = case.equation == "navier_stokes"
    steps = "fused flow" if flow else "fused steps"
    assert_equivalent(legacy.predict(states, 6), fused.predict(states, 6), steps)
    one, other = fit(legacy, "legacy", case), fit(fused, "phiml", case)
    loss = "fused flow" if flow else "loss"
    assert_equivalent([one[0], one[2]], [other[0], other[2]], loss, precision=precision)
    for name, gradient in one[1].items():
        assert other[1][name].dtype == np.float64
        if gradient.ndim:
            slope = "fused flow gradient" if flow else "parameter gradient"
            assert_equivalent(gradient, other[1][name], slope, precision=precision)
    assert fused.compiled_step.traces == 0


@pytest.mark.parametrize(
    "name",
    [
        "burgers-2d-field-periodic",
        "heat-3d-scalar-zero",
        "advection-1d-field-zero",
        "gray_scott-2d-field-periodic",
        "inviscid_burgers-2d-field-periodic",
        "navier_stokes-2d-field-periodic",
    ],
)
def test_a_model_learns_as_phiflow_does(name: str) -> None:
    case = BY_NAME[name]
    one, other = (fit(case.model("phiml", kernels=k), "phiml", case) for k in ("phiflow", "fused"))
    assert_equivalent([one[0], one[2]], [other[0], other[2]], "loss")
    for parameter, gradient in one[1].items():
        assert np.allclose(gradient, other[1][parameter], rtol=1e-12, atol=1e-13 * np.abs(gradient).max())


@pytest.mark.parametrize(
    "name", ["burgers-2d-field-periodic", "advection-2d-scalar-zero", "gray_scott-2d-field-periodic"]
)
def test_a_legacy_trainer_learns_by_a_fused_model(name: str) -> None:
    case = BY_NAME[name]
    fused = case.model("phiml", kernels="fused")
    seen = adapt(fused, "legacy", lambda side: arrays_of(side, case.layout))
    one, other = fit(case.model("legacy"), "legacy", case), fit(seen, "legacy", case)
    assert_equivalent([one[0], one[2]], [other[0], other[2]], "loss")
    for parameter, gradient in one[1].items():
        assert np.allclose(gradient, other[1][parameter], rtol=1e-12, atol=1e-13 * np.abs(gradient).max())
    assert fused.compiled_step.traces == 0
