"""Incompressible flow that carries smoke and is lifted by it: steps of a plane box, and their adjoints.

Loops are in the arithmetic of `hyco.legacy.projection`, but for the pressure: there the divergence and the
gradient are made in the modes in which both are diagonal, here by differences, which halves the products
with matrices.  They agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyco.kernels.loops import _add, apart, at, compiled, part
from hyco.kernels.rollout import WORTH_A_THREAD, Rollout
from hyco.kernels.stages import Adjoint, Stages, gathered, undo_step
from hyco.kernels.threads import run

Array = NDArray[Any]
BEYOND = {"periodic": 0, "zero": -1, "zero-gradient": 1}
"""What velocities are beyond an end: those of the other end, minus the last one (a wall), the last one."""


@part
def _beyond(own, opposite, beyond):
    """The value beyond an end from those of both ends."""
    if beyond == 0:
        return opposite
    return own if beyond > 0 else -own


@part
def _average(out, row, half, beyond, n):
    """The means of neighbours on the faces, and of these in the cells."""
    apart()
    before, after = _beyond(row[0], row[n - 1], beyond), _beyond(row[n - 1], row[0], beyond)
    for z in range(1, n - 1):
        out[z] = half * (half * (row[z - 1] + row[z]) + half * (row[z] + row[z + 1]))
    for z in (0, n - 1):
        low, high = row[z - 1] if z > 0 else before, row[z + 1] if z < n - 1 else after
        out[z] = half * (half * (low + row[z]) + half * (row[z] + high))


@part
def _add_slope(out, row, rate, beyond, n):
    """Add the central difference along a row."""
    apart()
    before, after = _beyond(row[0], row[n - 1], beyond), _beyond(row[n - 1], row[0], beyond)
    for z in range(1, n - 1):
        out[z] += rate * (row[z + 1] - row[z - 1])
    out[0] += rate * ((row[1] if n > 1 else after) - before)
    if n > 1:
        out[n - 1] += rate * (after - row[n - 2])


@part
def _difference(out, high, low, rate, n):
    apart()
    for z in range(n):
        out[z] = rate * (high[z] - low[z])


@part
def _mirrored(out, own, other, rate, n):
    """The same where one of the neighbours is minus the cell itself."""
    apart()
    for z in range(n):
        out[z] = rate * (own[z] + other[z])


@part
def _slope_across(out, values, x, rate, beyond, nx, ny):
    """The central difference across the rows, at row x."""
    own, low, high = at(values, x * ny), at(values, (x - 1) % nx * ny), at(values, (x + 1) % nx * ny)
    if beyond == 0 or 0 < x < nx - 1:
        _difference(out, high, low, rate, ny)
    elif beyond > 0:
        _difference(out, own if x == nx - 1 else high, own if x == 0 else low, rate, ny)
    elif nx == 1:
        _difference(out, own, own, rate, ny)
    elif x == 0:
        _mirrored(out, own, high, rate, ny)
    else:
        _mirrored(out, own, low, -rate, ny)


@part
def _take(out, given, slope, n):
    apart()
    for z in range(n):
        out[z] = given[z] - slope[z]


@compiled
def _balance(force, beyond, first, last, out):
    """A force along the last axis that pressure can balance, of some members (batch, plane, row)."""
    _, nx, ny = force.shape
    half = force.dtype.type(0.5)
    sums = np.zeros(ny)
    for member in range(first, last):
        for x in range(nx):
            own = at(out, (member * nx + x) * ny)
            _average(own, at(force, (member * nx + x) * ny), half, beyond, ny)
            _add(at(sums, 0), own, ny)
        mean = force.dtype.type(sums.sum() / (nx * ny))
        sums[:] = 0.0
        if beyond == 0:
            for r in range(member * nx * ny, (member + 1) * nx * ny, ny):
                own = at(out, r)
                for z in range(ny):
                    own[z] -= mean


@compiled
def _diverge(velocity, rates, beyond, first, last, out):
    """The divergence of some members (batch, axis, plane, row)."""
    _, _, nx, ny = velocity.shape
    for member in range(first, last):
        across, along = at(velocity, member * 2 * nx * ny), at(velocity, (member * 2 + 1) * nx * ny)
        for x in range(nx):
            into = at(out, (member * nx + x) * ny)
            _slope_across(into, across, x, rates[0], beyond, nx, ny)
            _add_slope(into, at(along, x * ny), rates[1], beyond, ny)


@compiled
def _relieve(velocity, pressure, rates, beyond, time, first, last, out):
    """Velocities less the gradient of a pressure, into a frame of (batch, component, time, cells)."""
    _, _, nx, ny = velocity.shape
    _, components, frames, cells = out.shape
    room = np.empty(ny, velocity.dtype)
    slope = at(room, 0)
    for member in range(first, last):
        own = at(pressure, member * cells)
        for c in range(2):
            source = at(velocity, (member * 2 + c) * cells)
            into = at(out, ((member * components + c) * frames + time) * cells)
            for x in range(nx):
                if c == 0:
                    _slope_across(slope, own, x, rates[0], -beyond, nx, ny)
                else:
                    for z in range(ny):
                        slope[z] = 0
                    _add_slope(slope, at(own, x * ny), rates[1], -beyond, ny)
                _take(at(into, x * ny), at(source, x * ny), slope, ny)


class NavierStokes(Stages):
    """Smoke and velocity are carried, velocity diffuses, smoke lifts it, pressure takes its divergence off.

        rho_1(x) = rho(x - u dt),    u_1(x) = u(x - u dt),    then diffusion of u_1 in substeps
        u_new = u_1 + dt e_y L(b rho_1) - G p,    D G p = D (u_1 + dt e_y L(b rho_1))

    L averages the force; D and G = -D^T are central differences (`hyco.problem.divergence`).  L and the
    projection are their own adjoints.  A state is (u_x, u_y, rho).

    Args:
        resolution, spacing, dt, substeps: as of a `Rollout`.
        walls, outside: boundaries of the velocity and of the smoke.
        modes: by axis, the pressure modes as columns, (cells, cells).
        inverse: that of D D^T = -D G in these modes, (*space), 0 where nothing has a divergence.
    """

    parameters = "viscosity", "buoyancy_coeff"

    def __init__(
        self,
        resolution: tuple[int, ...],
        spacing: tuple[float, ...],
        dt: float,
        *,
        substeps: int,
        walls: str,
        outside: str,
        modes: Sequence[NDArray[np.float64]],
        inverse: NDArray[np.float64],
    ) -> None:
        of = resolution, spacing, dt
        self.dt, self.spacing = dt, spacing
        self.flow = Rollout(*of, moved=2, boundary=walls, wind=0, substeps=substeps)
        self.smoke = Rollout(*of, moved=1, boundary=outside, wind=1)
        self.beyond = BEYOND[walls]
        self._modes, self._placed = (*modes, -inverse), dict[np.dtype[Any], tuple[torch.Tensor, ...]]()

    def step(self, trajectory: Array, time: int, values: Sequence[Array], threads: int) -> None:
        viscosity, buoyancy = values
        state = trajectory[:, :, time]
        moved = self.flow.step(state[:, :2], coefficient=viscosity, threads=threads)
        smoke = self.smoke.step(_smoke_first(state), threads=threads)[:, 0]
        trajectory[:, 2, time + 1] = smoke
        moved[:, 1] += self._kind(trajectory, self.dt) * self._balanced(buoyancy * smoke, threads)
        self._project(np.ascontiguousarray(moved), trajectory, time + 1, threads)

    def undo(
        self,
        trajectory: Array,
        time: int,
        kept: None,
        after: Array,
        given: Array,
        values: Sequence[Array],
        wants: tuple[bool, ...],
        threads: int,
    ) -> Adjoint:
        viscosity, buoyancy = values
        wants_state, wants_viscosity, wants_buoyancy = wants
        state = trajectory[:, :, time]
        driven = np.empty((len(after), 2, 1, *after.shape[2:]), after.dtype)
        self._project(np.ascontiguousarray(after[:, :2]), driven, 0, threads)
        lift = self._balanced(self._kind(after, self.dt) * driven[:, 1, 0], threads)
        by_buoyancy = by_state = None
        if wants_buoyancy:
            by_cell = (lift * trajectory[:, 2, time + 1]).sum(axis=0)
            by_buoyancy = gathered(by_cell, buoyancy)
        flow = undo_step(
            self.flow, state[:, :2], driven[:, :, 0], given[:, :2], coefficient=viscosity,
            by_initial=wants_state, by_coefficient=wants_viscosity, threads=threads,
        )  # fmt: skip
        if wants_state:
            assert flow.initial is not None
            so_far = np.concatenate([given[:, 2:], flow.initial], axis=1)
            carried = after[:, 2:] + (buoyancy * lift)[:, None]
            smoke = undo_step(self.smoke, _smoke_first(state), carried, so_far, threads=threads).initial
            assert smoke is not None
            by_state = np.concatenate([smoke[:, 1:], smoke[:, :1]], axis=1)
        return by_state, [flow.coefficient, by_buoyancy]

    def _balanced(self, force: Array, threads: int) -> Array:
        out = np.empty_like(force, order="C")
        self._run(partial(_balance, np.ascontiguousarray(force), self.beyond), (out,), threads)
        return out

    def _project(self, velocity: Array, trajectory: Array, time: int, threads: int) -> None:
        """Put what is left of (batch, axis, *space) without divergence into a frame."""
        rates = np.array([0.5 / width for width in self.spacing], velocity.dtype)
        divergence = np.empty((len(velocity), *velocity.shape[2:]), velocity.dtype)
        self._run(partial(_diverge, velocity, rates, self.beyond), (divergence,), threads)
        x, y, inverse = self._matrices(velocity.dtype)
        modes = (x.T @ torch.from_numpy(divergence) @ y) * inverse
        pressure = (x @ modes @ y.T).numpy()
        frames = trajectory.reshape(*trajectory.shape[:3], -1)
        self._run(partial(_relieve, velocity, pressure, rates, self.beyond, time), (frames,), threads)

    def _matrices(self, kind: np.dtype[Any]) -> tuple[torch.Tensor, ...]:
        if kind not in self._placed:
            self._placed[kind] = tuple(torch.from_numpy(m.astype(kind)) for m in self._modes)
        return self._placed[kind]

    def _run(self, loop: Callable[..., None], results: tuple[Array, ...], threads: int) -> None:
        """Members are shared out among the threads, where that is worth it."""
        (out,), batch = results, len(results[0])
        parts = min(threads, batch) if out.size >= WORTH_A_THREAD else 1
        ends = [batch * i // parts for i in range(parts + 1)]
        run([partial(loop, ends[i], ends[i + 1], out) for i in range(parts)], threads)

    @staticmethod
    def _kind(like: Array, number: float) -> Any:
        return like.dtype.type(number)


def _smoke_first(state: Array) -> Array:
    return np.concatenate([state[:, 2:], state[:, :2]], axis=1)
