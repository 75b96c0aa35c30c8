"""Total variation of field parameters: its value on known fields, its derivative, its invariances."""

from __future__ import annotations

import numpy as np
import pytest

from hyco.learning.regularisers import ROUNDING, squared_gradient, total_variation
from hyco.problem.grid import Grid

resolutions = pytest.mark.parametrize("resolution", [(7,), (5, 4), (3, 4, 2)])


def grid_of(resolution: tuple[int, ...]) -> Grid:
    return Grid.of(**{a: (s, n) for a, s, n in zip("xyz", (2.0, 3.0, 1.0), resolution, strict=False)})


@resolutions
def test_a_ramp_costs_its_slope_along_every_axis(resolution: tuple[int, ...]) -> None:
    grid = grid_of(resolution)
    ramp = 0.3 * sum(np.broadcast_to(c, resolution) for c in grid.coordinates().values())
    eps = ROUNDING * np.sqrt(np.mean(ramp**2))
    steps = 0.3 * np.array(grid.spacing)
    expected = sum((np.sqrt(d**2 + eps**2) - eps) / h for d, h in zip(steps, grid.spacing, strict=True))
    value = total_variation(ramp, grid)[0]
    assert value == pytest.approx(expected, rel=1e-12)
    assert value == pytest.approx(0.3 * grid.rank, rel=0.05)


@resolutions
@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_its_derivative_is_that_of_central_differences(
    resolution: tuple[int, ...], spread: float, rng: np.random.Generator
) -> None:
    """Also where most differences are as small as the rounding of the kink."""
    grid = grid_of(resolution)
    field, direction = rng.standard_normal((2, *resolution))
    field = 1.0 + spread * field
    _, gradient = total_variation(field, grid)
    h = 1e-6 * spread
    ahead, behind = (total_variation(field + s * h * direction, grid)[0] for s in (1, -1))
    assert float(np.sum(gradient * direction)) == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


@resolutions
def test_it_is_homogeneous_and_does_not_see_the_sign(
    resolution: tuple[int, ...], rng: np.random.Generator
) -> None:
    grid, field = grid_of(resolution), rng.standard_normal(resolution)
    value, gradient = total_variation(field, grid)
    for scale in (-1.0, 1e-7, 1e7):
        scaled, slope = total_variation(scale * field, grid)
        assert scaled == pytest.approx(abs(scale) * value, rel=1e-12)
        assert np.abs(slope - np.sign(scale) * gradient).max() < 1e-12 * np.abs(gradient).max()


def test_a_jump_costs_as_much_as_a_ramp_of_the_same_height() -> None:
    grid = Grid.of(x=(1.0, 101))
    jump, ramp = np.where(np.arange(101) < 50, 1.0, 2.0), np.linspace(1.0, 2.0, 101)
    assert total_variation(jump, grid)[0] == pytest.approx(total_variation(ramp, grid)[0], rel=0.2)
    assert squared_gradient(jump, grid)[0] == pytest.approx(100.0 * squared_gradient(ramp, grid)[0])


@pytest.mark.parametrize("field", [np.array(2.0), np.zeros((3, 4)), np.full((3, 4), 0.1)])
def test_what_has_no_slope_costs_nothing(field: np.ndarray) -> None:
    for regulariser in (squared_gradient, total_variation):
        value, gradient = regulariser(field, grid_of((3, 4)))
        assert value == 0.0
        assert np.shape(gradient) == field.shape
        assert not np.any(gradient)


def test_an_axis_of_one_cell_has_no_faces() -> None:
    field = np.array([[1.0], [2.0], [4.0]])
    grid = Grid.of(x=(3.0, 3), y=(1.0, 1))
    assert squared_gradient(field, grid)[0] == 2.5
    assert total_variation(field, grid)[0] == pytest.approx(1.5, rel=1e-2)
