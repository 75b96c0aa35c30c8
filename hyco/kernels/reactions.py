"""Reactions that happen in every cell by itself, diffusion beside them, and the adjoints of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.kernels.loops import compiled, part
from hyco.kernels.rollout import Rollout
from hyco.kernels.stages import Adjoint, Stages, gathered, undo_step
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
def _react(state, feed, kill, step, substeps, time, first, last, out):
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
                out[member, 0, time, begin + z], out[member, 1, time, begin + z] = u[z], v[z]


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


def react(
    state: Array,
    feed: Array,
    kill: Array,
    dt: float,
    substeps: int,
    trajectory: Array,
    time: int = 0,
    *,
    threads: int = 1,
) -> None:
    """The reaction of Gray and Scott, explicit Euler in equal substeps of a step `dt`, into a frame.

        du/dt = F (1 - u) - u v^2,    dv/dt = u v^2 - (F + k) v

    Args:
        state: u and v, contiguous, (batch, 2, cells).
        feed, kill: F and k in 1/time, one value or one per cell.
        trajectory: contiguous, (batch, 2, time, cells), of which the frame at `time` is filled.
    """
    head = state, feed, kill, _step(state, dt, substeps), substeps, time
    _everywhere(partial(_react, *head), state.shape[2], (trajectory,), threads)


def undo_reaction(
    state: Array, feed: Array, kill: Array, dt: float, substeps: int, given: Array, *, threads: int = 1
) -> tuple[Array, Array, Array]:
    """Derivatives of a number by the state and by F and k of every cell, from those by what `react` gave."""
    out = np.empty_like(state)
    by_feed, by_kill = np.zeros((2, state.shape[2]), state.dtype)
    head = state, feed, kill, _step(state, dt, substeps), substeps, given
    _everywhere(partial(_undo, *head), state.shape[2], (out, by_feed, by_kill), threads)
    return out, by_feed, by_kill


def _step(state: Array, dt: float, substeps: int) -> Any:
    return state.dtype.type(dt / substeps)


def _everywhere(loop: Callable[..., None], cells: int, results: tuple[Array, ...], threads: int) -> None:
    """Cells are divided among the threads, whose number changes no result."""
    run(
        [partial(loop, first, min(first + TOGETHER, cells), *results) for first in range(0, cells, TOGETHER)],
        threads,
    )


class GrayScott(Stages):
    """Both substances diffuse, each by itself, then they react; a state is (u, v).

    Args:
        resolution, spacing, dt, substeps: as of a `Rollout`; the reaction has as many substeps.
        boundaries: of u and v.
    """

    parameters = "Du", "Dv", "feed", "kill"

    def __init__(
        self,
        resolution: tuple[int, ...],
        spacing: tuple[float, ...],
        dt: float,
        *,
        substeps: int,
        boundaries: tuple[str, str],
    ) -> None:
        self.dt, self.substeps = dt, substeps
        self.spread = [
            Rollout(resolution, spacing, dt, moved=1, boundary=b, substeps=substeps) for b in boundaries
        ]

    def step(self, trajectory: Array, time: int, values: Sequence[Array], threads: int) -> Array:
        """Returns what has diffused."""
        state = trajectory[:, :, time]
        diffused = np.concatenate(
            [
                kernel.step(state[:, n : n + 1], coefficient=values[n], threads=threads)
                for n, kernel in enumerate(self.spread)
            ],
            axis=1,
        ).reshape(*state.shape[:2], -1)
        frames = trajectory.reshape(*trajectory.shape[:3], -1)
        react(diffused, *_rates(values), self.dt, self.substeps, frames, time + 1, threads=threads)
        return diffused

    def undo(
        self,
        trajectory: Array,
        time: int,
        kept: Array,
        after: Array,
        given: Array,
        values: Sequence[Array],
        wants: tuple[bool, ...],
        threads: int,
    ) -> Adjoint:
        by_diffused, by_feed, by_kill = undo_reaction(
            kept, *_rates(values), self.dt, self.substeps, after.reshape(kept.shape), threads=threads
        )
        by_diffused = by_diffused.reshape(after.shape)
        found = [
            undo_step(
                kernel, trajectory[:, n : n + 1, time], by_diffused[:, n : n + 1], given[:, n : n + 1],
                coefficient=values[n], by_initial=wants[0], by_coefficient=wants[1 + n], threads=threads,
            )
            for n, kernel in enumerate(self.spread)
        ]  # fmt: skip
        by_state = np.concatenate([f.initial for f in found], axis=1) if wants[0] else None
        rates = gathered(by_feed, values[2]), gathered(by_kill, values[3])
        return by_state, [*(f.coefficient for f in found), *rates]


def _rates(values: Sequence[Array]) -> tuple[Array, Array]:
    return values[2].reshape(-1), values[3].reshape(-1)
