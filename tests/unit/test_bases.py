"""Bases of field parameters: what they span, their adjoints, projections, and clipping to bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import ConfigError
from hyco.learning.bases import CELLS, Basis, Fourier, Gaussians, Unknowns, basis_of
from hyco.problem.grid import Grid

GRIDS = {
    1: Grid.of(x=(10.0, 14)),
    2: Grid.of(x=(10.0, 12), y=(7.0, 9)),
    3: Grid.of(x=(10.0, 9), y=(7.0, 8), z=(5.0, 7)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "cells": {},
    "fourier": {"modes": 3},
    "gaussians": {"count": 4, "width": 1.3},
}
ranks = pytest.mark.parametrize("rank", [1, 2, 3])
kinds = pytest.mark.parametrize("name", OPTIONS)


def made(name: str, rank: int) -> Basis:
    return basis_of(GRIDS[rank], name=name, **OPTIONS[name])


def drawn(basis: Basis, rank: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random coefficients."""
    example = basis.coefficients(np.zeros(GRIDS[rank].resolution))
    return rng.standard_normal(example.shape)


@ranks
def test_fourier_fields_are_sums_of_waves(rank: int) -> None:
    """Every product of a wave along each axis, by its formula, at its place among the coefficients."""
    grid, basis = GRIDS[rank], made("fourier", rank)
    waves = [lambda s: np.ones_like(s)]
    for k in (1, 2, 3):
        waves += [
            lambda s, k=k: np.cos(2 * np.pi * k * s),
            lambda s, k=k: np.sin(2 * np.pi * k * s),
        ]
    shares = [c / size for c, size in zip(grid.coordinates().values(), grid.size, strict=True)]
    for place in [(0, 3, 6), (5, 2, 0), (4, 1, 1)]:
        coefficients = np.zeros((7,) * rank)
        coefficients[place[:rank]] = 2.0
        expected = np.full(grid.resolution, 2.0)
        for share, number in zip(shares, place, strict=False):
            expected = expected * waves[number](share)
        assert np.abs(basis.field(coefficients) - expected).max() < 1e-14


@ranks
def test_gaussian_fields_are_a_mean_and_bumps(rank: int) -> None:
    grid, basis = GRIDS[rank], made("gaussians", rank)
    places = [(1, 3, 0), (2, 0, 1)]
    coefficients = np.zeros(1 + 4**rank)
    coefficients[0] = 0.5
    expected = np.full(grid.resolution, 0.5)
    for height, place in zip((2.0, -1.0), places, strict=True):
        coefficients[1 + np.ravel_multi_index(place[:rank], (4,) * rank)] = height
        square = sum(
            ((c - (j + 0.5) * size / 4) / (1.3 * size / 4)) ** 2
            for c, j, size in zip(grid.coordinates().values(), place, grid.size, strict=False)
        )
        expected = expected + height * np.exp(-square / 2)
    assert np.abs(basis.field(coefficients) - expected).max() < 1e-14


@ranks
@kinds
def test_the_adjoint_is_the_transpose(name: str, rank: int, rng: np.random.Generator) -> None:
    basis = made(name, rank)
    coefficients, gradient = drawn(basis, rank, rng), rng.standard_normal(GRIDS[rank].resolution)
    left = float(np.sum(basis.field(coefficients) * gradient))
    pulled = basis.adjoint(gradient)
    assert pulled.shape == coefficients.shape
    assert left == pytest.approx(float(np.sum(coefficients * pulled)), rel=1e-12)


@ranks
@kinds
def test_a_field_of_the_basis_is_found_again(name: str, rank: int, rng: np.random.Generator) -> None:
    basis = made(name, rank)
    field = basis.field(drawn(basis, rank, rng))
    again = basis.field(basis.coefficients(field))
    assert np.abs(again - field).max() < 1e-12 * np.abs(field).max()


@ranks
@kinds
def test_any_other_field_is_projected(name: str, rank: int, rng: np.random.Generator) -> None:
    """What is left over is orthogonal to everything in the basis: the least squares."""
    basis, field = made(name, rank), 3.0 + rng.standard_normal(GRIDS[rank].resolution)
    left = field - basis.field(basis.coefficients(field))
    assert np.abs(basis.adjoint(left)).max() < 1e-9
    assert (np.abs(left).max() > 0.1) == (name != "cells")


@ranks
@kinds
@pytest.mark.parametrize("value", [0.1, -7.3, 0.0, 1e-300])
def test_a_uniform_field_is_exact(name: str, rank: int, value: float) -> None:
    basis, field = made(name, rank), np.full(GRIDS[rank].resolution, value)
    assert np.array_equal(basis.field(basis.coefficients(field)), field)


@kinds
def test_a_description_makes_the_same_basis_again(name: str, rng: np.random.Generator) -> None:
    basis = made(name, 2)
    again = basis_of(GRIDS[2], **basis.description)
    coefficients = drawn(basis, 2, rng)
    assert np.array_equal(basis.field(coefficients), again.field(coefficients))
    assert again.description == basis.description == {"name": name, **OPTIONS[name]}


def test_a_basis_finer_than_the_grid_is_refused() -> None:
    grid = Grid.of(x=(1.0, 20), y=(1.0, 7))
    assert isinstance(basis_of(grid, name="fourier", modes=3), Fourier)
    assert isinstance(basis_of(grid, name="gaussians", count=7), Gaussians)
    with pytest.raises(ConfigError, match="4 modes needs 9 cells along each axis, and y has 7"):
        basis_of(grid, name="fourier", modes=4)
    with pytest.raises(ConfigError, match="8 gaussians needs 8 cells along each axis, and y has 7"):
        basis_of(grid, name="gaussians", count=8)
    with pytest.raises(ConfigError, match=r"no basis 'furier'.*fourier"):
        basis_of(grid, name="furier")


# ----------------------------------------------------------------------------------------------- unknowns


def unknowns(name: str) -> Unknowns:
    return Unknowns({"a": (0.0, 2.0), "c": (0.2, 0.9)}, {"c": made(name, 2), "a": CELLS})


def start(name: str, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Coefficients whose field lies partly out of the bounds."""
    field = 0.55 + 1.5 * rng.standard_normal(GRIDS[2].resolution)
    return unknowns(name).of({"a": np.array(0.3), "c": field})


@pytest.mark.parametrize("name", ["fourier", "gaussians"])
def test_fields_of_coefficients_stay_within_bounds_and_coefficients_are_free(
    name: str, rng: np.random.Generator
) -> None:
    coefficients = start(name, rng)
    raw = made(name, 2).field(coefficients["c"])
    fields = unknowns(name).fields(coefficients)
    assert raw.min() < 0.2
    assert raw.max() > 0.9
    assert np.array_equal(fields["c"], np.clip(raw, 0.2, 0.9))
    assert fields["a"] == 0.3
    assert unknowns(name).limits == {"a": (0.0, 2.0), "c": (-np.inf, np.inf)}


def test_the_scale_of_coefficients_is_the_range_of_the_parameter_or_their_own_size() -> None:
    bounds = {"a": (0.0, 2.0), "c": (0.2, 0.9), "d": (0.0, np.inf), "e": (-np.inf, np.inf)}
    many = Unknowns(bounds, {n: made("fourier", 1) for n in ("c", "d", "e")})
    fields = {n: np.full(14, value) for n, value in (("c", 0.3), ("d", 0.05), ("e", 0.0))}
    assert many.scales(many.of({"a": np.array(1.0), **fields})) == {"c": 0.7, "d": 0.05, "e": 1.0}


def test_cells_are_bounded_themselves_and_handed_on_as_they_are(rng: np.random.Generator) -> None:
    coefficients = start("cells", rng)
    cells = unknowns("cells")
    assert cells.limits == cells.bounds
    assert cells.expanded == ()
    assert np.array_equal(cells.fields(coefficients)["c"], coefficients["c"])
    assert np.array_equal(cells.pulled_back(coefficients, coefficients)["c"], coefficients["c"])


@pytest.mark.parametrize("name", ["fourier", "gaussians"])
def test_the_pulled_back_gradient_is_that_of_central_differences(name: str, rng: np.random.Generator) -> None:
    """Of a loss of the clipped field, which draws clipped cells further away: they do not count."""
    coefficients, goal = start(name, rng), rng.standard_normal(GRIDS[2].resolution)
    raw = made(name, 2).field(coefficients["c"])
    goal = np.where((raw < 0.2) | (raw > 0.9), raw, goal)

    def loss(step: float) -> float:
        moved = {n: c + step * directions[n] for n, c in coefficients.items()}
        fields = unknowns(name).fields(moved)
        return float(np.sum((fields["c"] - goal) ** 2) + fields["a"] ** 2)

    directions = {n: rng.standard_normal(c.shape) for n, c in coefficients.items()}
    fields = unknowns(name).fields(coefficients)
    by_fields = {"a": 2 * fields["a"], "c": 2 * (fields["c"] - goal)}
    pulled = unknowns(name).pulled_back(coefficients, by_fields)
    slope = sum(float(np.sum(pulled[n] * directions[n])) for n in pulled)
    assert slope == pytest.approx((loss(1e-7) - loss(-1e-7)) / 2e-7, rel=1e-5)
    inner = made(name, 2).adjoint(by_fields["c"])
    assert np.abs(inner - pulled["c"]).max() > 0.1  # some cells are clipped


@pytest.mark.parametrize("name", ["fourier", "gaussians"])
def test_clipped_cells_count_where_descent_leads_them_back(name: str, rng: np.random.Generator) -> None:
    coefficients = start(name, rng)
    raw = made(name, 2).field(coefficients["c"])
    slopes = {"a": np.array(1.0), "c": np.where(raw > 0.9, 1.0, np.where(raw < 0.2, -1.0, 0.3))}
    pulled = unknowns(name).pulled_back(coefficients, slopes)
    assert np.array_equal(pulled["c"], made(name, 2).adjoint(slopes["c"]))
    assert pulled["a"] == 1.0


@pytest.mark.parametrize("name", ["fourier", "gaussians"])
def test_what_is_nearest_to_a_clipped_field_is_its_projection(name: str, rng: np.random.Generator) -> None:
    some, coefficients = unknowns(name), start(name, rng)
    nearest = some.within(coefficients)
    assert nearest is not None
    assert np.array_equal(nearest["c"], made(name, 2).coefficients(some.fields(coefficients)["c"]))
    assert nearest["a"] == coefficients["a"]
    low = some.of({"a": np.array(0.3), "c": np.full(GRIDS[2].resolution, -0.5)})
    bottom = some.within(low)  # back on the bound, not beyond it, so that nothing is clipped any more
    assert bottom is not None and some.within(bottom) is None
    assert np.array_equal(some.fields(bottom)["c"], np.full(GRIDS[2].resolution, 0.2))
    assert unknowns("cells").within(coefficients) is None


def test_a_basis_for_what_is_not_learned_or_is_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="basis is given for 'd', which is not learned"):
        Unknowns({"c": (0.0, 1.0)}, {"d": CELLS})
    with pytest.raises(ConfigError, match="c is one number, which has no basis 'fourier'"):
        Unknowns({"c": (0.0, 1.0)}, {"c": made("fourier", 2)}).of({"c": np.array(0.5)})
