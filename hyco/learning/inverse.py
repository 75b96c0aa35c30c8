"""The inverse problem: L-BFGS-B or Adam over the parameters of a physical model, the same for both modes.

A mode brings the objective: parameters in, loss and gradients out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from hyco.interfaces import Solve
from hyco.learning.descent import Descent, descend

Values = Mapping[str, NDArray[np.float64]]
Objective = Callable[[Values], tuple[float, Values]]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """Where a fit ended.

    `status` is converged, stopped (at max_iterations, by a failed line search, or at the end of its reach),
    or diverged; `non_finite` counts the evaluations that were not finite, and `best_evaluation`, from 0,
    tells which one `values` and `loss` are of.
    """

    values: dict[str, NDArray[np.float64]]
    initial_loss: float
    loss: float
    iterations: int
    evaluations: int
    non_finite: int
    status: str
    message: str
    best_evaluation: int = 0


def solve_inverse_problem(
    objective: Objective,
    initial: Values,
    bounds: Mapping[str, tuple[float, float]],
    solve: Solve,
    progress: Callable[[int, float], None] | None = None,
    *,
    reach: float = 1.0,
    scales: Mapping[str, float] | None = None,
    within: Callable[[Values], Values | None] | None = None,
) -> Solution:
    """Minimise `objective` from `initial` within `bounds`, in float64.

    The best finite point that was evaluated is what comes back, so a line search that fails costs nothing. A
    point where the objective is not finite counts as a very bad one, from which the line search backs off,
    and at which Adam ends; a fit that met such points and found nothing better than `initial` is `diverged`,
    and `initial` comes back.

    `reach` below 1 makes smaller steps: L-BFGS-B moves no unknown further than this share of its admissible
    range, where that is infinite of its scale, or of max(|initial|, 1); Adam takes this share of its learning
    rate. `scales`: by name, how much unknowns without bounds may sensibly differ; the first step of L-BFGS-B,
    which knows no curvature yet and would otherwise have the length 1, is a tenth of it.

    `within`: what is nearest to unknowns of which parts are clipped, None where none are. A search ends where
    clipping makes the objective flat; it begins again at what is nearest, as long as that lowers the loss.
    Source: Byrd, Lu, Nocedal, Zhu (1995).
    """
    packing = _Packing(initial)
    watch = _Watch(objective, packing)
    limits = [bounds[name] for name in initial for _ in range(initial[name].size)]
    lower, upper = np.array(limits, dtype=np.float64).T
    start = np.clip(packing.pack(initial), lower, upper)
    first = watch.begin(start)
    if not isfinite(first):
        values = {name: np.array(v, dtype=np.float64) for name, v in initial.items()}
        why = f"{watch.culprit} is not finite at the start"
        return Solution(values, first, first, 0, 1, 1, "diverged", why)
    iteration = 0

    def callback(intermediate_result: object = None) -> None:
        nonlocal iteration
        iteration += 1
        if progress is not None:
            progress(iteration, watch.best_loss)

    known = scales or {}
    sizes = np.array([known.get(name, np.nan) for name in initial for _ in range(initial[name].size)])
    least, greatest = _within_reach(start, lower, upper, sizes, 1.0 if solve.method == "adam" else reach)
    begin: Vector | None = start
    iterations = 0
    while begin is not None:
        before, left = watch.best_loss, replace(solve, max_iterations=solve.max_iterations - iterations)
        if solve.method == "adam":
            end = _adam(watch, begin, lower, upper, left, reach, callback)
        else:
            end = _quasi_newton(watch, begin, least, greatest, sizes, left, callback)
        iterations += end.iterations
        fell = end.iterations > 0 and before - watch.best_loss > solve.rel_tol * watch.scale
        goes_on = fell or begin is start
        begin = None
        if within is not None and goes_on and iterations < solve.max_iterations:
            nearest = within(packing.unpack(watch.best))
            begin = None if nearest is None else np.clip(packing.pack(nearest), least, greatest)
    edge = ((watch.best <= least) & (least > lower)) | ((watch.best >= greatest) & (greatest < upper))
    if end.converged and np.any(edge):
        end = replace(
            end, converged=False, message=f"at the end of its reach, {reach:g} of what is admissible"
        )
    status, message = "converged" if end.converged else "stopped", end.message
    if watch.non_finite > 0 and not watch.best_loss < first:
        status, message = (
            "diverged",
            (
                f"{watch.culprit} was not finite at {watch.non_finite} of {watch.evaluations} points, "
                "and none was better than the start"
            ),
        )
    return Solution(
        packing.unpack(watch.best),
        first,
        watch.best_loss,
        iterations,
        watch.evaluations,
        watch.non_finite,
        status,
        message,
        watch.best_evaluation,
    )


def _within_reach(
    start: Vector, lower: Vector, upper: Vector, sizes: Vector, reach: float
) -> tuple[Vector, Vector]:
    """The box around the start that `reach` allows."""
    if reach >= 1.0:
        return lower, upper
    free = np.where(np.isfinite(sizes), sizes, np.maximum(np.abs(start), 1.0))
    span = upper - lower
    span = reach * np.where(np.isfinite(span), span, free)
    return np.maximum(lower, start - span), np.minimum(upper, start + span)


def _quasi_newton(
    watch: _Watch,
    start: Vector,
    least: Vector,
    greatest: Vector,
    sizes: Vector,
    solve: Solve,
    callback: Callable[[object], None],
) -> Descent:
    """SciPy's L-BFGS-B.

    `sizes`, nan where not known, are the scales of unknowns; powers of two near a tenth of them are the units
    in which SciPy sees these, so that converting rounds nothing.  No component of the gradient in the
    caller's units is larger than abs_tol at the end.
    """
    from scipy.optimize import minimize  # a tenth of a second, which nothing but a fit needs

    known = np.isfinite(sizes)
    units = np.where(known, 2.0 ** np.round(np.log2(0.1 * np.where(known, sizes, 1.0))), 1.0)

    def function(x: Vector) -> tuple[float, Vector]:
        loss, gradient = watch(x * units)
        return loss, gradient * units

    result = minimize(
        function,
        start / units,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(least / units, greatest / units, strict=True)),
        callback=callback,
        options={
            "ftol": solve.rel_tol,
            "gtol": solve.abs_tol / watch.scale * float(np.min(units)),
            "maxiter": solve.max_iterations,
        },
    )
    return Descent(int(result.nit), bool(result.success), str(result.message))


def _adam(
    watch: _Watch,
    start: Vector,
    lower: Vector,
    upper: Vector,
    solve: Solve,
    reach: float,
    callback: Callable[[], None],
) -> Descent:
    """Adam on losses in units of the first one, so that its eps means the same for every problem."""
    if watch.evaluations == 1:
        first = watch.best_loss / watch.scale, watch.first_gradient / watch.scale
    else:
        first = watch.evaluate(start)
    return descend(
        watch.evaluate,
        start,
        first,
        lower,
        upper,
        learning_rate=reach * solve.learning_rate,
        gradient_tolerance=solve.abs_tol / watch.scale,
        loss_tolerance=solve.rel_tol,
        max_iterations=solve.max_iterations,
        callback=callback,
    )


class _Packing:
    """Named arrays <-> one vector."""

    def __init__(self, example: Values) -> None:
        self.shapes = {name: v.shape for name, v in example.items()}

    def pack(self, values: Values) -> Vector:
        return np.concatenate([np.asarray(values[n], dtype=np.float64).ravel() for n in self.shapes])

    def unpack(self, vector: Vector) -> dict[str, NDArray[np.float64]]:
        values, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            values[name] = vector[start : start + size].reshape(shape).copy()
            start += size
        return values


class _Watch:
    """The objective as an optimiser calls it: counts, and remembers the best point.

    SciPy compares a decrease with max(loss, 1), so losses are given to it in units of the first one.
    """

    def __init__(self, objective: Objective, packing: _Packing) -> None:
        self.objective = objective
        self.packing = packing
        self.evaluations = 0
        self.best_evaluation = 0
        self.best_loss = inf
        self.best: Vector = np.empty(0)
        self.first_gradient: Vector = np.empty(0)
        self.non_finite = 0
        self.culprit = ""
        self.scale = 1.0

    def begin(self, start: Vector) -> float:
        """The loss at the start, which becomes the unit; infinite when it is not finite."""
        _, self.first_gradient = self.evaluate(start)
        if isfinite(self.best_loss) and self.best_loss > 0.0:
            self.scale = self.best_loss
        return self.best_loss

    def evaluate(self, vector: Vector) -> tuple[float, Vector]:
        """Loss and gradient in units of the first loss, finite or not."""
        self.evaluations += 1
        loss, gradients = self.objective(self.packing.unpack(vector))
        gradient = self.packing.pack(gradients)
        strange = [f"the gradient by {n}" for n, g in gradients.items() if not np.all(np.isfinite(g))]
        if not isfinite(loss):
            strange = ["the loss"]
        if strange:
            self.non_finite += 1
            self.culprit = strange[0]
        elif loss < self.best_loss:
            self.best_loss, self.best, self.best_evaluation = loss, vector.copy(), self.evaluations - 1
        return loss / self.scale, gradient / self.scale

    def __call__(self, vector: Vector) -> tuple[float, Vector]:
        """`evaluate`, but a very bad loss where it is not finite, from which a line search backs off."""
        before = self.non_finite
        loss, gradient = self.evaluate(vector)
        if self.non_finite > before:
            reference = self.best_loss if isfinite(self.best_loss) else 1.0
            return 1e3 * (1.0 + abs(reference) / self.scale), np.zeros_like(vector)
        return loss, gradient
