"""Advection, diffusion and gradients against what can be computed by hand, on each side."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.problem.equation import diffusion_limit
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from tests.sides import Stencils, box

GRIDS = (box(16), box(12, 10), box(8, 7, 6))
ranks = pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.rank}d")
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)


def random_state(grid: Grid, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.standard_normal((2, grid.rank, *grid.resolution))


def random_coefficient(grid: Grid, rng: np.random.Generator, dt: float = 1.0) -> NDArray[np.float64]:
    """A rough field between nothing and the stability limit."""
    return diffusion_limit(grid, dt, 1) * rng.uniform(0.0, 1.0, grid.resolution)


def indices(grid: Grid) -> list[NDArray[np.int64]]:
    return list(np.indices(grid.resolution))


def spread(mode: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """A mode (*space) as a state with another amplitude per component."""
    return mode * np.arange(1.0, grid.rank + 1).reshape(1, grid.rank, *(1,) * grid.rank)


# --------------------------------------------------------------------------------------------- diffusion


@ranks
def test_a_fourier_mode_decays_by_the_discrete_factor(side: str, grid: Grid, device: str) -> None:
    waves = (2, 1, 3)[: grid.rank]
    angles = [2 * np.pi * k * i / n for k, i, n in zip(waves, indices(grid), grid.resolution, strict=True)]
    state = spread(np.cos(sum(angles) + 0.3), grid)
    dt, substeps = 1.5, 4
    c = 0.3 * diffusion_limit(grid, dt, substeps)
    eigenvalue = sum(
        (2 * np.cos(2 * np.pi * k / n) - 2) / h**2
        for k, n, h in zip(waves, grid.resolution, grid.spacing, strict=True)
    )
    factor = (1 + c * dt / substeps * eigenvalue) ** substeps
    found = Stencils(side, grid, device=device).diffuse(state, c, dt, "periodic", substeps)
    assert_equivalent(factor * state, found, "exact discrete solution")


@ranks
@pytest.mark.parametrize("boundary", ["zero-gradient", "zero"])
def test_the_modes_of_a_closed_box_decay_by_the_discrete_factor(
    side: str, grid: Grid, boundary: Boundary
) -> None:
    waves = (2, 1, 3)[: grid.rank]
    cells = zip(waves, indices(grid), grid.resolution, strict=True)
    if boundary == "zero":  # 0 stands one cell outside
        parts = [np.sin(np.pi * k * (i + 1) / (n + 1)) for k, i, n in cells]
        angles = [np.pi * k / (n + 1) for k, n in zip(waves, grid.resolution, strict=True)]
    else:
        parts = [np.cos(np.pi * k * (i + 0.5) / n) for k, i, n in cells]
        angles = [np.pi * k / n for k, n in zip(waves, grid.resolution, strict=True)]
    state = spread(np.prod(parts, axis=0), grid)
    c = 0.7 * diffusion_limit(grid, 1.0, 1)
    factor = 1 + c * sum(2 * (np.cos(a) - 1) / h**2 for a, h in zip(angles, grid.spacing, strict=True))
    assert_equivalent(
        factor * state, Stencils(side, grid).diffuse(state, c, 1.0, boundary), "exact discrete solution"
    )


@pytest.mark.parametrize("rank", [1, 2])
def test_the_decay_rate_converges_at_second_order(side: str, rank: int) -> None:
    c, time = 0.01, 2.0
    errors = []
    for cells in (8, 16, 32):
        grid = Grid.of(**dict.fromkeys("xy"[:rank], (1.0, cells)))
        angle = 2 * np.pi * sum(np.broadcast_to(x, grid.resolution) for x in grid.coordinates().values())
        substeps = round(c * time / (0.25 * grid.spacing[0] ** 2))  # c dt / dx^2 stays 1/4
        found = Stencils(side, grid).diffuse(spread(np.sin(angle), grid), c, time, "periodic", substeps)
        exact = np.exp(-c * time * rank * (2 * np.pi) ** 2)
        errors.append(
            abs(np.vdot(found[0, 0], np.sin(angle)) / np.vdot(np.sin(angle), np.sin(angle)) - exact) / exact
        )
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 0.02
    assert np.all(np.abs(orders - 2.0) < 0.15), (errors, orders)


def diffused_by_hand(
    state: NDArray[np.float64], c: NDArray[np.float64], dt: float, grid: Grid, boundary: Boundary
) -> NDArray[np.float64]:
    """Cell by cell: what comes in through each face, whose coefficient is the smaller one of its cells."""
    result = state.copy()
    for cell in np.ndindex(*grid.resolution):
        for axis, (n, h) in enumerate(zip(grid.resolution, grid.spacing, strict=True)):
            for step in (-1, 1):
                other = list(cell)
                other[axis] += step
                inside = 0 <= other[axis] < n
                if boundary == "periodic":
                    other[axis] %= n
                elif not inside and boundary == "zero-gradient":
                    continue
                known = inside or boundary == "periodic"
                beyond = state[(..., *other)] if known else 0.0
                face = min(c[cell], c[tuple(other)]) if known else c[cell]
                result[(..., *cell)] += dt / h**2 * face * (beyond - state[(..., *cell)])
    return result


@ranks
@boundaries
def test_a_coefficient_field_acts_through_the_smaller_value_at_each_face(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    state, c = random_state(grid, rng), random_coefficient(grid, rng)
    expected = diffused_by_hand(state, c, 1.0, grid, boundary)
    assert_equivalent(
        expected, Stencils(side, grid).diffuse(state, c, 1.0, boundary), "exact discrete solution"
    )


@ranks
def test_substeps_are_steps_of_a_part_of_the_time(side: str, grid: Grid, rng: np.random.Generator) -> None:
    state, c = random_state(grid, rng), random_coefficient(grid, rng)
    stencils = Stencils(side, grid)
    expected = state
    for _ in range(3):
        expected = stencils.diffuse(expected, c, 1.0, "periodic")
    assert_equivalent(expected, stencils.diffuse(state, c, 3.0, "periodic", 3), "exact discrete solution")


@ranks
@pytest.mark.parametrize("boundary", ["periodic", "zero-gradient"])
def test_mass_is_conserved_with_a_coefficient_field(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    state, c = random_state(grid, rng) + 3.0, random_coefficient(grid, rng)
    found = Stencils(side, grid).diffuse(state, c, 5.0, boundary, 5)
    space = tuple(range(2, state.ndim))
    assert np.abs(found - state).max() > 0.1
    assert_equivalent(state.sum(space), found.sum(space), "conserved mass")


@ranks
@boundaries
def test_a_constant_field_acts_like_a_scalar(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    state, stencils = random_state(grid, rng), Stencils(side, grid)
    c = 0.9 * diffusion_limit(grid, 1.0, 1)
    scalar = stencils.diffuse(state, c, 2.0, boundary, 2)
    field = stencils.diffuse(state, np.full(grid.resolution, c), 2.0, boundary, 2)
    assert_equivalent(scalar, field, "exact discrete solution")


@ranks
@boundaries
@pytest.mark.parametrize("kind", ["scalar", "field"])
def test_diffusion_creates_no_new_extremes_up_to_the_limit(
    side: str, grid: Grid, boundary: Boundary, kind: str, rng: np.random.Generator
) -> None:
    state = random_state(grid, rng)
    limit = diffusion_limit(grid, 1.0, 1)
    c = limit if kind == "scalar" else np.where(rng.random(grid.resolution) < 0.8, limit, 0.0)
    found = Stencils(side, grid).diffuse(state, c, 4.0, boundary, 4)
    outside = [0.0] if boundary == "zero" else []
    least, greatest = min([state.min(), *outside]), max([state.max(), *outside])
    assert least - 1e-12 < found.min() < found.max() < greatest + 1e-12
    assert found.std() < state.std()


@ranks
def test_beyond_the_limit_the_finest_mode_grows(side: str, grid: Grid) -> None:
    state = spread((-1.0) ** sum(indices(grid)), grid)
    stencils, limit = Stencils(side, grid), diffusion_limit(grid, 1.0, 1)
    within, beyond = (np.abs(stencils.diffuse(state, s * limit, 9.0, "zero", 9)).max() for s in (0.99, 1.2))
    assert within < np.abs(state).max() < beyond


@ranks
def test_a_constant_leaks_out_through_zero_boundaries_and_stays_in_others(side: str, grid: Grid) -> None:
    state = spread(np.full(grid.resolution, 2.0), grid)
    stencils, c = Stencils(side, grid), 0.5 * diffusion_limit(grid, 1.0, 1)
    for boundary in ("periodic", "zero-gradient"):
        assert np.array_equal(stencils.diffuse(state, c, 1.0, boundary), state)  # type: ignore[arg-type]
    leaked = stencils.diffuse(state, c, 1.0, "zero")
    edge = np.zeros(grid.resolution, bool)
    for axis in range(grid.rank):
        edge |= np.isin(indices(grid)[axis], (0, grid.resolution[axis] - 1))
    assert np.all(leaked[..., edge] < state[..., edge])
    assert np.array_equal(leaked[..., ~edge], state[..., ~edge])


@boundaries
def test_transposing_the_problem_transposes_its_solution(
    side: str, boundary: Boundary, rng: np.random.Generator
) -> None:
    grid = GRIDS[2]
    state, velocity, c = random_state(grid, rng), random_state(grid, rng), random_coefficient(grid, rng)
    stencils = Stencils(side, grid)
    diffused = stencils.diffuse(state, c, 1.0, boundary)
    advected = stencils.advect(state, velocity, 0.4, boundary)
    for order in permutations(range(3)):
        turned = Grid.of(**{a: (grid.size[i], grid.resolution[i]) for a, i in zip("xyz", order, strict=True)})
        axes = (0, 1, *(2 + i for i in order))
        there = Stencils(side, turned)
        assert_equivalent(
            diffused.transpose(axes),
            there.diffuse(state.transpose(axes), c.transpose(order), 1.0, boundary),
            "exact discrete solution",
        )
        assert_equivalent(
            advected.transpose(axes),
            there.advect(state.transpose(axes), velocity[:, order].transpose(axes), 0.4, boundary),
            "exact discrete solution",
        )


# --------------------------------------------------------------------------------------------- advection


def shifted(state: NDArray[np.float64], cells: tuple[int, ...], boundary: Boundary) -> NDArray[np.float64]:
    """A state moved by whole cells."""
    for axis, by in enumerate(cells):
        n = state.shape[axis + 2]
        origin = np.arange(n) - by
        inside = np.clip(origin, 0, n - 1)
        moved = np.take(state, origin % n if boundary == "periodic" else inside, axis + 2)
        if boundary == "zero":
            shape = [-1 if a == axis else 1 for a in range(state.ndim - 2)]
            moved = moved * (inside == origin).reshape(shape)
        state = moved
    return state


@ranks
@boundaries
@pytest.mark.parametrize("cells", [(0, 0, 0), (1, -2, 1), (-3, 1, -1), (17, -11, 9)], ids=str)
def test_advection_by_whole_cells_is_a_shift(
    side: str,
    grid: Grid,
    boundary: Boundary,
    cells: tuple[int, ...],
    device: str,
    rng: np.random.Generator,
) -> None:
    state, dt = random_state(grid, rng), 0.5
    wind = np.array([m * h / dt for m, h in zip(cells, grid.spacing, strict=False)])
    velocity = np.broadcast_to(wind.reshape(1, -1, *(1,) * grid.rank), state.shape).copy()
    found = Stencils(side, grid, device=device).advect(state, velocity, dt, boundary)
    expected = shifted(state, cells[: grid.rank], boundary)
    if np.any(expected):
        assert_equivalent(expected, found, "advection by whole cells")
    else:
        assert np.abs(found).max() < 1e-13  # everything has left the box


@ranks
def test_a_linear_profile_is_carried_exactly(side: str, grid: Grid, rng: np.random.Generator) -> None:
    slopes, dt = (1.5, -0.7, 2.0)[: grid.rank], 0.3
    profile = sum(s * x for s, x in zip(slopes, grid.coordinates().values(), strict=True))
    shape = (2, grid.rank, *(1,) * grid.rank)
    velocity = (
        np.broadcast_to(rng.uniform(-0.9, 0.9, shape), (2, grid.rank, *grid.resolution))
        * np.reshape(grid.spacing, (1, -1, *(1,) * grid.rank))
        / dt
    )
    found = Stencils(side, grid).advect(
        np.broadcast_to(profile, velocity.shape).copy(), velocity, dt, "zero-gradient"
    )
    travelled = sum(s * velocity[:, a : a + 1] for a, s in enumerate(slopes)) * dt
    inner = (slice(None), slice(None), *(slice(1, -1),) * grid.rank)
    expected = np.broadcast_to(profile - travelled, velocity.shape)[inner]
    assert_equivalent(expected, found[inner], "exact discrete solution")


@ranks
@boundaries
def test_advection_creates_no_new_extremes_at_any_speed(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    state, velocity = random_state(grid, rng), 20.0 * random_state(grid, rng)
    found = Stencils(side, grid).advect(state, velocity, 0.7, boundary)
    outside = [0.0] if boundary == "zero" else []
    assert found.min() > min([state.min(), *outside]) - 1e-12
    assert found.max() < max([state.max(), *outside]) + 1e-12


@ranks
@pytest.mark.parametrize("boundary", ["periodic", "zero-gradient"])
def test_advection_keeps_a_constant(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    state = spread(np.full(grid.resolution, 2.0), grid)
    found = Stencils(side, grid).advect(np.repeat(state, 2, 0), random_state(grid, rng), 0.7, boundary)
    assert np.abs(found - state).max() < 1e-13


# -------------------------------------------------------------------------------------------- gradients


def sloping(grid: Grid, slopes: tuple[float, ...]) -> NDArray[np.float64]:
    """A linear potential (*space)."""
    terms = zip(slopes, grid.coordinates().values(), strict=False)
    return np.broadcast_to(1.0 + sum(g * x for g, x in terms), grid.resolution).copy()


@ranks
@boundaries
def test_the_gradient_of_a_linear_potential_is_its_slope_inside(
    side: str, grid: Grid, boundary: Boundary, device: str
) -> None:
    """At the ends of an axis half of it, as the ghosts keep the last value; around a period, the way back."""
    slopes = (1.5, -0.7, 2.0)[: grid.rank]
    found = Stencils(side, grid, device=device).gradient(sloping(grid, slopes), boundary)
    expected = np.ones_like(found) * np.reshape(slopes, (-1, *(1,) * grid.rank))
    for axis, (g, n) in enumerate(zip(slopes, grid.resolution, strict=True)):
        ends = np.isin(indices(grid)[axis], (0, n - 1))
        expected[axis][ends] = g * (2 - n) / 2 if boundary == "periodic" else g / 2
    assert_equivalent(expected, found, "exact discrete solution")


@ranks
def test_the_gradient_of_a_fourier_mode_has_the_discrete_symbol(side: str, grid: Grid) -> None:
    """i sin(k dx) / dx: cos(k x + p) becomes -sin(k x + p) sin(k dx) / dx."""
    waves = (2, 1, 3)[: grid.rank]
    steps = [2 * np.pi * k / n for k, n in zip(waves, grid.resolution, strict=True)]
    angle = sum(k * i for k, i in zip(steps, indices(grid), strict=True)) + 0.3
    expected = np.stack([-np.sin(angle) * np.sin(k) / h for k, h in zip(steps, grid.spacing, strict=True)])
    found = Stencils(side, grid).gradient(np.cos(angle), "periodic")
    if grid.rank == 3:  # three waves in six cells alternate from cell to cell, which is not seen
        assert np.abs(expected[2]).max() < 1e-14
    assert_equivalent(expected, found, "exact discrete solution")


@pytest.mark.parametrize("rank", [1, 2, 3])
@boundaries
def test_the_gradient_converges_at_second_order(side: str, rank: int, boundary: Boundary) -> None:
    """At the ends too, where the potential is periodic or flat."""
    errors = []
    for scale in (1, 2, 4):
        grid = box(*(scale * n for n in (10, 9, 8)[:rank]))
        k = [(2 if boundary == "periodic" else 1) * np.pi / size for size in grid.size]
        mesh = np.meshgrid(*grid.coordinates().values(), indexing="ij")
        potential = np.prod([np.cos(a * x) for a, x in zip(k, mesh, strict=True)], axis=0)
        exact = np.stack([-a * np.tan(a * x) * potential for a, x in zip(k, mesh, strict=True)])
        errors.append(np.abs(Stencils(side, grid).gradient(potential, boundary) - exact).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2.0) < 0.2), (errors, orders)


@ranks
@boundaries
def test_the_gradient_sums_to_what_lies_between_the_ends(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    """Along each axis: dx sum = the last value minus the first one, or 0 in a period."""
    potential = rng.standard_normal(grid.resolution)
    found = Stencils(side, grid).gradient(potential, boundary)
    for axis, h in enumerate(grid.spacing):
        between = np.diff(np.take(potential, [0, -1], axis), axis=axis).squeeze(axis)
        expected = np.zeros_like(between) if boundary == "periodic" else between
        assert np.abs(h * found[axis].sum(axis) - expected).max() < 1e-14


@boundaries
def test_turning_the_potential_turns_its_gradient(
    side: str, boundary: Boundary, rng: np.random.Generator
) -> None:
    grid = GRIDS[2]
    potential = rng.standard_normal(grid.resolution)
    found = Stencils(side, grid).gradient(potential, boundary)
    for order in permutations(range(3)):
        turned = Grid.of(**{a: (grid.size[i], grid.resolution[i]) for a, i in zip("xyz", order, strict=True)})
        there = Stencils(side, turned).gradient(potential.transpose(order), boundary)
        expected = found[list(order)].transpose(0, *(1 + i for i in order))
        assert_equivalent(expected, there, "exact discrete solution")
