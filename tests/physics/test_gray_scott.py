"""The Gray-Scott equations against their reactions, the heat equation and linear stability, on each side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from hyco.problem.equation import diffusion_limit
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from hyco.testing.cases import BY_NAME, SELECTED, Case
from tests.sides import box, implementation

Array = NDArray[np.float64]
CASES = [c for c in SELECTED if c.equation == "gray_scott"]
GRIDS = (box(16), box(12, 10), box(8, 7, 6))


def label(value: Any) -> str:
    """Of a grid or a boundary in the name of a test."""
    return f"{value.rank}d" if isinstance(value, Grid) else value


ranks = pytest.mark.parametrize("grid", GRIDS, ids=label)
INSULATED: tuple[Boundary, ...] = ("periodic", "zero-gradient")
kinds = pytest.mark.parametrize("kind", ["scalar", "field"])


def model(
    side: str, equation: str, grid: Grid, dt: float, parameters: Any, boundaries: Any, **options: Any
) -> Any:
    """A model in double precision on the CPU, unless told otherwise."""
    cls = implementation(side, "physical_model", equation)
    settings: dict[str, Any] = {"device": "cpu", "precision": "float64", **options}
    return cls(grid, dt, parameters, boundaries=boundaries, **settings)


def gray_scott(side: str, grid: Grid, dt: float, boundary: Boundary, parameters: Any, **options: Any) -> Any:
    """The same boundary for u and v."""
    return model(side, "gray_scott", grid, dt, parameters, {"u": boundary, "v": boundary}, **options)


def uniform(grid: Grid, *values: tuple[float, float]) -> Array:
    """Homogeneous states (batch, field, *space), each given by its u and v."""
    states = np.reshape(values, (-1, 2, *(1,) * grid.rank))
    return np.broadcast_to(states, (len(values), 2, *grid.resolution)).copy()


# ----------------------------------------------------------------------------------------------- reaction


def reacted(u: Array, v: Array, feed: Array | float, kill: Array | float, time: float) -> Array:
    """(2, ...): the reactions alone, every place by itself, by a fine adaptive integrator."""
    shape = np.shape(u)

    def change(_: float, flat: Array) -> Array:
        u, v = flat.reshape(2, *shape)
        return np.stack([feed * (1 - u) - u * v**2, u * v**2 - (feed + kill) * v]).ravel()

    start = np.stack([u, v]).ravel()
    solution = solve_ivp(change, (0.0, time), start, method="DOP853", rtol=1e-11, atol=1e-12)
    return solution.y[:, -1].reshape(2, *shape)


@pytest.mark.parametrize(("grid", "boundary"), list(zip(GRIDS, INSULATED * 2, strict=False)), ids=label)
def test_homogeneous_states_stay_so_and_follow_the_reactions(
    side: str, grid: Grid, boundary: Boundary, device: str, rng: np.random.Generator
) -> None:
    """At first order in dt / substeps, wherever that comes from; diffusion has nothing to do."""
    feed, kill, time = 0.3, 0.2, 6.0
    state = uniform(grid, (0.9, 0.4), (0.5, 0.7))
    exact = reacted(state[:, 0], state[:, 1], feed, kill, time)
    errors = []
    for steps, substeps in ((8, 1), (8, 2), (16, 2)):
        rough = [diffusion_limit(grid, time / 8, 1) * rng.uniform(0, 1, grid.resolution) for _ in range(2)]
        parameters = {"Du": rough[0], "Dv": rough[1], "feed": feed, "kill": kill}
        options = {"substeps": substeps, "device": device}
        last = gray_scott(side, grid, time / steps, boundary, parameters, **options).predict(state, steps)
        assert np.ptp(last, axis=tuple(range(3, last.ndim))).max() == 0.0
        errors.append(np.abs(last[:, :, -1] - exact.swapaxes(0, 1)).max())
    order = -np.polyfit(np.log([8, 16, 32]), np.log(errors), 1)[0]
    assert 0.9 < order < 1.2, (errors, order)
    assert errors[-1] < 0.02, errors


@ranks
def test_without_diffusion_every_cell_reacts_by_itself(
    side: str, grid: Grid, rng: np.random.Generator
) -> None:
    """With a feed and a kill rate of its own, which it does not share with its neighbours."""
    time, shape = 6.0, grid.resolution
    feed, kill = rng.uniform(0.1, 0.4, shape), rng.uniform(0.0, 0.3, shape)
    state = rng.uniform(0.2, 1.0, (1, 2, *shape))
    exact = reacted(state[0, 0], state[0, 1], feed, kill, time)
    errors = []
    for steps in (8, 16, 32):
        parameters = {"Du": 0.0, "Dv": np.zeros(shape), "feed": feed, "kill": kill}
        found = gray_scott(side, grid, time / steps, "zero", parameters, substeps=2).predict(state, steps)
        errors.append(np.abs(found[0, :, -1] - exact).max())
    order = -np.polyfit(np.log([8, 16, 32]), np.log(errors), 1)[0]
    assert 0.9 < order < 1.2, (errors, order)
    assert errors[-1] < 0.02, errors


@pytest.mark.parametrize("case", [c for c in CASES if c.boundary != "zero"], ids=lambda c: c.name)
def test_the_substrate_alone_rests_exactly(side: str, case: Case) -> None:
    state = uniform(case.grid, (1.0, 0.0))
    frames = case.model(side).predict(state, 4)
    assert np.array_equal(frames, np.repeat(state[:, :, None], 5, 2))


# --------------------------------------------------------------------------------- diffusion and reaction


def diffused(side: str, case: Case, state: Array, coefficient: str, boundary: Boundary) -> Array:
    """One step of the heat equation for a species (batch, *space)."""
    kappa = {"conductivity": case.parameters()[coefficient]}
    options = {"substeps": case.substeps}
    heat = model(side, "heat", case.grid, case.dt, kappa, {"temperature": boundary}, **options)
    return heat.predict(state[:, None], 1)[:, 0, 1]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_step_is_diffusion_of_both_and_then_reaction(side: str, case: Case) -> None:
    """Du and Dv each through its own boundary, then as many Euler steps of the reaction as substeps."""
    boundaries: dict[str, Boundary] = {
        "u": case.boundary,
        "v": BOUNDARIES[BOUNDARIES.index(case.boundary) - 1],
    }
    parameters = case.parameters()
    state = 0.6 + case.states(2)
    u = diffused(side, case, state[:, 0], "Du", boundaries["u"])
    v = diffused(side, case, state[:, 1], "Dv", boundaries["v"])
    feed, kill, h = parameters["feed"], parameters["kill"], case.dt / case.substeps
    for _ in range(case.substeps):
        u, v = u + h * (feed * (1 - u) - u * v**2), v + h * (u * v**2 - (feed + kill) * v)
    found = case.model(side, boundaries=boundaries).predict(state, 1)[:, :, 1]
    assert_equivalent(np.stack([u, v], axis=1), found, "exact discrete solution")


@pytest.mark.parametrize(("grid", "boundary"), list(zip(GRIDS, BOUNDARIES, strict=True)), ids=label)
@kinds
def test_without_reaction_both_spread_as_heat_does(
    side: str, grid: Grid, boundary: Boundary, kind: str, rng: np.random.Generator
) -> None:
    """u where there is no v, v where there is no u, and neither feed nor kill."""
    dt, substeps, steps = 1.5, 2, 4
    limit = diffusion_limit(grid, dt, substeps)
    size = grid.resolution if kind == "field" else ()
    coefficients = {"Du": limit * rng.uniform(0.1, 1, size), "Dv": limit * rng.uniform(0.1, 1, size)}
    parameters = {**coefficients, "feed": 0.0, "kill": 0.0}
    species = gray_scott(side, grid, dt, boundary, parameters, substeps=substeps)
    for number, name in enumerate(("Du", "Dv")):
        state = np.zeros((2, 2, *grid.resolution))
        state[:, number] = rng.uniform(0.0, 1.0, (2, *grid.resolution))
        kappa = {"conductivity": coefficients[name]}
        heat = model(side, "heat", grid, dt, kappa, {"temperature": boundary}, substeps=substeps)
        frames = species.predict(state, steps)
        expected = heat.predict(state[:, number : number + 1], steps)[:, 0]
        assert_equivalent(expected, frames[:, number], "exact discrete solution")
        assert np.all(frames[:, 1 - number] == 0.0)


def test_the_layout_of_a_state_in_memory_does_not_matter(side: str) -> None:
    case = BY_NAME["gray_scott-3d-field-periodic"]
    state, species = case.states(2), case.model(side)
    expected = species.predict(state, 2)
    for other in (np.asfortranarray(state), state.transpose(0, 2, 3, 4, 1).copy().transpose(0, 4, 1, 2, 3)):
        assert np.array_equal(other, state)
        assert_equivalent(expected, species.predict(other, 2), "exact discrete solution")


# -------------------------------------------------------------------------------------- linear stability

FEED, KILL = 0.04, 0.05
DT, SUBSTEPS = 2.0, 4


def steady_state() -> tuple[float, float]:
    """The homogeneous state with the most v: u (1 - u) = (F + k)^2 / F and v = (F + k) / u."""
    u = 0.5 * (1.0 - np.sqrt(1.0 - 4.0 * (FEED + KILL) ** 2 / FEED))
    return u, (FEED + KILL) / u


def jacobian(u: float, v: float) -> Array:
    """Of the reactions by u and v."""
    return np.array([[-(v**2) - FEED, -2 * u * v], [v**2, 2 * u * v - (FEED + KILL)]])


def symbols(grid: Grid, waves: tuple[int, ...]) -> float:
    """What the discrete Laplacian does to a Fourier mode."""
    axes = zip(waves, grid.resolution, grid.spacing, strict=False)
    return sum((2 * np.cos(2 * np.pi * k / n) - 2) / h**2 for k, n, h in axes)


@ranks
@kinds
def test_a_small_wave_around_the_steady_state_grows_as_the_jacobian_says(
    side: str, grid: Grid, kind: str
) -> None:
    """By (1 + h J)^s diag((1 + h D lap)^s) per step, h = dt / s; towards exp(dt (J + D lap)) for small h."""
    waves, steps, h = (1, 2, 1)[: grid.rank], 5, DT / SUBSTEPS
    steady, lap = steady_state(), symbols(grid, waves)
    limit = diffusion_limit(grid, DT, SUBSTEPS)
    coefficients = {"Du": 0.15 * limit, "Dv": 0.05 * limit, "feed": FEED, "kill": KILL}
    spread = np.array([coefficients["Du"], coefficients["Dv"]])
    if kind == "field":
        coefficients = {name: np.full(grid.resolution, c) for name, c in coefficients.items()}
    reaction = np.linalg.matrix_power(np.eye(2) + h * jacobian(*steady), SUBSTEPS)
    factor = reaction @ np.diag((1 + h * spread * lap) ** SUBSTEPS)
    angles = zip(waves, np.indices(grid.resolution), grid.resolution, strict=True)
    wave = np.cos(sum(2 * np.pi * k * i / n for k, i, n in angles))

    amplitude, shape = 1e-4, np.array([1.0, -0.6])
    disturbance = amplitude * shape.reshape(1, 2, *(1,) * grid.rank) * wave
    states = uniform(grid, steady, steady) + np.concatenate([disturbance, -disturbance])
    frames = gray_scott(side, grid, DT, "periodic", coefficients, substeps=SUBSTEPS).predict(states, steps)
    odd = (frames[0] - frames[1]) / 2  # what is quadratic in the amplitude is gone
    found = (odd * wave).sum(axis=tuple(range(2, odd.ndim))) / np.sum(wave**2) / amplitude
    expected = np.stack([np.linalg.matrix_power(factor, n) @ shape for n in range(steps + 1)], axis=1)
    assert np.abs(found - expected).max() < 1e-7  # cubic: the square of the amplitude
    assert np.abs(expected[:, -1] - expected[:, 0]).max() > 0.05

    rates = np.log(np.linalg.eigvals(factor).astype(complex)) / DT
    exact = np.linalg.eigvals((jacobian(*steady) + np.diag(spread * lap)).astype(complex))
    assert np.abs(np.sort_complex(rates) - np.sort_complex(exact)).max() < 0.1 * np.abs(exact).max()


@ranks
def test_the_steady_state_with_both_species_rests(side: str, grid: Grid) -> None:
    parameters = {"Du": 0.01, "Dv": 0.005, "feed": FEED, "kill": KILL}
    state = uniform(grid, steady_state())
    frames = gray_scott(side, grid, DT, "periodic", parameters, substeps=SUBSTEPS).predict(state, 5)
    assert np.abs(frames - state[:, :, None]).max() < 1e-15
    assert np.abs(np.linalg.eigvals(jacobian(*steady_state()))).min() > 0.01
