"""The Burgers equation against an exact solution and its symmetries, on each side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.problem.grid import Grid
from hyco.testing import assert_equivalent
from hyco.testing.cases import BY_NAME, Case
from hyco.testing.cases import CASES as ALL
from tests.sides import implementation

CASES = [c for c in ALL if c.equation == "burgers"]
STEPS = 6


def burgers(side: str, grid: Grid, dt: float, nu: NDArray[np.float64] | float, **options: Any) -> Any:
    """A model in double precision on the CPU, unless told otherwise."""
    cls = implementation(side, "physical_model", "burgers")
    settings: dict[str, Any] = {"device": "cpu", "precision": "float64", **options}
    return cls(grid, dt, {"diffusion_coeff": nu}, **settings)


def rollout(model: Any, state: NDArray[np.float64], steps: int = STEPS) -> NDArray[np.float64]:
    """(batch, field, time, *space)."""
    return model.predict(state, steps)


def cole_hopf(x: NDArray[np.float64], time: float, nu: float) -> NDArray[np.float64]:
    """u = -2 nu phi_x / phi, where phi = 2 + exp(-nu k^2 t) cos(k x) diffuses, k = 2 pi."""
    k = 2 * np.pi
    decay = np.exp(-nu * k**2 * time)
    return 2 * nu * k * decay * np.sin(k * x) / (2.0 + decay * np.cos(k * x))


def error_against_cole_hopf(side: str, cells: int, device: str) -> float:
    """Relative L2 error at a time at which the wave has steepened and lost a third of its height."""
    nu, time = 0.05, 0.2
    grid = Grid.of(x=(1.0, cells))
    steps = cells // 8
    x = grid.centres("x")
    model = burgers(side, grid, time / steps, nu, substeps=max(1, cells // 4), device=device)
    found = rollout(model, cole_hopf(x, 0.0, nu)[None, None], steps)[0, 0, -1]
    exact = cole_hopf(x, time, nu)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def test_the_exact_solution_of_cole_and_hopf_is_approached_at_first_order(side: str, device: str) -> None:
    errors = np.array([error_against_cole_hopf(side, cells, device) for cells in (32, 64, 128)])
    order = -np.polyfit(np.log([32, 64, 128]), np.log(errors), 1)[0]
    assert 0.9 < order < 1.2, (errors, order)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_no_velocity_leaves_the_range_of_the_first_frame(side: str, case: Case) -> None:
    state = case.states(2)
    frames = rollout(case.model(side), state)
    low, high = state.min(axis=tuple(range(2, state.ndim))), state.max(axis=tuple(range(2, state.ndim)))
    low, high = (np.minimum(low, 0.0), np.maximum(high, 0.0)) if case.boundary == "zero" else (low, high)
    later = frames.reshape(*frames.shape[:2], -1)
    assert np.all(later.min(-1) > low - 1e-13)
    assert np.all(later.max(-1) < high + 1e-13)
    assert np.abs(frames[:, :, -1]).max() < 0.95 * np.abs(state).max()


@pytest.mark.parametrize("case", [c for c in CASES if c.boundary != "zero"], ids=lambda c: c.name)
def test_a_uniform_wind_stays(side: str, case: Case) -> None:
    wind = np.array([0.3, -0.2, 0.1])[: case.grid.rank].reshape(1, -1, *(1,) * case.grid.rank)
    state = np.broadcast_to(wind, (1, case.grid.rank, *case.grid.resolution)).copy()
    assert np.abs(rollout(case.model(side), state) - state[:, :, None]).max() < 1e-14


@pytest.mark.parametrize("case", [c for c in CASES if c.boundary == "zero"], ids=lambda c: c.name)
def test_a_uniform_wind_dies_in_a_box_of_zero_boundaries(side: str, case: Case) -> None:
    state = np.full((1, case.grid.rank, *case.grid.resolution), 0.2)
    total = rollout(case.model(side), state).sum(axis=(0, 1, *range(3, 3 + case.grid.rank)))
    assert np.all(np.diff(total) < 0.0)
    assert total[-1] < 0.9 * total[0]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_mirrored_problem_has_the_mirrored_solution(side: str, case: Case) -> None:
    space = tuple(range(-case.grid.rank, 0))
    state = case.states(1)
    nu = case.parameters()["diffusion_coeff"]
    mirrored = case.model(side)
    mirrored.assign({"diffusion_coeff": np.flip(nu).copy() if np.ndim(nu) else nu})
    expected = -np.flip(rollout(case.model(side), state), space)
    assert_equivalent(expected, rollout(mirrored, -np.flip(state, space)), "symmetry of a rollout")


@pytest.mark.parametrize("case", [c for c in CASES if c.grid.rank > 1], ids=lambda c: c.name)
def test_the_turned_problem_has_the_turned_solution(side: str, case: Case) -> None:
    rank = case.grid.rank
    order = (*tuple(range(1, rank)), 0)
    turned = Grid.of(
        **{
            a: (case.grid.size[i], case.grid.resolution[i])
            for a, i in zip(case.grid.axes, order, strict=True)
        }
    )
    nu = case.parameters()["diffusion_coeff"]
    model = burgers(
        side,
        turned,
        case.dt,
        np.transpose(nu, order).copy() if np.ndim(nu) else nu,
        substeps=case.substeps,
        boundaries=case.boundaries,
    )
    state = case.states(1)
    expected = rollout(case.model(side), state)[:, list(order)].transpose(0, 1, 2, *(3 + i for i in order))
    start = state[:, list(order)].transpose(0, 1, *(2 + i for i in order))
    assert_equivalent(expected, rollout(model, start.copy()), "symmetry of a rollout")


@pytest.mark.parametrize("boundary", ["periodic", "zero-gradient"])
def test_a_flow_along_one_axis_is_the_flow_on_a_line(side: str, boundary: Any) -> None:
    line, plane = Grid.of(x=(10.0, 16)), Grid.of(x=(10.0, 16), y=(7.0, 5))
    nu = 0.02 * (1.0 + np.sin(2 * np.pi * line.centres("x") / 10.0))
    options = {"substeps": 2, "boundaries": {"velocity": boundary}}
    start = 0.3 * np.sin(2 * np.pi * line.centres("x") / 10.0)[None, None]
    alone = rollout(burgers(side, line, 1.0, nu, **options), start)
    wide = np.stack([np.repeat(start[0, 0][:, None], 5, 1), np.zeros((16, 5))])[None]
    model = burgers(side, plane, 1.0, np.repeat(nu[:, None], 5, 1), **options)
    frames = rollout(model, wide)
    assert np.abs(frames[:, 1]).max() == 0.0
    assert_equivalent(np.repeat(alone[:, 0][..., None], 5, -1), frames[:, 0], "symmetry of a rollout")


def test_without_viscosity_the_velocity_travels_along_the_characteristics(side: str) -> None:
    """u = x / (1 + t) solves the equation without viscosity, and linear interpolation carries it exactly.

    One step gives x - (x / (1 + t)) dt in the place of x: u (1 - dt / (1 + t)).
    """
    grid = Grid.of(x=(1.0, 16))
    model = burgers(side, grid, 0.1, 0.0, boundaries={"velocity": "zero-gradient"})
    frames = rollout(model, grid.centres("x")[None, None].copy(), 4)[0, 0]
    factor = np.cumprod([1.0] + [1.0 - 0.1 * f for f in (1.0, 0.9, 0.819, 0.7519239)])
    inner = slice(4, -1)
    slopes = frames[:, inner] / grid.centres("x")[inner]
    assert np.abs(slopes - factor[:, None]).max() < 1e-12


def test_viscosity_matters_where_it_is(side: str) -> None:
    case = BY_NAME["burgers-2d-field-periodic"]
    state = case.states(1)
    model = case.model(side)
    before = rollout(model, state, 1)[0, :, 1]
    nu = np.array(case.parameters()["diffusion_coeff"])
    nu[3, 4] = 0.0
    model.assign({"diffusion_coeff": nu})
    changed = np.abs(rollout(model, state, 1)[0, :, 1] - before).max(0) > 0
    reach = np.argwhere(changed) - [3, 4]
    assert changed[3, 4]
    assert np.abs(reach).sum(1).max() <= case.substeps + 1
