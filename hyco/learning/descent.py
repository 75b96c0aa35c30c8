"""Adam on one vector within bounds, for physical fits, in numpy and so the same for both modes.

The unknowns are on the host: they are few beside the rollouts, which stay on the device, and every evaluation
takes them there and brings one gradient of their size back.  In single precision the steps are still taken on
float64 unknowns, so that many small ones do not get lost in rounding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
BETAS = (0.9, 0.999)
EPS = 1e-8
PATIENCE = 10


@dataclass(frozen=True)
class Descent:
    """How a descent ended: after so many steps, at a tolerance (`converged`) or not, and why."""

    iterations: int
    converged: bool
    message: str


def descend(
    function: Callable[[Vector], tuple[float, Vector]],
    start: Vector,
    first: tuple[float, Vector],
    lower: Vector,
    upper: Vector,
    *,
    learning_rate: float,
    gradient_tolerance: float,
    loss_tolerance: float,
    max_iterations: int,
    callback: Callable[[], None],
) -> Descent:
    """Minimise `function` by projected Adam.

        m <- 0.9 m + 0.1 g              v <- 0.999 v + 0.001 g^2
        x <- clip(x - learning_rate * m / (1 - 0.9^t) / (sqrt(v / (1 - 0.999^t)) + 1e-8), lower, upper)

    `g` is the gradient, 0 where x is on a bound and g points outside.  It ends, before step t, when no
    component of g is larger than `gradient_tolerance`; when the losses at x and at the last 10 points before
    it lie within `loss_tolerance` of each other; after `max_iterations` steps; and where loss or gradient is
    not finite, since it has no line search that could go back.  The caller keeps the best point.

    Args:
        function: x -> loss and gradient, one evaluation.
        first: loss and gradient at `start`, which are known already.
        callback: called after every step.

    Source: Kingma and Ba (2015).
    """
    x, (loss, gradient) = start, first
    mean, square = np.zeros_like(x), np.zeros_like(x)
    recent = deque([loss], maxlen=PATIENCE + 1)
    for step in range(1, max_iterations + 1):
        gradient = np.where(_held(x, gradient, lower, upper), 0.0, gradient)
        if np.max(np.abs(gradient), initial=0.0) <= gradient_tolerance:
            return Descent(step - 1, True, "the projected gradient is within abs_tol")
        if len(recent) > PATIENCE and max(recent) - min(recent) <= loss_tolerance:
            return Descent(step - 1, True, f"the last {PATIENCE} steps changed the loss by less than rel_tol")
        mean = BETAS[0] * mean + (1.0 - BETAS[0]) * gradient
        square = BETAS[1] * square + (1.0 - BETAS[1]) * gradient**2
        scale = np.sqrt(square / (1.0 - BETAS[1] ** step)) + EPS
        x = np.clip(x - learning_rate * mean / (1.0 - BETAS[0] ** step) / scale, lower, upper)
        loss, gradient = function(x)
        recent.append(loss)
        callback()
        if not isfinite(loss) or not np.all(np.isfinite(gradient)):
            return Descent(step, False, f"step {step} led to where the objective is not finite")
    return Descent(max_iterations, False, "max_iterations reached")


def _held(x: Vector, gradient: Vector, lower: Vector, upper: Vector) -> NDArray[np.bool_]:
    """Where a bound keeps x from following the gradient down."""
    return ((x <= lower) & (gradient > 0.0)) | ((x >= upper) & (gradient < 0.0))
