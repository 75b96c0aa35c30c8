"""Whole rollouts of one equation on one grid, and their gradients, from and to numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.kernels import loops
from hyco.kernels.threads import run

Array = NDArray[Any]
BOUNDARIES = {"periodic": loops.PERIODIC, "zero-gradient": loops.ZERO_GRADIENT, "zero": loops.ZERO}
GROUPS = 8  # of a batch whose gradients are summed up apart, so that the sum does not depend on threads
WORTH_A_THREAD = 1 << 15  # cells times steps: about a tenth of a millisecond


@dataclass(frozen=True)
class Gradients:
    """Derivatives of a number by what a rollout began with; None: not asked for.

    Attributes: initial (batch, component, *space); factor and coefficient, of the shape of the parameters.
    """

    initial: Array | None
    factor: Array | None
    coefficient: Array | None


@dataclass(frozen=True)
class Rollout:
    """The steps of one equation: advection by a wind that is a part of the state, then diffusion.

        q_1(x) = q(x - f v(x) dt),    then `substeps` times    q <- q + dt / substeps div(c grad q)

    The discretisation is that of `hyco.legacy.stencils`.

    Args:
        resolution, spacing: of the grid, along 1 to 3 axes.
        dt: time step.
        moved: how many components, the first ones, change; all others stay.
        boundary: of what is moved: periodic, zero-gradient, zero.
        wind: the first of the components that are v; None: nothing is carried.
        scaled: whether there is a factor f.
        substeps: of diffusion; 0: nothing diffuses.
    """

    resolution: tuple[int, ...]
    spacing: tuple[float, ...]
    dt: float
    moved: int
    boundary: str
    wind: int | None = None
    scaled: bool = False
    substeps: int = 0

    def __call__(
        self,
        trajectory: Array,
        *,
        factor: Array | None = None,
        coefficient: Array | None = None,
        threads: int = 1,
    ) -> None:
        """Fill a trajectory (batch, component, time, *space) whose first frame is there.

        `factor` and `coefficient` are numbers or have one value per cell.  All arrays are of one dtype,
        float32 or float64, and the trajectory is contiguous.
        """
        frames = self._flat(trajectory)
        batch, _, times, _ = frames.shape
        frames[:, self.moved :, 1:] = frames[:, self.moved :, :1]
        head = (frames, *self._given(frames, factor, coefficient), self._plan)
        step = partial(loops.advance, *head)
        if batch >= threads or self._cells < WORTH_A_THREAD:
            worth = batch * self._cells * (times - 1) >= WORTH_A_THREAD
            tasks = [
                partial(step, part, (0, times - 1), (0, self._shape[0]))
                for part in _parts(batch, 4 * threads if worth and threads > 1 else 1)
            ]
            run(tasks, threads)
            return
        for time in range(times - 1):
            run(
                [
                    partial(step, (0, batch), (time, time + 1), part)
                    for part in _parts(self._shape[0], threads)
                ],
                threads,
            )

    def gradients(
        self,
        trajectory: Array,
        given: Array,
        *,
        factor: Array | None = None,
        coefficient: Array | None = None,
        by_initial: bool = True,
        by_factor: bool = False,
        by_coefficient: bool = False,
        threads: int = 1,
    ) -> Gradients:
        """Derivatives of a number from those by every frame of the trajectory, of its shape: `given`."""
        frames, given = self._flat(trajectory), self._flat(given)
        batch, components, times, cells = frames.shape
        wind, carry_rates, *between = self._given(frames, factor, coefficient)
        faces, rates = between[:3], between[3]
        groups = _parts(batch, GROUPS)
        adjoint = given[:, :, -1].copy()
        before = np.empty((batch, self.moved, cells), frames.dtype)
        by_faces = [np.zeros((len(groups) if by_coefficient else 0, *f.shape), frames.dtype) for f in faces]
        by_wind = np.zeros((len(groups) if by_factor else 0, cells), frames.dtype)
        nothing = [np.zeros((0, 0, 0), frames.dtype)] * 3, np.zeros(0, frames.dtype)
        rows = (0, self._shape[0])

        def undo(time: int, group: int, part: tuple[int, int], stage: str) -> None:
            members = groups[group]
            if stage in ("diffusion", "all"):
                x, y, z = [f[group] for f in by_faces] if by_coefficient else nothing[0]
                loops.undo_diffusion(
                    frames, wind, carry_rates, faces[0], faces[1], faces[2], rates, self._plan,
                    adjoint, before, x, y, z, by_coefficient, members, time, part,
                )  # fmt: skip
            if time == 0 and not by_initial and not by_factor:
                return
            if stage in ("wind", "all"):
                into_factor = by_wind[group] if by_factor else nothing[1]
                loops.undo_wind(
                    frames, wind, carry_rates, self._plan,
                    given, adjoint, before, into_factor, by_factor, members, time, part,
                )  # fmt: skip
            if time == 0 and not by_initial:
                return
            if stage == "all" and self.wind is not None:
                self._scatter(frames, wind, carry_rates, adjoint, before, members, time, (0, self.moved))

        if batch >= threads or self._cells < WORTH_A_THREAD:

            def whole(group: int) -> None:
                for time in range(times - 2, -1, -1):
                    undo(time, group, rows, "all")

            worth = batch * cells * (times - 1) >= WORTH_A_THREAD
            run([partial(whole, g) for g in range(len(groups))], threads if worth else 1)
        else:
            strips = _parts(self._shape[0], threads)
            for time in range(times - 2, -1, -1):
                for stage in ("diffusion", "wind"):
                    tasks = [
                        partial(undo, time, g, part, stage) for g in range(len(groups)) for part in strips
                    ]
                    run(tasks, threads)
                if self.wind is not None and (time > 0 or by_initial):
                    tasks = [
                        partial(
                            self._scatter, frames, wind, carry_rates, adjoint, before, m, time, (c, c + 1)
                        )
                        for m in groups
                        for c in range(self.moved)
                    ]
                    run(tasks, threads)
        space = self.resolution
        return Gradients(
            adjoint.reshape(batch, components, *space) if by_initial else None,
            self._of_factor(by_wind.sum(axis=0), factor) if by_factor and factor is not None else None,
            self._of_coefficient([f.sum(axis=0) for f in by_faces], coefficient)
            if by_coefficient and coefficient is not None
            else None,
        )

    def _scatter(
        self,
        frames: Array,
        wind: Array,
        rates: Array,
        adjoint: Array,
        before: Array,
        members: tuple[int, int],
        time: int,
        components: tuple[int, int],
    ) -> None:
        loops.scatter(frames, wind, rates, self._plan, adjoint, before, members, time, components)

    # ---------------------------------------------------------------------------------------------- layout

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        """The cells along three axes."""
        first, *others = self.resolution
        return {1: (1, 1, first), 2: (first, 1, *others), 3: self.resolution}[len(self.resolution)]  # type: ignore[return-value]

    @cached_property
    def _axes(self) -> tuple[int, ...]:
        """The three axes' numbers of the grid's own."""
        return {1: (2,), 2: (0, 2), 3: (0, 1, 2)}[len(self.resolution)]

    @cached_property
    def _cells(self) -> int:
        return int(np.prod(self.resolution))

    @cached_property
    def _plan(self) -> tuple[int, ...]:
        wind = -1 if self.wind is None else self.wind
        rank, boundary = len(self.resolution), BOUNDARIES[self.boundary]
        return (*self._shape, rank, self.moved, wind, int(self.scaled), boundary, self.substeps)

    def _flat(self, array: Array) -> Array:
        return array.reshape(*array.shape[:3], self._cells)

    def _given(self, frames: Array, factor: Array | None, coefficient: Array | None) -> tuple[Array, ...]:
        """The arguments of the loops: the wind's factor and rates, the faces' coefficients and rates."""
        kind = frames.dtype
        scale = np.zeros(0, kind)
        if factor is not None:
            scale = np.array(np.broadcast_to(factor, self.resolution)).reshape(-1)
        carry = np.array([self.dt / width for width in self.spacing], kind)
        rates = np.array([self.dt / max(self.substeps, 1) / width**2 for width in self.spacing], kind)
        faces = [np.zeros((0, 0, 0), kind)] * 3
        if coefficient is not None:
            cells = np.broadcast_to(coefficient, self.resolution).reshape(self._shape)
            for axis in self._axes:
                before, after = self._around(cells, axis)
                faces[axis] = np.minimum(before, after)
        return scale, carry, *faces, rates

    def _around(self, cells: Array, axis: int) -> tuple[Array, Array]:
        """The values before and after every face across one axis."""
        first, last = (cells.take([i], axis) for i in (0, -1))
        if self.boundary == "periodic":
            first, last = last, first
        return np.concatenate([first, cells], axis), np.concatenate([cells, last], axis)

    # ------------------------------------------------------------------------------------------- gradients

    def _of_factor(self, by_cell: Array, factor: Array) -> Array:
        return np.asarray(by_cell.sum()) if factor.ndim == 0 else by_cell.reshape(self.resolution)

    def _of_coefficient(self, by_faces: Sequence[Array], coefficient: Array) -> Array:
        """The gradient by the cells: a face's belongs to the smaller cell beside it, at ties half to each."""
        if coefficient.ndim == 0:
            return np.asarray(sum(self._once(by_faces[axis], axis).sum() for axis in self._axes))
        cells = coefficient.reshape(self._shape)
        result = np.zeros(self._shape, by_faces[0].dtype)
        half = result.dtype.type(0.5)
        for axis in self._axes:
            before, after = self._around(cells, axis)
            faces = self._once(by_faces[axis], axis)
            to_before = np.where(before < after, faces, np.where(before == after, half * faces, 0))
            to_after = faces - to_before
            n = cells.shape[axis]
            first, middle, last = (
                (slice(None),) * axis + (s,) for s in (slice(0, 1), slice(1, n + 1), slice(n - 1, n))
            )
            inner = (slice(None),) * axis + (slice(0, n),)
            result += to_after[inner] + to_before[middle]
            wrapped = self.boundary == "periodic"
            result[last if wrapped else first] += to_before[first]
            result[first if wrapped else last] += to_after[(slice(None),) * axis + (slice(n, n + 1),)]
        return result.reshape(self.resolution)

    def _once(self, by_faces: Array, axis: int) -> Array:
        """In a periodic box the last face is the first one, and counts there."""
        if self.boundary == "periodic":
            by_faces[(slice(None),) * axis + (slice(-1, None),)] = 0
        return by_faces


def _parts(number: int, parts: int) -> list[tuple[int, int]]:
    """So many ranges of nearly the same length, or fewer, none of them empty."""
    parts = max(1, min(parts, number))
    ends = [number * i // parts for i in range(parts + 1)]
    return list(pairwise(ends))
