"""The stencils of both sides against each other, and against PhiFlow's own operators where these work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from phi.field import CenteredGrid
from phi.geom import Box
from phi.physics import advect, diffuse
from phiml import math
from phiml.math import IncompatibleShapes, channel

from hyco.errors import ConfigError
from hyco.phiml.stencils import EXTRAPOLATION
from hyco.problem.equation import diffusion_limit
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent, snapshot
from hyco.testing.cases import Case
from tests.sides import SIDES, Stencils, box

GRIDS = (box(16), box(12, 10), box(8, 7, 6))
DT = 0.6
ranks = pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.rank}d")
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)
kinds = pytest.mark.parametrize("kind", ["scalar", "field"])
sides = pytest.mark.parametrize("side", SIDES)


def state(grid: Grid, rng: np.random.Generator, speed: float = 1.0) -> NDArray[np.float64]:
    return speed * rng.standard_normal((2, grid.rank, *grid.resolution))


def coefficient(grid: Grid, rng: np.random.Generator, kind: str) -> NDArray[np.float64] | float:
    limit = diffusion_limit(grid, DT, 2)
    return 0.6 * limit if kind == "scalar" else limit * rng.uniform(0.0, 0.9, grid.resolution)


def named(values: NDArray[Any], grid: Grid, precision: str) -> Any:
    """A snapshot of a state as the sides would have it."""
    return snapshot(values.astype(precision), ("batch", "field", *grid.axes))


@ranks
@boundaries
@pytest.mark.parametrize("speed", [0.3, 1.0, 4.0])
def test_advection(
    grid: Grid, boundary: Boundary, speed: float, precision: str, device: str, rng: np.random.Generator
) -> None:
    q, v = state(grid, rng), state(grid, rng, speed)
    legacy, phiml = (Stencils(s, grid, precision, device).advect(q, v, DT, boundary) for s in SIDES)
    assert_equivalent(named(legacy, grid, precision), named(phiml, grid, precision), "advection")


@ranks
@boundaries
@kinds
def test_diffusion(
    grid: Grid, boundary: Boundary, kind: str, precision: str, device: str, rng: np.random.Generator
) -> None:
    q, c = state(grid, rng), coefficient(grid, rng, kind)
    legacy, phiml = (Stencils(s, grid, precision, device).diffuse(q, c, DT, boundary, 2) for s in SIDES)
    assert_equivalent(named(legacy, grid, precision), named(phiml, grid, precision), "diffusion")


# ----------------------------------------------------------------------------------- PhiFlow's own operators


class PhiFlow:
    """The operators of PhiFlow itself, from and to numpy, in double precision."""

    def __init__(self, grid: Grid, boundary: Boundary) -> None:
        self.grid = grid
        self.outside = EXTRAPOLATION[boundary]
        self.arrays = Stencils("phiml", grid).arrays

    def advect(self, q: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """`advect.semi_lagrangian`."""
        with self.arrays.compute.scope():
            wind = math.rename_dims(self.arrays.state(v), "field", channel(vector=",".join(self.grid.axes)))
            moved = advect.semi_lagrangian(self._grid(self.arrays.state(q)), self._grid(wind), DT)
            return self.arrays.numpy(moved.values)

    def diffuse(self, q: NDArray[np.float64], c: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """`diffuse.explicit`."""
        with self.arrays.compute.scope():
            native = self.arrays.parameter(c)
            diffusivity = self._grid(native) if np.ndim(c) else native
            return self.arrays.numpy(
                diffuse.explicit(self._grid(self.arrays.state(q)), diffusivity, DT, substeps=2).values
            )

    def _grid(self, values: Any) -> CenteredGrid:
        bounds = Box(**dict(zip(self.grid.axes, self.grid.size, strict=True)))
        return CenteredGrid(values, self.outside, bounds=bounds)


@sides
@boundaries
@pytest.mark.parametrize("grid", GRIDS[1:], ids=lambda g: f"{g.rank}d")
def test_advection_is_that_of_phiflow(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    q, v = state(grid, rng), state(grid, rng)
    expected = PhiFlow(grid, boundary).advect(q, v)
    assert_equivalent(expected, Stencils(side, grid).advect(q, v, DT, boundary), "advection")


@sides
@ranks
@boundaries
def test_diffusion_with_a_scalar_is_that_of_phiflow(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    q, c = state(grid, rng), coefficient(grid, rng, "scalar")
    expected = PhiFlow(grid, boundary).diffuse(q, c)
    assert_equivalent(expected, Stencils(side, grid).diffuse(q, c, DT, boundary, 2), "diffusion")


@sides
@pytest.mark.parametrize("boundary", ["periodic", "zero-gradient"])
@pytest.mark.parametrize("grid", GRIDS[1:], ids=lambda g: f"{g.rank}d")
def test_diffusion_with_a_field_is_that_of_phiflow(
    side: str, grid: Grid, boundary: Boundary, rng: np.random.Generator
) -> None:
    q, c = state(grid, rng), coefficient(grid, rng, "field")
    expected = PhiFlow(grid, boundary).diffuse(q, c)
    assert_equivalent(expected, Stencils(side, grid).diffuse(q, c, DT, boundary, 2), "diffusion")


# What PhiFlow 3.4.0 cannot do and `hyco.phiml.stencils` therefore does itself.  When one of these passes, a
# newer PhiFlow can, and the code that stands in for it can go.


@pytest.mark.xfail(
    strict=True, raises=RuntimeError, reason="PhiML's torch backend cannot interpolate on a line"
)
def test_phiflow_advects_on_a_line(rng: np.random.Generator) -> None:
    q = state(GRIDS[0], rng)
    expected = Stencils("legacy", GRIDS[0]).advect(q, q, DT, "periodic")
    assert_equivalent(expected, PhiFlow(GRIDS[0], "periodic").advect(q, q), "advection")


@pytest.mark.xfail(
    strict=True,
    raises=IncompatibleShapes,
    reason="PhiFlow mixes cells and faces of a coefficient field on a line",
)
def test_phiflow_diffuses_with_a_field_on_a_line(rng: np.random.Generator) -> None:
    q, c = state(GRIDS[0], rng), coefficient(GRIDS[0], rng, "field")
    expected = Stencils("legacy", GRIDS[0]).diffuse(q, c, DT, "periodic", 2)
    assert_equivalent(expected, PhiFlow(GRIDS[0], "periodic").diffuse(q, c), "diffusion")


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="with a coefficient field nothing passes PhiFlow's zero boundary",
)
@pytest.mark.parametrize("grid", GRIDS[1:], ids=lambda g: f"{g.rank}d")
def test_phiflow_lets_a_field_flow_through_zero_boundaries(grid: Grid, rng: np.random.Generator) -> None:
    q = state(grid, rng)
    c = 0.6 * diffusion_limit(grid, DT, 2)
    phiflow = PhiFlow(grid, "zero")
    assert_equivalent(phiflow.diffuse(q, c), phiflow.diffuse(q, np.full(grid.resolution, c)), "diffusion")


@pytest.mark.parametrize("boundary", ["zero", "zero-gradient"])
def test_an_axis_of_one_cell_is_refused_by_phiflow_alone(boundary: Boundary) -> None:
    """PyTorch's interpolation divides by the cells of an axis less one, and reads foreign memory."""
    case = Case("burgers", (6, 1), "scalar", boundary)
    states = case.states(2)
    with pytest.raises(ConfigError, match=r"axis of one cell.*kernels to auto"):
        case.model("phiml", kernels="phiflow").predict(states, 1)
    expected = case.model("legacy").predict(states, 1)
    assert_equivalent(expected, case.model("phiml").predict(states, 1), "fused steps")
