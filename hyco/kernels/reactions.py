"""Reactions that happen in every cell by itself, and their adjoints, compiled by numba."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.kernels.loops import compiled, part
from hyco.kernels.threads import run

Array = NDArray[Any]
TOGETHER = 1 << 12  # cells of one task
CHUNK = 256  # cells whose substeps follow each other in the cache


@part
def _load(state, feed, kill, member, first, n, u, v, f, gone):
    """The values of some cells, side by side."""
    for z in range(n):
        u[z], v[z] = state[member, 0, first + z], state[member, 1, first + z]
        f[z] = feed[(first + z) % feed.size]
        gone[z] = f[z] + kill[(first + z) % kill.size]


@part
def _advance(u, v, f, gone, step, one, n, u_new, v_new):
    """One substep of some cells."""
    for z in range(n):
        reaction = u[z] * v[z] * v[z]
        u_new[z] = u[z] + step * (f[z] * (one - u[z]) - reaction)
        v_new[z] = v[z] + step * (reaction - gone[z] * v[z])


@compiled
def _react(state, feed, kill, step, substeps, first, last, out):
    one = state.dtype.type(1)
    room = np.empty((6, CHUNK), state.dtype)
    u, v, f, gone, u_new, v_new = room[0], room[1], room[2], room[3], room[4], room[5]
    for member in range(state.shape[0]):
        for begin in range(first, last, CHUNK):
            n = min(CHUNK, last - begin)
            _load(state, feed, kill, member, begin, n, u, v, f, gone)
            for _ in range(substeps):
                _advance(u, v, f, gone, step, one, n, u_new, v_new)
                u, v, u_new, v_new = u_new, v_new, u, v
            for z in range(n):
                out[member, 0, begin + z], out[member, 1, begin + z] = u[z], v[z]


@compiled
def _undo(state, feed, kill, step, substeps, given, first, last, out, by_feed, by_kill):
    one, two = state.dtype.type(1), state.dtype.type(2)
    us, vs = np.empty((2, substeps + 1, CHUNK), state.dtype)
    f, gone, a, b = np.empty((4, CHUNK), state.dtype)
    for member in range(state.shape[0]):
        for begin in range(first, last, CHUNK):
            n = min(CHUNK, last - begin)
            _load(state, feed, kill, member, begin, n, us[0], vs[0], f, gone)
            for i in range(substeps):
                _advance(us[i], vs[i], f, gone, step, one, n, us[i + 1], vs[i + 1])
            for z in range(n):
                a[z], b[z] = given[member, 0, begin + z], given[member, 1, begin + z]
            for i in range(substeps - 1, -1, -1):
                u, v = us[i], vs[i]
                for z in range(n):
                    more, less = step * a[z], step * b[z]
                    reaction = less - more
                    by_feed[begin + z] += more * (one - u[z]) - less * v[z]
                    by_kill[begin + z] -= less * v[z]
                    a[z] += reaction * v[z] * v[z] - more * f[z]
                    b[z] += two * reaction * u[z] * v[z] - less * gone[z]
            for z in range(n):
                out[member, 0, begin + z], out[member, 1, begin + z] = a[z], b[z]


def react(state: Array, feed: Array, kill: Array, dt: float, substeps: int, *, threads: int = 1) -> Array:
    """The reaction of Gray and Scott, explicit Euler in equal substeps of a step `dt`.

        du/dt = F (1 - u) - u v^2,    dv/dt = u v^2 - (F + k) v

    Args:
        state: u and v, contiguous, (batch, 2, cells).
        feed, kill: F and k in 1/time, one value or one per cell.
    """
    out = np.empty_like(state)
    _everywhere(partial(_react, state, feed, kill, _step(state, dt, substeps), substeps), (out,), threads)
    return out


def undo_reaction(
    state: Array, feed: Array, kill: Array, dt: float, substeps: int, given: Array, *, threads: int = 1
) -> tuple[Array, Array, Array]:
    """Derivatives of a number by the state and by F and k of every cell, from those by what `react` gave."""
    out = np.empty_like(state)
    by_feed, by_kill = np.zeros((2, state.shape[2]), state.dtype)
    head = state, feed, kill, _step(state, dt, substeps), substeps, given
    _everywhere(partial(_undo, *head), (out, by_feed, by_kill), threads)
    return out, by_feed, by_kill


def _step(state: Array, dt: float, substeps: int) -> Any:
    return state.dtype.type(dt / substeps)


def _everywhere(loop: Callable[..., None], results: tuple[Array, ...], threads: int) -> None:
    """Cells are divided among the threads, whose number changes no result."""
    cells = results[0].shape[2]
    run(
        [partial(loop, first, min(first + TOGETHER, cells), *results) for first in range(0, cells, TOGETHER)],
        threads,
    )
