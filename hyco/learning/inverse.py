"""The inverse problem: SciPy's L-BFGS-B over the parameters of a physical model, the same for both modes.

A mode brings the objective: parameters in, loss and gradients out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from hyco.interfaces import Solve

Values = Mapping[str, NDArray[np.float64]]
Objective = Callable[[Values], tuple[float, Values]]


@dataclass(frozen=True)
class Solution:
    """Where a fit ended.

    `status` is converged, stopped (at max_iterations, or by a failed line search), or diverged;
    `non_finite` counts the evaluations that were not finite.
    """

    values: dict[str, NDArray[np.float64]]
    initial_loss: float
    loss: float
    iterations: int
    evaluations: int
    non_finite: int
    status: str
    message: str


def solve_inverse_problem(
    objective: Objective,
    initial: Values,
    bounds: Mapping[str, tuple[float, float]],
    solve: Solve,
    progress: Callable[[int, float], None] | None = None,
) -> Solution:
    """Minimise `objective` from `initial` within `bounds`, in float64.

    The best finite point that was evaluated is what comes back, so a line search that fails costs nothing.
    A point where the objective is not finite counts as a very bad one, from which the line search backs off;
    a fit that met such points and found nothing better than `initial` is `diverged`, and `initial` comes
    back.  Source: Byrd, Lu, Nocedal, Zhu (1995).
    """
    packing = _Packing(initial)
    watch = _Watch(objective, packing)
    limits = [bounds[name] for name in initial for _ in range(initial[name].size)]
    start = np.clip(packing.pack(initial), [low for low, _ in limits], [high for _, high in limits])
    first = watch.begin(start)
    if not isfinite(first):
        values = {name: np.array(v, dtype=np.float64) for name, v in initial.items()}
        return Solution(values, first, first, 0, 1, 1, "diverged", "the objective is not finite at the start")
    iteration = 0

    def callback(intermediate_result: object) -> None:
        nonlocal iteration
        iteration += 1
        if progress is not None:
            progress(iteration, watch.best_loss)

    result = minimize(
        watch,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        callback=callback,
        options={
            "ftol": solve.rel_tol,
            "gtol": solve.abs_tol / watch.scale,
            "maxiter": solve.max_iterations,
        },
    )
    diverged = watch.non_finite > 0 and not watch.best_loss < first
    status = "diverged" if diverged else "converged" if result.success else "stopped"
    return Solution(
        packing.unpack(watch.best),
        first,
        watch.best_loss,
        int(result.nit),
        watch.evaluations,
        watch.non_finite,
        status,
        str(result.message),
    )


class _Packing:
    """Named arrays <-> one vector."""

    def __init__(self, example: Values) -> None:
        self.shapes = {name: v.shape for name, v in example.items()}

    def pack(self, values: Values) -> NDArray[np.float64]:
        return np.concatenate([np.asarray(values[n], dtype=np.float64).ravel() for n in self.shapes])

    def unpack(self, vector: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        values, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            values[name] = vector[start : start + size].reshape(shape).copy()
            start += size
        return values


class _Watch:
    """The objective as SciPy calls it: counts, remembers the best point, and stays finite.

    SciPy compares a decrease with max(loss, 1), so losses are given to it in units of the first one.
    """

    def __init__(self, objective: Objective, packing: _Packing) -> None:
        self.objective = objective
        self.packing = packing
        self.evaluations = 0
        self.best_loss = inf
        self.best: NDArray[np.float64] = np.empty(0)
        self.non_finite = 0
        self.scale = 1.0

    def begin(self, start: NDArray[np.float64]) -> float:
        """The loss at the start, which becomes the unit; infinite when it is not finite."""
        self(start)
        if isfinite(self.best_loss) and self.best_loss > 0.0:
            self.scale = self.best_loss
        return self.best_loss

    def __call__(self, vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        self.evaluations += 1
        loss, gradients = self.objective(self.packing.unpack(vector))
        gradient = self.packing.pack(gradients)
        if not isfinite(loss) or not np.all(np.isfinite(gradient)):
            self.non_finite += 1
            reference = self.best_loss if isfinite(self.best_loss) else 1.0
            return 1e3 * (1.0 + abs(reference) / self.scale), np.zeros_like(vector)
        if loss < self.best_loss:
            self.best_loss, self.best = loss, vector.copy()
        return loss / self.scale, gradient / self.scale
