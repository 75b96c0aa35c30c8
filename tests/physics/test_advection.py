"""A density in a given wind against shifts, exact solutions and symmetries, on each side."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import expm

from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from hyco.testing.cases import SELECTED, Case, pairwise
from tests.sides import box, implementation

Array = NDArray[np.float64]
CASES = [c for c in SELECTED if c.equation == "advection"]
STEPS = 4
GRIDS = (box(16), box(12, 10), box(8, 7, 6))


def label(value: Any) -> str:
    """Of a grid, or of anything else, in the name of a test."""
    return f"{value.rank}d" if isinstance(value, Grid) else str(value)


SETTINGS = pairwise(list(product(GRIDS, BOUNDARIES, ("scalar", "field"))), tuple)
settings = pytest.mark.parametrize(("grid", "boundary", "kind"), SETTINGS, ids=label)
ranks = pytest.mark.parametrize("grid", GRIDS, ids=label)
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)
cases = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def advection(side: str, grid: Grid, dt: float, c: Array | float, **options: Any) -> Any:
    """A model in double precision on the CPU, unless told otherwise."""
    cls = implementation(side, "physical_model", "advection")
    settings: dict[str, Any] = {"device": "cpu", "precision": "float64", **options}
    return cls(grid, dt, {"advection_coeff": c}, **settings)


def joined(density: Array, velocity: Array) -> Array:
    """States (batch, field, *space) of densities (batch, *space), all in one velocity (axis, *space)."""
    winds = np.broadcast_to(velocity, (len(density), *velocity.shape))
    return np.concatenate([density[:, None], winds], axis=1)


def uniform(grid: Grid, wind: Array) -> Array:
    """The same wind (axis,) in all cells."""
    return np.broadcast_to(wind.reshape(-1, *(1,) * grid.rank), (grid.rank, *grid.resolution)).copy()


# ---------------------------------------------------------------------------------------- exact solutions


def shifted(density: Array, cells: tuple[int, ...], boundary: Boundary) -> Array:
    """Densities (batch, *space) moved by whole cells; what comes in is what lies beyond the boundary."""
    mode: Any = {"periodic": "wrap", "zero-gradient": "edge", "zero": "constant"}[boundary]
    for axis, by in enumerate(cells, start=1):
        beyond = [(max(by, 0), max(-by, 0)) if a == axis else (0, 0) for a in range(density.ndim)]
        start, n = max(-by, 0), density.shape[axis]
        density = np.take(np.pad(density, beyond, mode=mode), np.arange(start, start + n), axis)
    return density


@settings
def test_a_wind_of_whole_cells_per_step_shifts_the_density(
    side: str, grid: Grid, boundary: Boundary, kind: str, device: str, rng: np.random.Generator
) -> None:
    """With c v of whole cells; a field c needs a v that varies just the other way around."""
    cells, dt = (2, -1, 1)[: grid.rank], 0.5
    c = 0.8 if kind == "scalar" else rng.uniform(0.5, 2.0, grid.resolution)
    velocity = uniform(grid, np.array(cells) * grid.spacing / dt) / c
    model = advection(side, grid, dt, c, boundaries={"density": boundary}, device=device)
    density = rng.standard_normal((2, *grid.resolution))
    found = model.predict(joined(density, velocity), 3)[:, 0]
    frames = [density]
    for _ in range(3):
        frames.append(shifted(frames[-1], cells, boundary))
    assert_equivalent(np.stack(frames, axis=1), found, "advection by whole cells")


def error_of_a_wave(side: str, rank: int, scale: int, fractions: tuple[float, ...], device: str) -> float:
    """Relative L2 error of a plane wave that c v carries by the same fractions of cells at every scale."""
    grid = box(*(n * scale for n in (8, 6, 5)[:rank]))
    steps, dt, c = 2 * scale, 0.5 / scale, 1.6
    wind = np.array(fractions[:rank]) * grid.spacing / (c * dt)
    k = 2 * np.pi / np.array(grid.size)

    def wave(time: float) -> Array:
        terms = zip(k, grid.coordinates().values(), wind, strict=True)
        return np.broadcast_to(
            1.0 + np.sin(sum(a * (x - c * v * time) for a, x, v in terms)), grid.resolution
        )

    model = advection(side, grid, dt, c, boundaries={"density": "periodic"}, device=device)
    found = model.predict(joined(wave(0.0)[None], uniform(grid, wind)), steps)[0, 0, -1]
    exact = wave(steps * dt)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("fractions", [(0.4, -0.3, 0.2), (-2.6, 1.3, 3.8)], ids=["slow", "fast"])
def test_a_wave_travels_with_c_times_the_velocity_at_first_order(
    side: str, rank: int, fractions: tuple[float, ...], device: str
) -> None:
    scales = (4, 8, 16) if rank < 3 else (2, 3, 5)
    errors = [error_of_a_wave(side, rank, scale, fractions, device) for scale in scales]
    order = -np.polyfit(np.log(scales), np.log(errors), 1)[0]
    assert 0.85 < order < 1.15, (errors, order)
    assert errors[-1] < 0.1, errors


# Winds c v = A (x - middle) that stretch a line, turn a plane and press it, and turn in space.
FLOWS = {
    1: np.array([[0.5]]),
    2: np.array([[0.1, -0.7], [0.5, -0.2]]),
    3: np.array([[0.0, -0.7, 0.1], [0.6, 0.1, 0.0], [0.2, 0.0, -0.1]]),
}


def error_in_a_linear_flow(side: str, rank: int, scale: int, kind: str) -> float:
    """Relative L2 error of a Gaussian (with another centre and width per axis) after a third of a turn."""
    grid = box(*(n * scale for n in (8, 7, 6)[:rank]))
    steps, time, matrix = 2 * scale, 1.5, FLOWS[rank]
    points = np.stack(np.meshgrid(*grid.coordinates().values(), indexing="ij"))
    middle = np.reshape(grid.size, (-1, *(1,) * rank)) / 2

    def carried(time: float) -> Array:
        origin = np.tensordot(expm(-time * matrix), points - middle, 1)
        scales = zip(origin, (0.6, -0.5, 0.3), (1.4, 1.0, 0.9), strict=False)
        return np.exp(-sum((x - x0) ** 2 / (2 * w**2) for x, x0, w in scales))

    waves = sum(np.sin(2 * np.pi * x / s + 0.5) for x, s in zip(points, grid.size, strict=True))
    c = 0.7 if kind == "scalar" else 1.0 + 0.2 * waves
    velocity = np.tensordot(matrix, points - middle, 1) / c
    model = advection(side, grid, time / steps, c)
    found = model.predict(joined(carried(0.0)[None], velocity), steps)[0, 0, -1]
    return float(np.linalg.norm(found - carried(time)) / np.linalg.norm(carried(time)))


@pytest.mark.parametrize(("rank", "kind"), [(1, "scalar"), (1, "field"), (2, "field"), (3, "field")])
def test_a_density_in_a_linear_flow_comes_from_where_it_was(side: str, rank: int, kind: str) -> None:
    """rho(x, t) = rho(exp(-A t) x, 0), at first order in the number of steps."""
    scales = (4, 8, 16) if rank < 3 else (2, 3, 5)
    errors = [error_in_a_linear_flow(side, rank, scale, kind) for scale in scales]
    order = -np.polyfit(np.log(scales), np.log(errors), 1)[0]
    assert 0.8 < order < 1.25, (errors, order)
    assert errors[-1] < 0.1, errors


# ----------------------------------------------------------------------------------------------- extremes


@ranks
@boundaries
def test_no_density_leaves_the_range_of_the_frame_before(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    """In a gale across many cells; beside zero boundaries 0 belongs to the range."""
    c, velocity = (
        rng.standard_normal(grid.resolution),
        20.0 * rng.standard_normal((grid.rank, *grid.resolution)),
    )
    model = advection(side, grid, 0.7, c, boundaries={"density": boundary})
    density = rng.standard_normal((2, *grid.resolution)) + np.array([0.0, 5.0]).reshape(-1, *(1,) * grid.rank)
    frames = model.predict(joined(density, velocity), STEPS)[:, 0]
    low, high = (f(frames, axis=tuple(range(2, frames.ndim))) for f in (np.min, np.max))
    if boundary == "zero":
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    assert np.all(np.diff(low, axis=1) > -1e-13)
    assert np.all(np.diff(high, axis=1) < 1e-13)
    assert np.abs(frames[:, -1] - density).max() > 0.5


# ------------------------------------------------------------------------- the wind and its coefficient


@cases
def test_the_given_velocity_comes_back_bit_for_bit(side: str, case: Case, precision: str) -> None:
    state = case.states(2)
    frames = case.model(side, precision).predict(state, STEPS)
    wind = np.broadcast_to(state.astype(precision)[:, 1:, None], frames[:, 1:].shape)
    assert np.array_equal(frames[:, 1:], wind)
    assert not np.array_equal(frames[:, 0, -1], frames[:, 0, 0])


@settings
def test_without_a_coefficient_nothing_moves(
    side: str, grid: Grid, boundary: Boundary, kind: str, rng: np.random.Generator
) -> None:
    c = 0.0 if kind == "scalar" else np.zeros(grid.resolution)
    state = rng.standard_normal((2, 1 + grid.rank, *grid.resolution))
    frames = advection(side, grid, 3.0, c, boundaries={"density": boundary}).predict(state, 2)
    assert_equivalent(np.repeat(state[:, :, None], 3, 2), frames, "advection by whole cells")


@cases
def test_the_coefficient_is_a_factor_on_the_velocity_of_each_cell(side: str, case: Case) -> None:
    c = case.parameters()["advection_coeff"]
    state = case.states(2)
    wind = state.copy()
    wind[:, 1:] *= c
    alone = case.model(side)
    alone.assign({"advection_coeff": np.ones_like(c) if np.ndim(c) else 1.0})
    expected = alone.predict(wind, STEPS)[:, 0]
    assert_equivalent(expected, case.model(side).predict(state, STEPS)[:, 0], "exact discrete solution")


@cases
def test_a_wind_that_turns_around_gives_the_mirrored_solution(side: str, case: Case) -> None:
    """Either by its own sign, or by that of the coefficient."""
    space = tuple(range(-case.grid.rank, 0))
    c = case.parameters()["advection_coeff"]
    state = case.states(1)
    mirrored = np.flip(state, space).copy()
    expected = np.flip(case.model(side).predict(state, STEPS)[:, 0], space)
    model = case.model(side)
    model.assign({"advection_coeff": -np.flip(c).copy() if np.ndim(c) else -c})
    assert_equivalent(expected, model.predict(mirrored, STEPS)[:, 0], "symmetry of a rollout")
    model.assign({"advection_coeff": np.flip(c).copy() if np.ndim(c) else c})
    mirrored[:, 1:] *= -1.0
    assert_equivalent(expected, model.predict(mirrored, STEPS)[:, 0], "symmetry of a rollout")


# ---------------------------------------------------------------------------------------------- boundaries


def test_density_is_open_and_velocity_periodic_unless_told_otherwise(side: str) -> None:
    def of(**chosen: Boundary) -> dict[str, str]:
        model = advection(side, box(6, 5), 1.0, 1.0, boundaries=chosen)
        return {f.name: f.boundary for f in model.layout.fields}

    assert of() == {"density": "zero-gradient", "velocity": "periodic"}
    assert of(density="zero") == {"density": "zero", "velocity": "periodic"}
    assert of(velocity="zero") == {"density": "zero-gradient", "velocity": "zero"}
    with pytest.raises(ValueError, match="advection has no field wind; its fields: density, velocity"):
        of(wind="zero")


@ranks
def test_only_the_boundary_of_the_density_acts_on_the_density(
    side: str, grid: Grid, rng: np.random.Generator
) -> None:
    """The velocity is taken where it is given, at the cell centres."""
    state = rng.standard_normal((2, 1 + grid.rank, *grid.resolution))
    frames = {
        (d, v): advection(side, grid, 0.6, 1.3, boundaries={"density": d, "velocity": v}).predict(state, 2)
        for d in BOUNDARIES
        for v in (BOUNDARIES if d == "zero" else ("periodic",))
    }
    assert np.array_equal(frames["zero", "periodic"], frames["zero", "zero"])
    assert np.array_equal(frames["zero", "periodic"], frames["zero", "zero-gradient"])
    assert np.abs(frames["periodic", "periodic"] - frames["zero", "periodic"]).max() > 0.1
    assert np.abs(frames["periodic", "periodic"] - frames["zero-gradient", "periodic"]).max() > 0.1
