"""Prior knowledge of field parameters, in numpy: what data cannot tell must come from somewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hyco.problem.grid import Grid

# differences below this share of a field's root mean square count quadratically in its total variation
ROUNDING = 1e-3


def squared_gradient(field: NDArray[np.float64], grid: Grid) -> tuple[float, NDArray[np.float64]]:
    """Mean squared gradient of a field (*space) over the inner faces, and its derivative by every cell.

        R(c) = sum_a mean over faces across a of ((c_right - c_left) / dx_a)^2

    Faces across a periodic boundary do not count: a coefficient may jump there.  A scalar has none: 0.
    Source: Tikhonov (1963).
    """
    value, derivative = 0.0, np.zeros_like(field)
    for axis, width, difference in _differences(field, grid):
        slope = difference / width
        value += float(np.mean(slope**2))
        derivative -= _divergence(2.0 * slope / (width * slope.size), axis)
    return value, derivative


def total_variation(field: NDArray[np.float64], grid: Grid) -> tuple[float, NDArray[np.float64]]:
    """Mean absolute gradient of a field (*space) over the inner faces, and its derivative by every cell.

        R(c) = sum_a mean over faces across a of (sqrt(d^2 + eps^2) - eps) / dx_a
        d = c_right - c_left,    eps = 1e-3 sqrt(mean c^2)

    Units: those of the field per length.  `eps` rounds the kink at d = 0, where the absolute value has no
    derivative; taken from the field itself it makes R(s c) = s R(c) for any unit of c.  One jump costs as
    much as a slope of the same height, so that edges stay.  Faces across a periodic boundary do not count; a
    scalar and a field of zeros have none: 0.  Source: Rudin, Osher, Fatemi (1992), rounded as by Vogel, Oman
    (1996).
    """
    value, derivative = 0.0, np.zeros_like(field)
    eps = ROUNDING * float(np.sqrt(np.mean(field**2)))
    if eps == 0.0:
        return value, derivative
    by_eps = 0.0
    for axis, width, difference in _differences(field, grid):
        root = np.sqrt(difference**2 + eps**2)
        value += float(np.mean(difference**2 / (root + eps))) / width  # root - eps, without cancellation
        by_eps += float(np.mean(eps / root - 1.0)) / width
        derivative -= _divergence(difference / (root * width * difference.size), axis)
    return value, derivative + by_eps * ROUNDING**2 * field / (eps * field.size)


def _differences(field: NDArray[np.float64], grid: Grid) -> Iterator[tuple[int, float, NDArray[np.float64]]]:
    """(axis, spacing, right minus left across its inner faces), but for axes of a single cell."""
    for axis, width in enumerate(grid.spacing[: field.ndim]):
        if field.shape[axis] > 1:
            yield axis, width, np.diff(field, axis=axis)


def _divergence(flux: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """What flows out of every cell through its inner faces across `axis`."""
    ends = [(0, 0)] * flux.ndim
    ends[axis] = (1, 1)
    return np.diff(np.pad(flux, ends), axis=axis)
