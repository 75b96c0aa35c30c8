"""Incompressible flow with smoke: pressure, exact solutions, balances and symmetries, on each side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.problem.equations import EQUATIONS
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.problem.sampling import smooth_random_field
from hyco.testing import assert_equivalent
from tests.sides import arrays_of, box, implementation, module, scope

Array = NDArray[np.float64]
GRIDS = (box(12, 10), box(11, 8), box(6, 5, 4))
PLANE = box(16, 12)
SQUARE = Grid.of(x=(1.0, 16), y=(1.0, 16))
grids = pytest.mark.parametrize("grid", GRIDS, ids=lambda g: "x".join(map(str, g.resolution)))
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)


def project(side: str, velocity: Array, grid: Grid, boundary: Boundary, device: str = "cpu") -> Array:
    """`make_incompressible` of one side, from and to numpy."""
    arrays = arrays_of(side, FieldLayout((FieldSpec("velocity", vector=True),), grid.axes), device=device)
    with scope(arrays):
        function = module(side, "projection").make_incompressible
        return arrays.numpy(function(arrays.state(velocity), grid, boundary))


def divergence(velocity: Array, grid: Grid, boundary: Boundary) -> Array:
    """Central differences with ghost cells: the opposite end, minus the own value, or the own value."""
    total = np.zeros((velocity.shape[0], *grid.resolution))
    for axis, width in enumerate(grid.spacing):
        u = np.moveaxis(velocity[:, axis], axis + 1, -1)
        first, last = u[..., :1], u[..., -1:]
        ghosts = {"periodic": (last, first), "zero": (-first, -last), "zero-gradient": (first, last)}
        below, above = ghosts[boundary]
        around = np.concatenate([below, u, above], -1)
        total += np.moveaxis((around[..., 2:] - around[..., :-2]) / (2.0 * width), -1, axis + 1)
    return total


def nearest_without_divergence(velocity: Array, grid: Grid, boundary: Boundary) -> Array:
    """What the projection is by definition, by a dense pseudo-inverse."""
    unit = np.eye(grid.rank * grid.cells).reshape(-1, grid.rank, *grid.resolution)
    matrix = divergence(unit, grid, boundary).reshape(-1, grid.cells).T
    flat = velocity.reshape(len(velocity), -1)
    return (flat - flat @ np.linalg.pinv(matrix) @ matrix).reshape(velocity.shape)


def model(side: str, grid: Grid, dt: float, nu: Any, b: Any, walls: Boundary, **options: Any) -> Any:
    """A model in double precision with smoke that stops at walls."""
    smoke = "periodic" if walls == "periodic" else "zero-gradient"
    settings: dict[str, Any] = {"device": "cpu", "precision": "float64", **options}
    cls = implementation(side, "physical_model", "navier_stokes")
    parameters = {"viscosity": nu, "buoyancy_coeff": b}
    return cls(grid, dt, parameters, boundaries={"velocity": walls, "density": smoke}, **settings)


def start(walls: Boundary, grid: Grid = PLANE, batch: int = 2, seed: int = 0) -> Array:
    """Initial states, in eddies that cross a cell in about six units of time."""
    layout = EQUATIONS["navier_stokes"].layout(grid, {"velocity": walls, "density": "zero-gradient"})
    return EQUATIONS["navier_stokes"].initial_conditions(grid, layout, batch, np.random.default_rng(seed))


def at_rest(density: Array) -> Array:
    """A state (1, field, *space) of still air."""
    return np.stack([np.zeros_like(density), np.zeros_like(density), density])[None]


# -------------------------------------------------------------------------------------------- projection


@grids
@boundaries
def test_the_projection_is_the_nearest_velocity_without_divergence(
    side: str, grid: Grid, boundary: Boundary, device: str, rng: np.random.Generator
) -> None:
    velocity = rng.standard_normal((2, grid.rank, *grid.resolution))
    found = project(side, velocity, grid, boundary, device)
    assert_equivalent(nearest_without_divergence(velocity, grid, boundary), found, "projection")
    assert np.abs(divergence(velocity, grid, boundary)).max() > 1.0
    assert np.abs(divergence(found, grid, boundary)).max() < 1e-13
    assert_equivalent(found, project(side, found, grid, boundary), "projection")
    space = tuple(range(1, velocity.ndim))
    assert np.all(np.sum(found**2, space) < 0.9 * np.sum(velocity**2, space))


@grids
@boundaries
def test_the_projection_is_its_own_adjoint(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    a, b = rng.standard_normal((2, 2, grid.rank, *grid.resolution))
    left = float(np.sum(project(side, a, grid, boundary) * b))
    right = float(np.sum(a * project(side, b, grid, boundary)))
    assert_equivalent(left, right, "projection")


@boundaries
def test_gradients_vanish_and_stream_functions_stay(
    side: str, boundary: Boundary, rng: np.random.Generator
) -> None:
    """Of a smooth pressure and a smooth stream function, as far as central differences see them."""
    velocity = rng.standard_normal((1, 2, *PLANE.resolution))
    kept = project(side, velocity, PLANE, boundary)
    gone = velocity - kept
    assert np.abs(project(side, gone, PLANE, boundary)).max() < 1e-13
    assert abs(np.sum(kept * gone)) < 1e-12
    flow = start(boundary)[:, :2]
    assert_equivalent(flow, project(side, flow, PLANE, boundary), "projection")


def test_walls_hold_a_uniform_wind_back_and_openings_let_it_through(side: str) -> None:
    wind = np.broadcast_to(np.array([0.3, -0.2])[:, None, None], (1, 2, *PLANE.resolution)).copy()
    for boundary in ("periodic", "zero-gradient"):
        assert_equivalent(wind, project(side, wind, PLANE, boundary), "projection")
    assert np.abs(project(side, wind, PLANE, "zero")).max() < 1e-14


# ---------------------------------------------------------------------------------------- exact solutions


def error_of_taylor_green(side: str, cells: int, device: str) -> float:
    """Relative L2 error at a time at which viscosity has taken half of the speed."""
    grid, nu, time = Grid.of(x=(1.0, cells), y=(1.0, cells)), 0.02, 0.5
    k, steps = 2.0 * np.pi, cells // 2
    x, y = grid.coordinates().values()
    vortices = np.stack([np.sin(k * x) * np.cos(k * y), -np.cos(k * x) * np.sin(k * y)])
    flow = model(side, grid, time / steps, nu, 0.0, "periodic", substeps=cells // 8, device=device)
    first = np.concatenate([vortices, np.zeros((1, cells, cells))])[None]
    last = flow.predict(first, steps)[0, :2, -1]
    exact = vortices * np.exp(-2.0 * nu * k**2 * time)
    return float(np.linalg.norm(last - exact) / np.linalg.norm(exact))


def test_the_vortices_of_taylor_and_green_decay_at_first_order(side: str, device: str) -> None:
    sizes = (32, 64, 128)
    errors = [error_of_taylor_green(side, cells, device) for cells in sizes]
    order = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert 0.85 < order < 1.2, (errors, order)
    assert errors[-1] < 0.05, errors


@pytest.mark.parametrize(("walls", "wind"), [("periodic", 0), ("periodic", 1), ("zero-gradient", 0)])
def test_columns_of_smoke_are_lifted_as_newton_says(side: str, walls: Boundary, wind: int) -> None:
    """Columns that differ along x alone: v gains dt b rho in every step, of the smoke where it has come to.

    v diffuses by a factor a step, and a wind of whole cells a step carries both along.  In a periodic box v
    gains nothing on the mean; in an open one it does, for the pressure around is 0.
    """
    cells, dt, nu, b, steps = 16, 0.5, 0.0007, 0.3, 4
    turns, mean = (2.0 * np.pi, 0.0) if walls == "periodic" else (np.pi, 0.5)
    wave = np.cos(turns * SQUARE.centres("x"))
    damping = 1.0 - dt * nu * (2.0 * np.sin(0.5 * turns / cells) * cells) ** 2
    gains = np.cumsum(damping ** np.arange(steps))  # each step diffuses what the former ones gave
    carried = [np.roll(wave, wind * step) for step in range(1, steps + 1)]
    expected = [dt * b * (mean * (n + 1) + gains[n] * carried[n]) for n in range(steps)]
    state = at_rest(np.broadcast_to(0.5 + wave[:, None], (cells, cells)).copy())
    state[:, 0] = wind / cells / dt
    frames = model(side, SQUARE, dt, nu, b, walls, substeps=1).predict(state, steps)[0, :, 1:]
    assert np.abs(frames[0] - state[0, 0]).max() < 1e-14
    shape = frames[1].shape
    assert_equivalent(
        np.broadcast_to(np.array(expected)[:, :, None], shape), frames[1], "exact discrete solution"
    )


@pytest.mark.parametrize("walls", ["periodic", "zero"])
def test_layers_of_smoke_rest_upon_each_other(side: str, walls: Boundary, rng: np.random.Generator) -> None:
    layers = np.broadcast_to(rng.uniform(0.0, 1.0, PLANE.resolution[1]), PLANE.resolution)
    frames = model(side, PLANE, 2.0, 0.01, 0.4, walls).predict(at_rest(layers.copy()), 5)[0]
    assert np.abs(frames[:2]).max() < 1e-13
    assert np.abs(frames[2] - layers).max() < 1e-13


# ------------------------------------------------------------------------------------------------ balances


@boundaries
def test_no_step_leaves_divergence(side: str, boundary: Boundary, rng: np.random.Generator) -> None:
    flow = model(side, PLANE, 2.0, 0.01 + 0.01 * rng.random(PLANE.resolution), 0.2, boundary)
    state = start(boundary)
    state[:, :2] += 0.1 * rng.standard_normal((2, 2, *PLANE.resolution))
    assert np.abs(divergence(state[:, :2], PLANE, boundary)).max() > 0.1
    frames = flow.predict(state, 6)
    for t in range(1, 7):
        assert np.abs(divergence(frames[:, :2, t], PLANE, boundary)).max() < 1e-14


@boundaries
@pytest.mark.parametrize("nu", [0.0, 0.02])
def test_without_smoke_the_energy_never_grows(side: str, boundary: Boundary, nu: float) -> None:
    state = start(boundary, batch=3)
    state[:, 2] = 0.0
    frames = model(side, PLANE, 2.0, nu, 0.5, boundary).predict(state, 12)
    energy = np.sum(frames[:, :2] ** 2, (1, 3, 4))
    assert np.all(np.diff(energy, axis=1) < 0.0)
    assert np.abs(frames[:, 2]).max() == 0.0


@boundaries
def test_smoke_stays_within_its_range(side: str, boundary: Boundary) -> None:
    state = start(boundary)
    frames = model(side, PLANE, 2.0, 0.01, 0.05, boundary).predict(state, 12)
    smoke = frames[:, 2].reshape(2, 13, -1)
    assert smoke.min() >= 0.0
    assert np.all(np.diff(smoke.max(-1), axis=1) <= 1e-15)
    assert np.abs(smoke[:, -1] - smoke[:, 0]).max() > 0.1


def drift_of_smoke(side: str, cells: int) -> float:
    """How much of the smoke of a rising puff is gained or lost, at equal Courant numbers."""
    grid = Grid.of(x=(1.0, cells), y=(1.0, cells))
    x, y = grid.coordinates().values()
    puff = np.exp(-((x - 0.4) ** 2 + (y - 0.3) ** 2) / (2.0 * 0.12**2))
    steps = cells // 2
    frames = model(side, grid, 2.0 / steps, 0.001, 0.3, "periodic").predict(at_rest(puff), steps)[0]
    assert np.sum(frames[2, -1] * y) / np.sum(frames[2, -1]) > 0.05 + np.sum(puff * y) / np.sum(puff)
    return float(abs(np.sum(frames[2, -1]) / np.sum(puff) - 1.0))


def test_rising_smoke_is_conserved_the_better_the_finer_the_grid(side: str) -> None:
    coarse, medium, fine = (drift_of_smoke(side, cells) for cells in (16, 32, 64))
    assert fine < 0.7 * medium < 0.49 * coarse
    assert fine < 0.02


def test_the_net_lift_does_not_carry_a_periodic_box_away(side: str) -> None:
    state = start("periodic")
    state[:, :2] = 0.0
    frames = model(side, PLANE, 2.0, 0.01, 0.2, "periodic").predict(state, 1)[:, :, 1]
    assert np.abs(frames[:, :2].mean((2, 3))).max() < 1e-16
    assert np.all(np.sum(frames[:, 1] * state[:, 2], (1, 2)) > 0.1)


@boundaries
def test_the_mirrored_problem_has_the_mirrored_solution(
    side: str, boundary: Boundary, rng: np.random.Generator
) -> None:
    state, b = start(boundary), 0.1 * smooth_random_field(PLANE, (), rng)
    signs = np.array([-1.0, 1.0, 1.0])[:, None, None]
    expected = model(side, PLANE, 2.0, 0.01, b, boundary).predict(state, 6)
    mirrored = model(side, PLANE, 2.0, 0.01, b[::-1].copy(), boundary)
    found = mirrored.predict(signs * state[:, :, ::-1], 6)[:, :, :, ::-1] * signs[:, None]
    assert_equivalent(expected, found, "symmetry of a rollout")


# -------------------------------------------------------------------------------------- initial conditions


@boundaries
def test_initial_states_are_smoke_in_eddies_without_divergence(boundary: Boundary) -> None:
    grid = Grid.of(x=(50.0, 24), y=(100.0, 32))
    states = start(boundary, grid, batch=4)
    flow, smoke = states[:, :2], states[:, 2]
    assert np.abs(divergence(flow, grid, boundary)).max() < 1e-15
    assert np.sqrt(np.mean(flow**2, (1, 2, 3))) == pytest.approx(np.ones(4))
    assert smoke.min() >= 0.0
    assert 0.9 < smoke.max() <= 1.0
    assert smoke.mean() < 0.4
    assert len({float(s.sum()) for s in smoke}) == 4
