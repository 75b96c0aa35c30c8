"""The inviscid Burgers equation with a potential force against exact solutions, on each side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import ConfigError
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from hyco.testing.cases import CASES as ALL
from hyco.testing.cases import Case
from tests.sides import box, implementation

Array = NDArray[np.float64]
CASES = [c for c in ALL if c.equation == "inviscid_burgers"]
STEPS = 6
GRIDS = (box(16), box(14, 12), box(11, 10, 9))
ranks = pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.rank}d")
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)
cases = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def flow(side: str, grid: Grid, dt: float, potential: Any, boundary: Boundary, **options: Any) -> Any:
    """A model in double precision on the CPU, unless told otherwise."""
    cls = implementation(side, "physical_model", "inviscid_burgers")
    settings: dict[str, Any] = {"device": "cpu", "precision": "float64", **options}
    return cls(grid, dt, {"potential": potential}, boundaries={"velocity": boundary}, **settings)


def inner(grid: Grid, margin: int) -> tuple[slice, ...]:
    """All cells that are at least `margin` cells away from the ends, in a trajectory (axis, time, *space)."""
    return (slice(None), slice(None), *(slice(margin, n - margin) for n in grid.resolution))


# ---------------------------------------------------------------------------------------- without a force


def plane_wave(phase: Array, speed: float, time: float) -> Array:
    """f(s, t) = sin(s - speed f t): what the characteristics carry before they meet at t = 1 / speed."""
    found = np.sin(phase)
    for _ in range(60):  # Newton's method; the derivative stays above 1 - speed t
        residual = found - np.sin(phase - speed * found * time)
        found = found - residual / (1.0 + speed * time * np.cos(phase - speed * found * time))
    assert np.abs(found - np.sin(phase - speed * found * time)).max() < 1e-14
    return found


def error_of_a_plane_wave(side: str, rank: int, scale: int, device: str) -> float:
    """Relative L2 error when u = a f(k . x) is halfway to its shock, and 1.8 times as steep as at first."""
    grid = box(*(n * scale for n in (8, 6, 5)[:rank]))
    waves = 2 * np.pi * np.array([1.0, -1.0, 1.0])[:rank] / grid.size
    direction = np.array([1.0, 0.3, 0.8])[:rank]
    speed = float(waves @ direction)  # of the phase, where f is 1
    time, steps = 0.5 / speed, 2 * scale
    terms = zip(waves, grid.coordinates().values(), strict=True)
    phase = np.broadcast_to(sum(k * x for k, x in terms), grid.resolution)
    shape = (-1, *(1,) * rank)
    start, exact = (direction.reshape(shape) * plane_wave(phase, speed, t) for t in (0.0, time))
    model = flow(side, grid, time / steps, np.zeros(grid.resolution), "periodic", device=device)
    found = model.predict(start[None], steps)[0, :, -1]
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_before_the_shock_the_characteristics_are_followed_at_first_order(
    side: str, rank: int, device: str
) -> None:
    scales = (4, 8, 16) if rank < 3 else (2, 3, 5)
    errors = [error_of_a_plane_wave(side, rank, scale, device) for scale in scales]
    order = -np.polyfit(np.log(scales), np.log(errors), 1)[0]
    assert 0.8 < order < 1.15, (errors, order)
    assert errors[-1] < 0.1, errors


@cases
def test_no_velocity_leaves_the_range_of_the_first_frame_without_a_force(side: str, case: Case) -> None:
    """Not even when shocks have formed; beside zero boundaries 0 belongs to the range."""
    state = 3.0 * case.states(2)
    model = case.model(side)
    model.assign({"potential": np.full(case.grid.resolution, 0.7)})
    frames = model.predict(state, STEPS)
    space = tuple(range(2, state.ndim))
    low, high = state.min(axis=space), state.max(axis=space)
    if case.boundary == "zero":
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    later = frames.reshape(*frames.shape[:2], -1)
    assert np.all(later.min(-1) > low - 1e-13)
    assert np.all(later.max(-1) < high + 1e-13)
    assert np.abs(frames[:, :, -1]).max() < 0.95 * np.abs(state).max()


# ------------------------------------------------------------------------------------------ with a force


@ranks
def test_a_linear_potential_speeds_the_inside_of_an_open_box_up_uniformly(side: str, grid: Grid) -> None:
    """u = u0 - g t, apart from what the ends send in, where the ghosts halve the force."""
    slopes, dt, steps = np.array([0.04, -0.07, 0.05])[: grid.rank], 0.5, 4
    terms = zip(slopes, grid.coordinates().values(), strict=True)
    potential = np.broadcast_to(sum(g * x for g, x in terms), grid.resolution) + 3.0
    shape = (-1, 1, *(1,) * grid.rank)
    wind = np.array([0.1, 0.2, -0.1])[: grid.rank].reshape(shape)
    start = np.broadcast_to(wind[:, 0], (grid.rank, *grid.resolution))
    frames = flow(side, grid, dt, potential, "zero-gradient").predict(start[None].copy(), steps)[0]
    times = dt * np.arange(steps + 1).reshape(1, -1, *(1,) * grid.rank)
    uniform = np.broadcast_to(wind - slopes.reshape(shape) * times, frames.shape)
    reach = inner(grid, steps)
    assert_equivalent(uniform[reach], frames[reach], "exact discrete solution")
    for axis, g in enumerate(slopes):
        ends = np.take(frames[axis, 1], [0, -1], axis)
        assert np.abs(ends - (wind.ravel()[axis] - 0.5 * g * dt)).max() < 1e-15


def stretched(side: str, grid: Grid, rates: Array, time: float, steps: int) -> tuple[Array, Array]:
    """Still air that phi = -(rates . (x - middle))^2 / 2 drives out of the box: frames, and x - middle."""
    mesh = np.meshgrid(*grid.coordinates().values(), indexing="ij")
    shape = (-1, *(1,) * grid.rank)
    places = np.stack(mesh) - np.reshape(grid.size, shape) * 0.4
    potential = -0.5 * np.sum((rates.reshape(shape) * places) ** 2, axis=0)
    model = flow(side, grid, time / steps, potential, "zero-gradient")
    return model.predict(np.zeros_like(places)[None], steps)[0], places[:, None]


@ranks
def test_a_parabolic_hill_stretches_the_air_by_the_discrete_rate(side: str, grid: Grid) -> None:
    """u = s (x - middle) with s' = s + dt (w^2 - s^2), s = 0 at first; only the end cells differ."""
    rates, time, steps = np.array([0.5, 0.8, 0.3])[: grid.rank], 3.0, 6
    frames, places = stretched(side, grid, rates, time, steps)
    s, growth = np.zeros_like(rates), []
    for _ in range(steps + 1):
        growth.append(s)
        s = s + time / steps * (rates**2 - s**2)
    expected = np.stack(growth, axis=1).reshape(grid.rank, -1, *(1,) * grid.rank) * places
    within = inner(grid, 1)
    assert_equivalent(expected[within], frames[within], "exact discrete solution")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_parabolic_hill_stretches_the_air_at_a_rate_that_saturates(side: str, rank: int) -> None:
    """ds/dt = w^2 - s^2 has s = w tanh(w t); first order in dt."""
    grid, rates, time = GRIDS[rank - 1], np.array([0.5, 0.8, 0.3])[:rank], 3.0
    exact = (rates * np.tanh(rates * time)).reshape(-1, *(1,) * rank)
    errors = []
    for steps in (8, 16, 32):
        frames, places = stretched(side, grid, rates, time, steps)
        last = inner(grid, 1)[1:]
        found, wanted = frames[:, -1][last], (exact * places[:, 0])[last]
        errors.append(float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)))
    order = -np.polyfit(np.log([8, 16, 32]), np.log(errors), 1)[0]
    assert 0.85 < order < 1.2, (errors, order)
    assert errors[-1] < 0.02, errors


@cases
def test_a_constant_added_to_the_potential_changes_nothing(side: str, case: Case) -> None:
    state, potential = case.states(2), case.parameters()["potential"]
    model = case.model(side)
    expected = model.predict(state, STEPS)
    model.assign({"potential": potential + 2.0 * np.max(potential)})
    assert_equivalent(expected, model.predict(state, STEPS), "exact discrete solution")
    model.assign({"potential": 2.0 * potential})
    assert np.abs(model.predict(state, STEPS) - expected).max() > 0.01


@cases
def test_the_mirrored_problem_has_the_mirrored_solution(side: str, case: Case) -> None:
    space = tuple(range(-case.grid.rank, 0))
    state = case.states(1)
    mirrored = case.model(side)
    mirrored.assign({"potential": np.flip(case.parameters()["potential"]).copy()})
    expected = -np.flip(case.model(side).predict(state, STEPS), space)
    found = mirrored.predict(-np.flip(state, space), STEPS)
    assert_equivalent(expected, found, "symmetry of a rollout")


@pytest.mark.parametrize("case", CASES[::4], ids=lambda c: c.name)
def test_without_a_force_it_is_the_burgers_equation_without_viscosity(side: str, case: Case) -> None:
    cls = implementation(side, "physical_model", "burgers")
    options: dict[str, Any] = {"boundaries": case.boundaries, "device": "cpu", "precision": "float64"}
    viscous = cls(case.grid, case.dt, {"diffusion_coeff": 0.0}, substeps=1, **options)
    model = case.model(side)
    model.assign({"potential": np.zeros(case.grid.resolution)})
    state = case.states(1)
    expected = viscous.predict(state, STEPS)
    assert_equivalent(expected, model.predict(state, STEPS), "exact discrete solution")


@ranks
def test_a_potential_without_a_value_per_cell_is_refused(side: str, grid: Grid) -> None:
    with pytest.raises(ConfigError, match=r"potential must be a field, got shape \(\)"):
        flow(side, grid, 0.1, 1.0, "periodic")
    model = flow(side, grid, 0.1, np.ones(grid.resolution), "periodic")
    with pytest.raises(ConfigError, match="potential must be a field"):
        model.assign({"potential": 0.0})
    assert np.all(model.arrays.numpy(model.parameters["potential"]) == 1.0)
