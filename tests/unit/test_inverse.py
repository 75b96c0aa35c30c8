"""The inverse problem: L-BFGS-B and Adam within bounds, whatever the objective does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.interfaces import Solve
from hyco.learning.inverse import Solution, solve_inverse_problem
from hyco.learning.regularisers import squared_gradient
from hyco.problem.grid import Grid

Values = Mapping[str, NDArray[np.float64]]
TIGHT = Solve(abs_tol=1e-14, rel_tol=1e-16, max_iterations=200)
FREE = (-np.inf, np.inf)
TARGET = {"a": np.array(3.0), "b": np.array([[1.0, -2.0, 0.5], [4.0, 0.0, -1.0]])}


def quadratic(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """sum_n n |v_n - target_n|^2, with another weight for each parameter."""
    weights = {"a": 1.0, "b": 20.0}
    loss = sum(weights[n] * float(np.sum((v - TARGET[n]) ** 2)) for n, v in values.items())
    return loss, {n: 2 * weights[n] * (v - TARGET[n]) for n, v in values.items()}


def solve_quadratic(bounds: tuple[float, float] = FREE, solve: Solve = TIGHT) -> Solution:
    start = {"a": np.array(0.5), "b": np.full((2, 3), 0.25)}
    return solve_inverse_problem(quadratic, start, {"a": bounds, "b": bounds}, solve)


def test_scalars_and_fields_are_found_together_in_their_shapes() -> None:
    solution = solve_quadratic()
    for name, target in TARGET.items():
        assert solution.values[name].shape == target.shape
        assert np.abs(solution.values[name] - target).max() < 1e-7
    assert solution.status == "converged"
    assert solution.non_finite == 0
    assert solution.initial_loss == pytest.approx(
        quadratic({"a": np.array(0.5), "b": np.full((2, 3), 0.25)})[0]
    )
    assert solution.loss == quadratic(solution.values)[0] < 1e-13


def test_bounds_hold_and_the_rest_is_still_optimal() -> None:
    solution = solve_quadratic((-1.0, 2.0))
    for name, target in TARGET.items():
        assert np.abs(solution.values[name] - np.clip(target, -1.0, 2.0)).max() < 1e-7


def test_a_start_outside_the_bounds_is_moved_inside() -> None:
    seen = []

    def objective(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        seen.append(float(values["a"]))
        return quadratic(values)

    solve_inverse_problem(objective, {"a": np.array(9.0)}, {"a": (0.0, 5.0)}, TIGHT)
    assert seen[0] == 5.0
    assert all(0.0 <= a <= 5.0 for a in seen)


def rosenbrock(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
    x, y = values["p"]
    gradient = np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])
    return float((1 - x) ** 2 + 100 * (y - x * x) ** 2), {"p": gradient}


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_the_unit_of_the_loss_does_not_matter(scale: float) -> None:
    def scaled(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        loss, gradient = rosenbrock(values)
        return scale * loss, {"p": scale * gradient["p"]}

    tight = Solve(abs_tol=1e-10 * scale, rel_tol=1e-15, max_iterations=200)
    solution = solve_inverse_problem(scaled, {"p": np.array([-1.2, 1.0])}, {"p": (-5.0, 5.0)}, tight)
    assert np.abs(solution.values["p"] - 1.0).max() < 1e-6


def test_an_infinite_start_is_diverged_and_changes_nothing() -> None:
    solution = solve_inverse_problem(
        lambda v: (np.nan, {"a": np.array(1.0)}), {"a": np.array(0.7)}, {"a": (0.0, 0.5)}, TIGHT
    )
    assert solution.status == "diverged"
    assert (solution.evaluations, solution.non_finite) == (1, 1)
    assert solution.values == {"a": np.array(0.7)}


def test_a_non_finite_gradient_counts_as_a_bad_point_too() -> None:
    solution = solve_inverse_problem(
        lambda v: (1.0, {"a": np.array(np.inf)}), {"a": np.array(0.7)}, {"a": FREE}, TIGHT
    )
    assert solution.status == "diverged"
    assert solution.values["a"] == 0.7


def cliff(edge: float) -> Callable[[Values], tuple[float, dict[str, NDArray[np.float64]]]]:
    """(a - 3)^2 up to an edge, beyond which nothing is finite."""

    def objective(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        a = float(values["a"])
        return (
            (np.nan, {"a": np.array(np.nan)})
            if a > edge
            else ((a - 3.0) ** 2, {"a": np.array(2 * (a - 3.0))})
        )

    return objective


def test_the_search_backs_off_from_a_cliff_and_keeps_what_it_gained() -> None:
    solution = solve_inverse_problem(cliff(1.2), {"a": np.array(0.5)}, {"a": (0.0, 10.0)}, TIGHT)
    assert solution.non_finite > 0
    assert solution.status != "diverged"
    assert 0.5 < solution.values["a"] <= 1.2
    assert solution.loss == (float(solution.values["a"]) - 3.0) ** 2 < solution.initial_loss


def test_a_search_that_finds_nothing_beside_the_cliff_is_diverged_and_returns_the_start() -> None:
    solution = solve_inverse_problem(cliff(0.5), {"a": np.array(0.5)}, {"a": (0.0, 10.0)}, TIGHT)
    assert solution.status == "diverged"
    assert solution.non_finite > 0
    assert solution.values["a"] == 0.5
    assert solution.loss == solution.initial_loss


def test_the_best_point_comes_back_when_the_gradient_lies() -> None:
    def liar(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        loss, gradient = quadratic(values)
        return loss, {n: -g for n, g in gradient.items()}

    start = {"a": np.array(0.5)}
    solution = solve_inverse_problem(liar, start, {"a": FREE}, TIGHT)
    assert solution.loss <= solution.initial_loss
    assert solution.status == "stopped"


def test_max_iterations_stops_and_progress_counts_them() -> None:
    calls: list[tuple[int, float]] = []
    solution = solve_inverse_problem(
        rosenbrock,
        {"p": np.array([-1.2, 1.0])},
        {"p": FREE},
        Solve(1e-12, 0.0, 7),
        lambda iteration, loss: calls.append((iteration, loss)),
    )
    assert solution.status == "stopped"
    assert solution.iterations == 7
    assert [i for i, _ in calls] == list(range(1, 8))
    losses = [loss for _, loss in calls]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == solution.loss
    assert solution.evaluations >= 8


def test_abs_tol_bounds_the_gradient_at_the_end() -> None:
    loose = solve_quadratic(solve=Solve(abs_tol=1.0, rel_tol=0.0, max_iterations=99))
    gradient = quadratic(loose.values)[1]
    assert max(np.abs(g).max() for g in gradient.values()) <= 1.0
    assert loose.status == "converged"
    assert loose.evaluations < solve_quadratic().evaluations


def test_the_best_evaluation_is_the_one_that_comes_back() -> None:
    losses: list[float] = []

    def objective(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        loss, gradient = rosenbrock(values)
        losses.append(loss)
        return loss, gradient

    for method in ("L-BFGS-B", "adam"):
        losses.clear()
        solve = Solve(max_iterations=9, method=method)
        solution = solve_inverse_problem(objective, {"p": np.array([-1.2, 1.0])}, {"p": FREE}, solve)
        assert len(losses) == solution.evaluations
        assert solution.best_evaluation > 0
        assert losses[solution.best_evaluation] == min(losses) == solution.loss


@pytest.mark.parametrize(("reach", "expected"), [(1.0, 3.0), (0.1, 1.5), (0.01, 0.6)])
def test_a_shorter_reach_keeps_l_bfgs_b_near_the_start(reach: float, expected: float) -> None:
    start = {"a": np.array(0.5)}
    solution = solve_inverse_problem(quadratic, start, {"a": (0.0, 10.0)}, TIGHT, reach=reach)
    assert solution.values["a"] == pytest.approx(expected, abs=1e-7)
    assert solution.status == ("converged" if reach == 1.0 else "stopped")
    assert ("reach" in solution.message) == (reach < 1.0)


def test_a_reach_without_bounds_is_relative_to_the_start_and_stays_within_bounds() -> None:
    def reached(start: float, bounds: tuple[float, float]) -> float:
        found = solve_inverse_problem(
            lambda v: ((v["a"] - 99.0) ** 2, {"a": 2 * (v["a"] - 99.0)}),
            {"a": np.array(start)},
            {"a": bounds},
            TIGHT,
            reach=0.1,
        )
        return float(found.values["a"])

    assert reached(0.5, FREE) == pytest.approx(0.6)
    assert reached(8.0, FREE) == pytest.approx(8.8)
    assert reached(8.0, (0.0, np.inf)) == pytest.approx(8.8)
    assert reached(8.0, (0.0, 8.3)) == pytest.approx(8.3)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_first_step_is_a_tenth_of_a_scale_and_abs_tol_is_of_the_gradient(scale: float) -> None:
    """|v - 30 scale|^4 of an unknown without bounds, in whatever unit; powers of two are near enough."""
    seen: list[float] = []

    def objective(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        off = (values["a"] - 30.0 * scale) / scale
        seen.append(float(values["a"]))
        return float(off**4), {"a": 4 * off**3 / scale}

    solve = Solve(abs_tol=1e-3 / scale, rel_tol=0.0, max_iterations=99)
    start, scales = {"a": np.array(2.0 * scale)}, {"a": scale}
    solution = solve_inverse_problem(objective, start, {"a": FREE}, solve, scales=scales)
    assert seen[1] == seen[0] == 2.0 * scale
    assert 0.05 * scale < seen[2] - seen[0] < 0.2 * scale
    assert solution.status == "converged"
    assert abs(objective(solution.values)[1]["a"]) <= 1e-3 / scale
    near = solve_inverse_problem(objective, start, {"a": FREE}, solve, scales=scales, reach=0.1)
    assert near.values["a"] == pytest.approx(2.1 * scale)


ADAM = Solve(abs_tol=1e-7, rel_tol=0.0, max_iterations=4000, method="adam", learning_rate=0.05)


def test_adam_takes_the_steps_of_its_definition() -> None:
    """Against the textbook's loop, on losses in units of the first one."""
    seen: list[NDArray[np.float64]] = []

    def objective(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        seen.append(values["p"].copy())
        return rosenbrock(values)

    start = np.array([-1.2, 1.0])
    solve = Solve(0.0, 0.0, 20, "adam", 0.03)
    solution = solve_inverse_problem(objective, {"p": start}, {"p": (-5.0, 5.0)}, solve)
    unit = rosenbrock({"p": start})[0]
    m, v, p = np.zeros(2), np.zeros(2), start
    for step in range(1, 21):
        gradient = rosenbrock({"p": p})[1]["p"] / unit
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        p = p - 0.03 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        assert np.abs(seen[step] - p).max() < 1e-14
    assert (solution.iterations, solution.evaluations, len(seen)) == (20, 21, 21)
    assert solution.status == "stopped"


def test_adam_finds_scalars_and_fields_within_bounds() -> None:
    loose = replace(ADAM, abs_tol=1e-5)
    free, bounded = solve_quadratic(solve=loose), solve_quadratic((-1.0, 2.0), loose)
    for name, target in TARGET.items():
        assert np.abs(free.values[name] - target).max() < 1e-6
        assert np.abs(bounded.values[name] - np.clip(target, -1.0, 2.0)).max() < 1e-6
    assert free.status == bounded.status == "converged"
    assert "abs_tol" in free.message
    assert "abs_tol" in bounded.message  # what bounds hold back does not count
    assert bounded.values["a"] == 2.0


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_the_unit_of_the_loss_does_not_matter_to_adam(scale: float) -> None:
    def scaled(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        loss, gradient = rosenbrock(values)
        return scale * loss, {"p": scale * gradient["p"]}

    start, solve = {"p": np.array([-1.2, 1.0])}, Solve(0.0, 0.0, 30, "adam", 0.03)
    expected = solve_inverse_problem(rosenbrock, start, {"p": FREE}, solve).values["p"]
    found = solve_inverse_problem(scaled, start, {"p": FREE}, solve).values["p"]
    assert np.abs(found - expected).max() < 1e-9


def test_adam_ends_when_ten_steps_change_the_loss_by_less_than_rel_tol() -> None:
    losses: list[float] = []

    def objective(values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        losses.append(quadratic(values)[0])
        return quadratic(values)

    solve = Solve(0.0, 1e-3, 4000, "adam", 0.05)
    solution = solve_inverse_problem(objective, {"a": np.array(0.5)}, {"a": FREE}, solve)
    assert solution.status == "converged"
    assert "rel_tol" in solution.message
    spans = [np.ptp(losses[i : i + 11]) for i in range(len(losses) - 10)]
    assert spans[-1] <= 1e-3 * losses[0] < min(spans[:-1])


def test_losses_that_come_and_go_are_no_end() -> None:
    """Every tenth loss is the same here, and none of those between."""
    losses = [1.0 + 0.1 * (i % 10) for i in range(40)]
    calls = iter(losses)
    solve = Solve(0.0, 1e-3, 30, "adam", 0.05)
    solution = solve_inverse_problem(
        lambda v: (next(calls), {"a": np.array(1.0)}), {"a": np.array(0.5)}, {"a": FREE}, solve
    )
    assert (solution.status, solution.iterations) == ("stopped", 30)


def test_adam_stops_at_a_cliff_with_what_it_gained_or_is_diverged() -> None:
    gained = solve_inverse_problem(cliff(1.2), {"a": np.array(0.5)}, {"a": FREE}, ADAM)
    assert (gained.status, gained.non_finite) == ("stopped", 1)
    assert "step 15 led to where the objective is not finite" in gained.message
    assert 1.1 < gained.values["a"] <= 1.2
    lost = solve_inverse_problem(cliff(0.5), {"a": np.array(0.5)}, {"a": FREE}, ADAM)
    assert (lost.status, lost.iterations) == ("diverged", 1)
    assert "the loss was not finite at 1 of 2 points" in lost.message
    assert lost.values["a"] == 0.5
    shorter = solve_inverse_problem(cliff(0.51), {"a": np.array(0.5)}, {"a": FREE}, ADAM, reach=0.1)
    assert shorter.status == "stopped"
    assert shorter.values["a"] == pytest.approx(0.51, abs=5e-3)


def test_what_was_not_finite_is_named() -> None:
    solution = solve_inverse_problem(
        lambda v: (1.0, {"a": np.array(1.0), "b": np.array([0.0, np.inf])}),
        {"a": np.array(0.7), "b": np.zeros(2)},
        {"a": FREE, "b": FREE},
        TIGHT,
    )
    assert solution.message == "the gradient by b is not finite at the start"


@pytest.mark.parametrize("resolution", [(7,), (5, 4), (3, 4, 2)])
def test_the_regulariser_is_the_mean_squared_slope_and_has_that_gradient(
    resolution: tuple[int, ...], rng: np.random.Generator
) -> None:
    grid = Grid.of(**{a: (s, n) for a, s, n in zip("xyz", (2.0, 3.0, 1.0), resolution, strict=False)})
    ramp = 0.3 * sum(np.broadcast_to(c, resolution) for c in grid.coordinates().values())
    assert squared_gradient(ramp, grid)[0] == pytest.approx(0.09 * grid.rank, rel=1e-12)
    field, direction = rng.standard_normal((2, *resolution))
    _, gradient = squared_gradient(field, grid)
    h = 1e-4
    slope = (
        squared_gradient(field + h * direction, grid)[0] - squared_gradient(field - h * direction, grid)[0]
    ) / (2 * h)
    assert float(np.sum(gradient * direction)) == pytest.approx(slope, rel=1e-8)


def test_a_scalar_has_no_slope() -> None:
    value, gradient = squared_gradient(np.array(2.0), Grid.of(x=(1.0, 4)))
    assert value == 0.0
    assert gradient.shape == ()
    assert gradient == 0.0
