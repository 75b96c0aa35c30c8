"""Prior knowledge of field parameters, in numpy: what data cannot tell must come from somewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyco.problem.grid import Grid


def squared_gradient(field: NDArray[np.float64], grid: Grid) -> tuple[float, NDArray[np.float64]]:
    """Mean squared gradient of a field (*space) over the inner faces, and its derivative by every cell.

        R(c) = sum_a mean over faces across a of ((c_right - c_left) / dx_a)^2

    Faces across a periodic boundary do not count: a coefficient may jump there.  A scalar has none: 0.
    Source: Tikhonov (1963).
    """
    value, derivative = 0.0, np.zeros_like(field)
    if field.ndim == 0:
        return value, derivative
    for axis, width in enumerate(grid.spacing):
        slope = np.diff(field, axis=axis) / width
        value += float(np.mean(slope**2))
        pull = 2.0 * slope / (width * slope.size)
        ends = [(0, 0)] * field.ndim
        ends[axis] = (1, 1)
        derivative -= np.diff(np.pad(pull, ends), axis=axis)
    return value, derivative
