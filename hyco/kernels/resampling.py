"""Halving and doubling the resolution of planes, (plane, rows, columns), compiled by numba.

PyTorch (2.13) takes 20 to 80 times as long for these on the CPU, and keeps eight bytes of every maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.kernels.loops import compiled
from hyco.kernels.threads import run

Array = NDArray[Any]
TOGETHER = 1 << 16  # values of one task


@compiled
def _maxima(given, first, last, out, places):
    for p in range(first, last):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                most, place = given[p, 2 * i, 2 * j], np.uint8(0)
                b, c, d = (
                    given[p, 2 * i, 2 * j + 1],
                    given[p, 2 * i + 1, 2 * j],
                    given[p, 2 * i + 1, 2 * j + 1],
                )
                more = (b > most) | (b != b)  # what is no number wins, so that it shows
                most, place = b if more else most, np.uint8(1) if more else place
                more = (c > most) | (c != c)
                most, place = c if more else most, np.uint8(2) if more else place
                more = (d > most) | (d != d)
                out[p, i, j] = d if more else most
                places[p, i, j] = np.uint8(3) if more else place


@compiled
def _back_to_maxima(given, places, first, last, out):
    zero = given.dtype.type(0)
    for p in range(first, last):
        for i in range(given.shape[1]):
            for j in range(given.shape[2]):
                value, place = given[p, i, j], places[p, i, j]
                out[p, 2 * i, 2 * j] = value if place == 0 else zero
                out[p, 2 * i, 2 * j + 1] = value if place == 1 else zero
                out[p, 2 * i + 1, 2 * j] = value if place == 2 else zero
                out[p, 2 * i + 1, 2 * j + 1] = value if place == 3 else zero


@compiled
def _double(given, first, last, out):
    _, rows, columns = given.shape
    near, far = given.dtype.type(0.75), given.dtype.type(0.25)
    row = np.empty(columns + 2, given.dtype)
    for p in range(first, last):
        for y in range(2 * rows):
            i = y // 2
            beside = (i + 2 * (y % 2) - 1) % rows
            for j in range(columns):
                row[j + 1] = near * given[p, i, j] + far * given[p, beside, j]
            row[0], row[columns + 1] = row[columns], row[1]
            for j in range(columns):
                out[p, y, 2 * j] = near * row[j + 1] + far * row[j]
                out[p, y, 2 * j + 1] = near * row[j + 1] + far * row[j + 2]


@compiled
def _undo_double(given, first, last, out):
    _, rows, columns = out.shape
    near, far = given.dtype.type(0.75), given.dtype.type(0.25)
    row = np.empty(2 * columns + 2, given.dtype)
    for p in range(first, last):
        for i in range(rows):
            above, below = (2 * i - 1) % (2 * rows), (2 * i + 2) % (2 * rows)
            for j in range(2 * columns):
                row[j + 1] = near * (given[p, 2 * i, j] + given[p, 2 * i + 1, j])
                row[j + 1] += far * (given[p, above, j] + given[p, below, j])
            row[0], row[2 * columns + 1] = row[2 * columns], row[1]
            for j in range(columns):
                out[p, i, j] = near * (row[2 * j + 1] + row[2 * j + 2])
                out[p, i, j] += far * (row[2 * j] + row[2 * j + 3])


def maxima(given: Array, *, threads: int = 1) -> tuple[Array, Array]:
    """The greatest of every 2x2 values, and which of the four it is: the first of equal ones."""
    planes, rows, columns = given.shape
    out = np.empty((planes, rows // 2, columns // 2), given.dtype)
    places = np.empty(out.shape, np.uint8)
    _everywhere(partial(_maxima, given), given, threads, out, places)
    return out, places


def back_to_maxima(given: Array, places: Array, *, threads: int = 1) -> Array:
    """The adjoint of `maxima`: values where the greatest were, zeros elsewhere."""
    planes, rows, columns = given.shape
    out = np.empty((planes, 2 * rows, 2 * columns), given.dtype)
    _everywhere(partial(_back_to_maxima, given, places), out, threads, out)
    return out


def double(given: Array, *, threads: int = 1) -> Array:
    """Linear interpolation of a periodic plane on cells of half the size.

    out_2i = 3/4 q_i + 1/4 q_{i-1},    out_{2i+1} = 3/4 q_i + 1/4 q_{i+1}    along either axis
    """
    planes, rows, columns = given.shape
    out = np.empty((planes, 2 * rows, 2 * columns), given.dtype)
    _everywhere(partial(_double, given), out, threads, out)
    return out


def undo_double(given: Array, *, threads: int = 1) -> Array:
    """The adjoint of `double`."""
    planes, rows, columns = given.shape
    out = np.empty((planes, rows // 2, columns // 2), given.dtype)
    _everywhere(partial(_undo_double, given), given, threads, out)
    return out


def _everywhere(loop: Callable[..., None], large: Array, threads: int, *results: Array) -> None:
    """Planes are divided among the threads, whose number changes no result."""
    planes = len(large)
    each = max(1, TOGETHER // max(1, large[0].size)) if planes else 1
    run([partial(loop, p, min(p + each, planes), *results) for p in range(0, planes, each)], threads)
