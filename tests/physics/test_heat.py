"""The heat equation against modes, a conducted polynomial, its balances and its extremes, on each side."""

from __future__ import annotations

from itertools import product
from math import fsum
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.problem.equation import diffusion_limit
from hyco.problem.grid import AXES, BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from hyco.testing.cases import pairwise
from tests.sides import box, implementation

Array = NDArray[np.float64]
GRIDS = (box(16), box(12, 10), box(8, 7, 6))
WAVES = (2, 1, 3)


def label(value: Any) -> str:
    """Of a grid, or of anything else, in the name of a test."""
    return f"{value.rank}d" if isinstance(value, Grid) else str(value)


SETTINGS = pairwise(list(product(GRIDS, BOUNDARIES, ("scalar", "field"))), tuple)
settings = pytest.mark.parametrize(("grid", "boundary", "kind"), SETTINGS, ids=label)
insulated = pytest.mark.parametrize(
    ("grid", "boundary", "kind"), [s for s in SETTINGS if s[1] != "zero"], ids=label
)
ranks = pytest.mark.parametrize("grid", GRIDS, ids=label)
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)
directions = pytest.mark.parametrize(
    ("grid", "axis"), [(g, a) for g in GRIDS for a in range(g.rank)], ids=label
)


def heat(side: str, grid: Grid, dt: float, kappa: Array | float, boundary: Boundary, **options: Any) -> Any:
    """A model in double precision on the CPU, unless told otherwise."""
    cls = implementation(side, "physical_model", "heat")
    settings: dict[str, Any] = {"device": "cpu", "precision": "float64", **options}
    return cls(grid, dt, {"conductivity": kappa}, boundaries={"temperature": boundary}, **settings)


def rough(grid: Grid, dt: float, substeps: int, rng: np.random.Generator) -> Array:
    """A conductivity that jumps from cell to cell, between nothing and the stability limit."""
    return diffusion_limit(grid, dt, substeps) * rng.uniform(0.0, 1.0, grid.resolution)


def totals(frames: Array) -> Array:
    """The heat in the box, summed without rounding: (batch, field, time, *space) -> (batch, field, time)."""
    return np.apply_along_axis(fsum, -1, frames.reshape(*frames.shape[:3], -1))


# ------------------------------------------------------------------------------------------------- modes


def discrete_mode(grid: Grid, boundary: Boundary) -> tuple[Array, float]:
    """A vector (*space) that the Laplacian of the grid only scales, and by how much.

    Along each axis, i the cell and k the wave:

        periodic        cos(2 pi k i / n + 0.3)         w = 2 pi k / n
        zero-gradient   cos(pi k (i + 1/2) / n)         w = pi k / n:         the ghosts mirror the end cells
        zero            sin(pi k (i + 1) / (n + 1))     w = pi k / (n + 1):   0 in the ghosts at -1 and n

    and each axis adds (2 cos w - 2) / dx^2.
    """
    mode, eigenvalue = np.ones(grid.resolution), 0.0
    for axis, (k, n, h) in enumerate(zip(WAVES, grid.resolution, grid.spacing, strict=False)):
        i = np.arange(n).reshape([-1 if a == axis else 1 for a in range(grid.rank)])
        w = {"periodic": 2 * np.pi * k / n, "zero-gradient": np.pi * k / n, "zero": np.pi * k / (n + 1)}
        parts = {
            "periodic": np.cos(w["periodic"] * i + 0.3),
            "zero-gradient": np.cos(w["zero-gradient"] * (i + 0.5)),
            "zero": np.sin(w["zero"] * (i + 1)),
        }
        mode = mode * parts[boundary]
        eigenvalue += (2 * np.cos(w[boundary]) - 2) / h**2
    return mode, eigenvalue


@settings
def test_a_mode_decays_by_the_discrete_factor(
    side: str, grid: Grid, boundary: Boundary, kind: str, device: str
) -> None:
    dt, substeps, steps = 1.5, 3, 4
    mode, eigenvalue = discrete_mode(grid, boundary)
    kappa = 0.4 * diffusion_limit(grid, dt, substeps)
    given = kappa if kind == "scalar" else np.full(grid.resolution, kappa)
    model = heat(side, grid, dt, given, boundary, substeps=substeps, device=device)
    factor = (1 + kappa * dt / substeps * eigenvalue) ** (substeps * np.arange(steps + 1))
    state = np.stack([mode, -2.0 * mode])[:, None]
    expected = state[:, :, None] * factor.reshape(-1, *(1,) * grid.rank)
    assert 0.0 < factor[-1] < 0.8
    assert_equivalent(expected, model.predict(state, steps), "exact discrete solution")


def error_of_a_mode(side: str, rank: int, boundary: Boundary, scale: int) -> float:
    """Relative L2 error against the continuous solution, dt / dx^2 being the same at every scale."""
    grid = box(*(n * scale for n in (8, 6, 5)[:rank]))
    kappa, time, steps = 0.1, 2.0, 2 * scale**2
    field, rate = np.ones(grid.resolution), 0.0
    for x, size, h in zip(grid.coordinates().values(), grid.size, grid.spacing, strict=True):
        if boundary == "zero":  # 0 in the middle of the cells around the box
            x, size = x + h / 2, size + h
        k = 2 * np.pi / size if boundary == "periodic" else np.pi / size
        field = field * (np.cos(k * x) if boundary == "zero-gradient" else np.sin(k * x))
        rate += kappa * k**2
    model = heat(side, grid, time / steps, kappa, boundary, substeps=1)
    found = model.predict(field[None, None], steps)[0, 0, -1]
    exact = field * np.exp(-rate * time)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("rank", [1, 2, 3])
@boundaries
def test_the_continuous_solution_is_approached_at_second_order(
    side: str, rank: int, boundary: Boundary
) -> None:
    """A zero boundary acts half a cell outside the box: the solution is that of the wider one."""
    scales = (2, 4, 8) if rank < 3 else (2, 3, 4)
    errors = [error_of_a_mode(side, rank, boundary, scale) for scale in scales]
    order = -np.polyfit(np.log(scales), np.log(errors), 1)[0]
    assert 1.75 < order < 2.2, (errors, order)
    assert errors[-1] < 0.01, errors


def error_of_a_polynomial(side: str, axis: int, rank: int, cells: int) -> float:
    """Relative L2 error of P2 in a conductivity that falls to 0 at both ends of one axis."""
    sides = [(2.0, cells) if a == axis else (3.0, 3) for a in range(rank)]
    grid = Grid.of(**dict(zip(AXES, sides, strict=False)))
    s = np.broadcast_to(list(grid.coordinates().values())[axis] - 1.0, grid.resolution)
    time, steps = 0.1, cells**2 // 24
    start = 0.5 * (3.0 * s**2 - 1.0)
    model = heat(side, grid, time / steps, 1.0 - s**2, "zero-gradient", substeps=2)
    found = model.predict(start[None, None], steps)[0, 0, -1]
    exact = start * np.exp(-6.0 * time)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize(("axis", "rank"), [(0, 1), (0, 2), (1, 2), (2, 3)])
def test_legendres_polynomial_decays_at_six_times_unit_rate(side: str, axis: int, rank: int) -> None:
    """d/ds ((1 - s^2) dP2/ds) = -6 P2; first order, as the smaller conductivity stands for a face."""
    sizes = (24, 48, 96)
    errors = [error_of_a_polynomial(side, axis, rank, cells) for cells in sizes]
    order = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert 0.8 < order < 1.2, (errors, order)
    assert errors[-1] < 0.05, errors


# ---------------------------------------------------------------------------------------------- balances


@insulated
def test_heat_is_conserved(
    side: str, grid: Grid, boundary: Boundary, kind: str, rng: np.random.Generator
) -> None:
    dt, substeps = 1.5, 2
    kappa = rough(grid, dt, substeps, rng) if kind == "field" else 0.8 * diffusion_limit(grid, dt, substeps)
    state = rng.uniform(0.5, 2.0, (3, 1, *grid.resolution)) * np.array([1.0, 2.0, 0.3]).reshape(
        3, 1, *(1,) * grid.rank
    )
    frames = heat(side, grid, dt, kappa, boundary, substeps=substeps).predict(state, 5)
    assert np.abs(frames[:, :, -1] - state).max() > 0.1
    heats = totals(frames)
    assert_equivalent(np.repeat(heats[:, :, :1], 6, 2), heats, "conserved mass")


@ranks
def test_what_a_cold_wall_takes_is_what_flows_through_its_faces(
    side: str, grid: Grid, rng: np.random.Generator
) -> None:
    """Per step: sum over the faces in the boundary of kappa u / dx^2 of the cell inside."""
    dt = 1.5
    kappa, state = rough(grid, dt, 1, rng), rng.uniform(0.5, 2.0, (2, 1, *grid.resolution))
    frames = heat(side, grid, dt, kappa, "zero", substeps=1).predict(state, 4)
    taken = np.zeros(frames.shape[:3])
    for axis, h in enumerate(grid.spacing):
        ends = np.take(kappa * frames, [0, -1], axis=axis + 3)
        taken += dt / h**2 * totals(ends)
    left = totals(frames)
    assert np.all(taken > 0.0)
    assert_equivalent(left[..., :-1] - taken[..., :-1], left[..., 1:], "exact discrete solution")


@settings
def test_no_temperature_leaves_the_range_of_the_frame_before(
    side: str, grid: Grid, boundary: Boundary, kind: str, rng: np.random.Generator
) -> None:
    """Up to the stability limit; beside zero boundaries 0 belongs to the range."""
    dt, substeps = 1.5, 2
    limit = diffusion_limit(grid, dt, substeps)
    kappa = limit if kind == "scalar" else np.where(rng.random(grid.resolution) < 0.8, limit, 0.0)
    state = rng.standard_normal((2, 1, *grid.resolution)) + np.array([0.0, 5.0]).reshape(
        2, 1, *(1,) * grid.rank
    )
    frames = heat(side, grid, dt, kappa, boundary, substeps=substeps).predict(state, 6)
    low, high = (f(frames, axis=tuple(range(3, frames.ndim))) for f in (np.min, np.max))
    if boundary == "zero":
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    assert np.all(np.diff(low, axis=2) > -1e-13)
    assert np.all(np.diff(high, axis=2) < 1e-13)
    assert np.abs(frames[:, :, -1] - state).max() > 0.5


# ------------------------------------------------------------------------------------------------ layers


def layered(grid: Grid, axis: int, low: float, high: float) -> Array:
    """Three layers across one axis, the middle one of another conductivity."""
    n = grid.resolution[axis]
    layers = np.where((np.arange(n) < n // 3) | (np.arange(n) >= 2 * n // 3), high, low)
    shape = [-1 if a == axis else 1 for a in range(grid.rank)]
    return np.broadcast_to(layers.reshape(shape), grid.resolution).copy()


def across(grid: Grid, profile: Array, axis: int) -> Array:
    """A profile along one axis as a state (1, 1, *space)."""
    shape = [-1 if a == axis else 1 for a in range(grid.rank)]
    return np.broadcast_to(profile.reshape(shape), grid.resolution)[None, None].copy()


@directions
def test_a_steady_flow_through_layers_rests_inside(side: str, grid: Grid, axis: int) -> None:
    """u_{i+1} - u_i = q dx / min(kappa_i, kappa_{i+1}) carries the same heat q through every face.

    So only the insulated ends change: the first cell loses q dt / dx, as nothing follows, the last one gains
    it (u rises, so that heat flows down to the first cell and on).
    """
    dt, flow = 1.5, 0.2
    limit, h, n = diffusion_limit(grid, dt, 1), grid.spacing[axis], grid.resolution[axis]
    kappa = layered(grid, axis, 0.1 * limit, 0.9 * limit)
    line = np.moveaxis(kappa, axis, -1).reshape(-1, n)[0]
    faces = np.minimum(line[1:], line[:-1])
    profile = np.concatenate([[1.0], 1.0 + np.cumsum(flow * h / faces)])
    change = np.zeros(n)
    change[0], change[-1] = flow * dt / h, -flow * dt / h
    model = heat(side, grid, dt, kappa, "zero-gradient", substeps=1)
    found = model.predict(across(grid, profile, axis), 1)[:, :, 1]
    assert_equivalent(across(grid, profile + change, axis), found, "exact discrete solution")


@directions
def test_an_insulating_layer_parts_the_box(
    side: str, grid: Grid, axis: int, rng: np.random.Generator
) -> None:
    """The layer keeps its temperatures bit for bit, and each part its heat, until it is as warm all over."""
    dt, substeps = 1.5, 2
    limit = diffusion_limit(grid, dt, substeps)
    kappa = layered(grid, axis, 0.0, 0.9 * limit)
    state = rng.uniform(0.5, 2.0, (1, 1, *grid.resolution))
    frames = heat(side, grid, dt, kappa, "zero-gradient", substeps=substeps).predict(state, 40)
    n = grid.resolution[axis]
    cells = [range(n // 3), range(n // 3, 2 * n // 3), range(2 * n // 3, n)]
    first, layer, last = (np.take(frames, list(c), axis=axis + 3) for c in cells)
    assert np.array_equal(layer, np.repeat(layer[:, :, :1], 41, 2))
    parts = np.stack([totals(first), totals(last)])
    assert_equivalent(np.repeat(parts[..., :1], 41, -1), parts, "conserved mass")
    for part in (first, last):
        assert np.ptp(part[0, 0, -1]) < 0.2 * np.ptp(part[0, 0, 0])
