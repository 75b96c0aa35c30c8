"""Random initial conditions: they follow the generator alone, and are what their docstrings promise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.problem.equation import Equation
from hyco.problem.equations import EQUATIONS
from hyco.problem.equations.heat import random_temperature
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.problem.initial_conditions import front_in_swirl, random_seeds, random_velocity, swirl
from tests.sides import box

Array = NDArray[np.float64]
GRIDS = {1: box(20), 2: box(16, 14), 3: box(12, 10, 9)}
RANKS = [1, 2, 3]
EVERY = [(equation, rank) for equation in EQUATIONS.values() for rank in equation.ranks]
every = pytest.mark.parametrize(
    ("equation", "rank"), EVERY, ids=[f"{equation.name}-{rank}d" for equation, rank in EVERY]
)
ranks = pytest.mark.parametrize("rank", RANKS)


def layout_of(equation: str, rank: int) -> FieldLayout:
    return EQUATIONS[equation].layout(GRIDS[rank])


def draw(equation: str, grid: Grid, batch: int = 4, seed: int = 0) -> Array:
    """States (batch, field, *space)."""
    facts = EQUATIONS[equation]
    return facts.initial_conditions(grid, facts.layout(grid), batch, np.random.default_rng(seed))


def spectrum(fields: Array, rank: int) -> tuple[Array, Array]:
    """Amplitudes of the waves of fields (batch, field, *space), and the most waves along any axis of each."""
    amplitudes = np.abs(np.fft.fftn(fields, axes=range(2, 2 + rank)))
    counts = [np.abs(np.fft.fftfreq(n, 1 / n)) for n in fields.shape[2:]]
    return amplitudes, np.max(np.meshgrid(*counts, indexing="ij"), axis=0)


# -------------------------------------------------------------------------------------- every equation


@every
def test_states_follow_the_generator_and_nothing_else(equation: Equation, rank: int) -> None:
    grid = GRIDS[rank]
    states = draw(equation.name, grid)
    assert states.dtype == np.float64
    assert states.shape == (4, len(equation.layout(grid).components), *grid.resolution)
    assert np.all(np.isfinite(states))
    np.random.seed(1)  # a global seed has no say
    assert np.array_equal(states, draw(equation.name, grid))
    drawn = [*states, *draw(equation.name, grid, seed=1)]
    for a, b in combinations(drawn, 2):
        assert np.abs(a - b).max() > 1e-3
    assert np.all(np.ptp(states.reshape(*states.shape[:2], -1), axis=-1) > 1e-3)  # no field is uniform


@every
def test_states_of_an_equation_go_on_where_the_generator_stands(equation: Equation, rank: int) -> None:
    grid, rng = GRIDS[rank], np.random.default_rng(0)
    first, second = (equation.initial_conditions(grid, equation.layout(grid), 2, rng) for _ in range(2))
    assert np.array_equal(first, draw(equation.name, grid, 2))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
    ("equation", "rank"), [(e.name, r) for e, r in EVERY if e.name != "navier_stokes"], ids=str
)
def test_a_finer_grid_sees_the_same_state(equation: str, rank: int) -> None:
    """Every third of its cell centres is one of the coarse grid; eddies are discrete, and so excepted."""
    grid = GRIDS[rank]
    axes = zip(grid.axes, grid.size, grid.resolution, strict=True)
    fine = Grid.of(**{a: (size, 3 * cells) for a, size, cells in axes})
    seen = draw(equation, fine, 2)[(..., *(slice(1, None, 3),) * rank)]
    states = draw(equation, grid, 2)
    assert np.abs(seen - states).max() < 1e-12 * np.abs(states).max()


# ----------------------------------------------------------------------------------- velocity, temperature


@ranks
def test_random_velocities_cross_a_hundredth_of_the_longest_side_in_a_unit_of_time(rank: int) -> None:
    for grid in (GRIDS[rank], Grid.of(**dict.fromkeys("xyz"[:rank], (40.0, 16)))):
        layout = layout_of("burgers", rank)
        states = random_velocity(grid, layout, 3, np.random.default_rng(0))
        speeds = np.sqrt(np.mean(states**2, axis=tuple(range(2, 2 + rank))))
        assert speeds == pytest.approx(np.full((3, rank), max(grid.size) / 100), rel=1e-12)
        amplitudes, waves = spectrum(states, rank)
        assert amplitudes[..., waves > 3].max() < 1e-12 * amplitudes.max()
        assert np.all(amplitudes[..., waves == 3].max(-1) > 1e-3 * amplitudes.max())


@ranks
def test_random_temperatures_have_no_mean_unit_size_and_up_to_four_waves(rank: int) -> None:
    states = random_temperature(GRIDS[rank], layout_of("heat", rank), 3, np.random.default_rng(0))
    space = tuple(range(2, 2 + rank))
    assert np.abs(states.mean(space)).max() < 1e-14
    assert np.abs((states**2).mean(space) - 1.0).max() < 1e-12
    amplitudes, waves = spectrum(states, rank)
    assert amplitudes[..., waves > 4].max(initial=0.0) < 1e-12 * amplitudes.max()
    assert np.all(amplitudes[..., waves == 4].max(-1) > 1e-3 * amplitudes.max())


# --------------------------------------------------------------------------------------- front and swirl


@ranks
def test_a_front_is_straight_and_as_wide_as_promised(rank: int) -> None:
    """artanh(2 rho - 1) = n . (x - x0) / w: |n| = 1, w a twentieth of the shortest side, x0 in the middle."""
    grid = box(*(120, 60, 40)[:rank])
    states = front_in_swirl(grid, layout_of("advection", rank), 3, np.random.default_rng(0))
    density = states[:, 0]
    assert 0.0 <= density.min() < 0.01 < 0.99 < density.max() <= 1.0
    points = np.stack(np.meshgrid(*grid.coordinates().values(), indexing="ij"), axis=-1).reshape(-1, rank)
    directions = []
    for rho in density.reshape(3, -1):
        across = (rho > 1e-4) & (rho < 1.0 - 1e-4)
        rows = np.column_stack([points[across], np.ones(np.sum(across))])
        fit, *_ = np.linalg.lstsq(rows, np.arctanh(2.0 * rho[across] - 1.0), rcond=None)
        assert np.abs(rows @ fit - np.arctanh(2.0 * rho[across] - 1.0)).max() < 1e-9
        assert np.linalg.norm(fit[:-1]) == pytest.approx(20.0 / min(grid.size), rel=1e-9)
        corners = np.stack(np.meshgrid(*([0.35 * s, 0.65 * s] for s in grid.size)), -1).reshape(-1, rank)
        heights = corners @ fit[:-1] + fit[-1]
        assert heights.min() < 1e-9 and heights.max() > -1e-9  # the front is not all on one side of them
        directions.append(fit[:-1])
    assert rank == 1 or np.linalg.matrix_rank(directions, tol=1.0) > 1


@ranks
def test_a_front_comes_with_a_swirl_of_its_own(rank: int) -> None:
    grid = GRIDS[rank]
    states = front_in_swirl(grid, layout_of("advection", rank), 2, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for state in states:
        rng.standard_normal(rank), rng.uniform(size=rank)  # direction and place of the front
        assert np.array_equal(state[1:], swirl(grid, rng))


def waves(grid: Grid, axis: int) -> list[Array]:
    """1, sine and cosine of one wave along an axis."""
    angle = 2 * np.pi * list(grid.coordinates().values())[axis] / grid.size[axis]
    return [np.broadcast_to(f, grid.resolution).ravel() for f in (np.sin(angle), np.cos(angle))]


def fitted(values: Array, *basis: Array) -> Array:
    """The coefficients of values in a basis in which they are, to rounding."""
    matrix = np.stack([b.ravel() for b in basis], axis=1)
    coefficients, *_ = np.linalg.lstsq(matrix, values.ravel(), rcond=None)
    assert np.abs(matrix @ coefficients - values.ravel()).max() < 1e-14
    return coefficients


def vortices(grid: Grid) -> tuple[Array, Array]:
    """sin^2(pi x / Lx) sin(2 pi y / Ly) and its turned partner, half as strong in the middle of z."""
    x, y, *z = (2 * np.pi * c / s for c, s in zip(grid.coordinates().values(), grid.size, strict=True))
    strength = 0.75 + 0.25 * np.cos(z[0]) if z else 1.0
    shape = grid.resolution
    return (
        np.broadcast_to(strength * np.sin(x / 2) ** 2 * np.sin(y), shape),
        np.broadcast_to(strength * np.sin(x) * np.sin(y / 2) ** 2, shape),
    )


@ranks
def test_a_swirl_is_a_vortex_and_shears_of_the_promised_speeds(rank: int) -> None:
    grid, speeds, ways = GRIDS[rank], [], set()
    for seed in range(12):
        wind = swirl(grid, np.random.default_rng(seed))
        assert wind.shape == (rank, *grid.resolution)
        if rank == 1:
            s, *shear = fitted(wind[0], np.ones(grid.resolution), *waves(grid, 0))
            shears = [np.hypot(*shear)]
        else:
            along_x, along_y = vortices(grid)
            a, *first = fitted(wind[0], along_x, *waves(grid, 1))
            b, *second = fitted(wind[1], along_y, *waves(grid, 2 % rank))
            third = [fitted(wind[2], *waves(grid, 0))] if rank == 3 else []
            shears = [np.hypot(*e) for e in (first, second, *third)]
            s = b * grid.size[0] / min(grid.size[:2])
            assert -a * grid.size[1] == pytest.approx(b * grid.size[0], rel=1e-9)
        speeds.append(abs(s) / max(grid.size))
        ways.add(np.sign(s))
        assert np.all(np.abs(np.array(shears) / abs(s) - 0.15) <= 0.05 + 1e-9)
    assert 0.01 <= min(speeds) < 0.012 < 0.018 < max(speeds) <= 0.02
    assert ways == {-1.0, 1.0}


@pytest.mark.parametrize("rank", [2, 3])
def test_a_swirl_is_periodic_and_free_of_divergence(rank: int) -> None:
    """Central differences, around the period too, find a divergence that vanishes at second order."""
    divergences = []
    for scale in (1, 2, 4):
        grid = box(*(scale * n for n in (12, 10, 9)[:rank]))
        wind = swirl(grid, np.random.default_rng(0))
        slopes = [
            (np.roll(v, -1, a) - np.roll(v, 1, a)) / (2 * h)
            for a, (v, h) in enumerate(zip(wind, grid.spacing, strict=True))
        ]
        assert np.abs(slopes).max() > 0.01
        divergences.append(np.abs(sum(slopes)).max() / np.abs(slopes).max())
    orders = np.log2(np.array(divergences[:-1]) / divergences[1:])
    assert np.all(np.abs(orders - 2.0) < 0.25), (divergences, orders)


# ------------------------------------------------------------------------------------------------- seeds


@ranks
def test_seeds_disturb_the_resting_state_within_bounds(rank: int) -> None:
    grid = GRIDS[rank]
    u, v = random_seeds(grid, layout_of("gray_scott", rank), 20, np.random.default_rng(0)).swapaxes(0, 1)
    assert 0.5 <= u.min() < 0.6
    assert u.max() <= 1.0
    assert v.min() >= 0.0
    assert 0.2 < v.max() <= 0.25
    assert np.abs(u + 2.0 * v - 1.0).max() < 1e-15
    rest = np.mean(v < 0.025)
    assert rest > 0.25 * rank  # most of a box of several axes is at rest


def test_seeds_are_three_to_six_gaussians_in_a_periodic_box() -> None:
    """On a fine line -log(4 v) is made of parabolas of curvature 1 / r^2, around the period too."""
    grid = Grid.of(x=(10.0, 4000))
    states = random_seeds(grid, layout_of("gray_scott", 1), 60, np.random.default_rng(0))
    h, counts, radii = grid.spacing[0], [], []
    for v in states[:, 1]:
        depth = -np.log(np.maximum(4.0 * v, 1e-300))
        below, above = np.roll(depth, 1), np.roll(depth, -1)
        counts.append(np.sum((depth < below) & (depth <= above) & (depth < 1e-3)))
        curvature = (below - 2.0 * depth + above) / h**2
        same = np.abs(np.diff(curvature, append=curvature[:1])) < 1e-3  # not where two seeds meet
        radii.extend(curvature[same & (depth < 20.0)] ** -0.5)
    assert 10.0 / 30.0 - 1e-4 < min(radii) < 0.35
    assert 0.82 < max(radii) < 10.0 / 12.0 + 1e-4
    assert set(counts) == {3, 4, 5, 6}
    ends = states[:, 1][:, [0, -1]]
    assert np.any(ends > 0.1)
    assert np.abs(ends[:, 0] - ends[:, 1]).max() < 4.0 * 0.25 * h  # seeds go on at the other end
