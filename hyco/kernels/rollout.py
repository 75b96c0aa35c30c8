"""Whole rollouts of one equation on one grid, their gradients, and those of losses, from and to numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from hyco.kernels import loops
from hyco.kernels.threads import run

Array = NDArray[Any]
Range = tuple[int, int]
Faces = tuple[Array, Array, Array]  # across each of three axes
BOUNDARIES = {"periodic": loops.PERIODIC, "zero-gradient": loops.ZERO_GRADIENT, "zero": loops.ZERO}
GROUPS = 8  # of a batch whose gradients are summed up apart, so that the sum does not depend on threads
WORTH_A_THREAD = 1 << 15  # cells times steps: about a tenth of a millisecond
CACHE = 1 << 20  # bytes of frames that are worked on together, if that is more than one member
LINE = 64  # bytes of a line of the cache, at which rows begin


@dataclass(frozen=True)
class Gradients:
    """Derivatives of a number by what a rollout began with; None: not asked for.

    Attributes: initial (batch, component, *space); factor, coefficient and potential, of the shape of the
    parameters.
    """

    initial: Array | None = None
    factor: Array | None = None
    coefficient: Array | None = None
    potential: Array | None = None


@dataclass(frozen=True)
class Rollout:
    """The steps of one equation: advection by a wind that is a part of the state, then diffusion.

        q_1(x) = q(x - f v(x) dt) - dt grad(p)
        then `substeps` times    q <- q + dt / substeps div(c grad q)

    The discretisation is that of `hyco.legacy.stencils`.  The parameters f and c are numbers or have one
    value per cell; a potential p, if there is one, has one per cell, and what is carried one component per
    axis then.  All arrays of a call are of one dtype, float32 or float64.

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

    def __post_init__(self) -> None:
        if self.wind is None and self.substeps < 1:
            raise ValueError(
                "a step either carries, by a wind, or diffuses, in at least one substep; or both"
            )

    def __call__(
        self,
        trajectory: Array,
        *,
        factor: Array | None = None,
        coefficient: Array | None = None,
        potential: Array | None = None,
        threads: int = 1,
    ) -> None:
        """Fill a contiguous trajectory (batch, component, time, *space) whose first frame is there."""
        still = [member[c] for member in trajectory for c in range(self.moved, len(member))]
        run([partial(np.copyto, frames[1:], frames[:1]) for frames in still], threads)
        work = _Work(self, trajectory, trajectory.shape[2], factor, coefficient, potential, threads)
        work.fill(trajectory.reshape(*trajectory.shape[:3], self.cells))

    def step(
        self,
        initial: Array,
        *,
        factor: Array | None = None,
        coefficient: Array | None = None,
        potential: Array | None = None,
        threads: int = 1,
    ) -> Array:
        """What moved, (batch, moved component, *space), a step after a state (batch, component, *space).

        The state may be a view of anything as long as the cells of a component lie one after the other.
        """
        frames = np.empty((len(initial), self.moved, 2, *self.resolution), initial.dtype)
        work = _Work(self, initial, 2, factor, coefficient, potential, threads)
        work.fill(frames.reshape(*frames.shape[:3], self.cells))
        return frames[:, :, 1]

    def gradients(
        self,
        trajectory: Array,
        given: Array,
        *,
        factor: Array | None = None,
        coefficient: Array | None = None,
        potential: Array | None = None,
        by_initial: bool = True,
        by_factor: bool = False,
        by_coefficient: bool = False,
        by_potential: bool = False,
        threads: int = 1,
    ) -> Gradients:
        """Derivatives of a number from those by every frame of the trajectory, of its shape: `given`."""
        work = _Work(self, trajectory, trajectory.shape[2], factor, coefficient, potential, threads)
        loss = _Given(given, None, False, 1.0)
        return work.differentiated(loss, (by_initial, by_factor, by_coefficient, by_potential))[1]

    def objective(
        self,
        initial: Array,
        targets: Array,
        weights: Array | None = None,
        *,
        factor: Array | None = None,
        coefficient: Array | None = None,
        potential: Array | None = None,
        by_factor: bool = False,
        by_coefficient: bool = False,
        by_potential: bool = False,
        threads: int = 1,
    ) -> tuple[float, Gradients]:
        """The loss of rollouts, and its derivatives by the parameters.

            L = mean (rollout - targets)^2,    or    L = sum W * mean over components of (rollout - targets)^2

        Each member is rolled out, compared and differentiated at one go, so that its frames stay in the
        cache; no trajectory of the batch is made.

        Args:
            initial: (batch, component, *space).
            targets: (batch, component, time, *space), of which the moved components count; both may be views
                of anything as long as the cells of a frame lie one after the other.
            weights: W of the entries, (batch, time, *space); None: the mean.
        """
        batch, _, times = targets.shape[:3]
        work = _Work(self, initial, times + 1, factor, coefficient, potential, threads)
        count = self.moved if weights is not None else batch * self.moved * times * self.cells
        loss = _Given(targets, weights, True, 2.0 / count)
        total, gradients = work.differentiated(loss, (False, by_factor, by_coefficient, by_potential))
        return total / count, gradients

    # ---------------------------------------------------------------------------------------------- layout

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self.resolution)

    @cached_property
    def cells(self) -> int:
        """How many there are."""
        return prod(self.resolution)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """The cells along three axes."""
        first, *others = self.resolution
        return {1: (1, 1, first), 2: (first, 1, *others), 3: self.resolution}[self.rank]  # type: ignore[return-value]

    @cached_property
    def row(self) -> int:
        """How long a row is with its pads, and some more, so that all begin at a line of the cache."""
        return -(-(self.shape[2] + 2 * loops.PAD) // loops.PAD) * loops.PAD

    @cached_property
    def plan(self) -> tuple[int, ...]:
        """What the loops have to know."""
        wind = -1 if self.wind is None else self.wind
        boundary, scaled = BOUNDARIES[self.boundary], int(self.scaled)
        return (*self.shape, self.rank, self.moved, wind, scaled, boundary, self.substeps, self.row)

    @cached_property
    def rings(self) -> tuple[tuple[Array, int], tuple[Array, int]]:
        """For a step and for its adjoint: where the planes of each stage begin, how many less one; the end.

        The first plane is empty.  The number of planes is a power of two.  The adjoint comes to the planes
        of an early stage when all later ones were through with them.
        """
        few = [4] * max(self.substeps, 1)
        kept = [max(4, 1 << (2 * left - 1).bit_length()) for left in range(self.substeps, 0, -1)]
        return _table(few), _table(kept + [4] * self.substeps)


@dataclass(frozen=True)
class _Given:
    """What frames are compared with: targets, without the first frame, or gradients, of every frame."""

    by_frame: Array
    weights: Array | None
    compared: bool
    scale: float


class _Memory:
    """What one task works in."""

    def __init__(self, kernel: Rollout, kind: np.dtype[Any], adjoint: bool) -> None:
        row, ny = kernel.row, kernel.shape[1]
        rings, planes = kernel.rings[adjoint]
        shifts = np.empty((3, row), np.int32)
        room = _rows((planes * kernel.moved * ny, row), kind, np.zeros)
        numbers = loops.ON_DESK * row + loops.IN_CHUNKS * loops.CHUNK
        longest = max(kernel.shape)
        desk = _rows((numbers + 16 + longest,), kind)
        desk[6 * row : 7 * row] = 0
        desk[numbers : numbers + 3] = 0, 1, loops.FAR
        desk[numbers + 16 :] = np.arange(longest)
        self.forward = shifts, desk, room, kernel.rings[0][0]
        self.backward = shifts, desk, room, rings
        self.errors = np.zeros(kernel.shape[2])


class _Work:
    """One call: the arguments of the loops, and who does what.

    Args:
        initial: (batch, component, ..., *space), with anything between whose first entry counts.
        frames: how many a rollout has.
    """

    def __init__(
        self,
        kernel: Rollout,
        initial: Array,
        frames: int,
        factor: Array | None,
        coefficient: Array | None,
        potential: Array | None,
        threads: int,
    ) -> None:
        self.kernel, self.frames, self.threads = kernel, frames, threads
        self.kind = kind = initial.dtype
        self.batch, self.components = initial.shape[:2]
        self.factor, self.coefficient = factor, coefficient
        self.initial, apart = _flat(initial, kernel.rank)
        self.apart = (*apart, 0)[:3]
        steps = kernel.dt / max(kernel.substeps, 1)
        self.carry_rates = np.array([kernel.dt / width for width in kernel.spacing], kind)
        self.rates = np.array([steps / width**2 for width in kernel.spacing], kind)
        self.by_cell = np.zeros(1, kind)
        if factor is not None:
            self.by_cell = np.array(np.broadcast_to(factor, kernel.resolution), order="C").reshape(-1)
        self.push = np.empty(0, kind)
        if potential is not None:
            if kernel.wind is None or kernel.moved != kernel.rank:
                raise ValueError("a potential pushes what a wind carries and has one component per axis")
            self.push = np.empty(kernel.moved * kernel.cells, kind)
            loops.incline(np.array(potential, order="C").reshape(-1), *self._inclination, self.push)
        if coefficient is None or coefficient.ndim == 0:
            same = _rows((1, 1, 1, kernel.row), kind, np.zeros)
            same[:] = 0 if coefficient is None else coefficient
            self.faces = same, same, same
        else:
            x, y, z = self._all_faces(1)
            self.faces = x[0], y[0], z[0]
            self.cells = _rows((*kernel.shape[:2], kernel.row), kind)
            values = np.array(coefficient, order="C").reshape(-1)
            loops.spread(values, self.cells, self.faces, kernel.plan)

    # --------------------------------------------------------------------------------------------- forward

    def fill(self, trajectory: Array) -> None:
        """Make all frames of a trajectory (batch, component, time, cells) but the first."""
        steps = (0, self.frames - 1)
        if self._by_members:
            tasks = [
                partial(
                    self._advance, self._memory(), self._store(1, 2), members, steps, trajectory=trajectory
                )
                for members in _parts(self.batch, 4 * self.threads if self._helpers > 1 else 1)
            ]
            run(tasks, self._helpers)
            return
        for member in range(self.batch):
            self._advance_strips(self._store(1, 2), member, trajectory)

    def _advance_strips(self, store: Array, member: int, trajectory: Array | None = None) -> None:
        """The steps of one member, the planes shared out among the threads."""
        strips = [(self._memory(), planes) for planes in _parts(self.kernel.shape[0], self.threads)]
        for time in range(-1, self.frames - 1):
            tasks = [
                partial(
                    self._advance,
                    memory,
                    store,
                    (member, member + 1),
                    (max(time, 0), time + 1),
                    planes=planes,
                    load=time < 0,
                    trajectory=trajectory,
                )
                for memory, planes in strips
            ]
            run(tasks, self.threads)

    def _advance(
        self,
        memory: _Memory,
        store: Array,
        members: Range,
        times: Range,
        *,
        planes: Range | None = None,
        load: bool = True,
        trajectory: Array | None = None,
    ) -> None:
        kernel, kept = self.kernel, trajectory is not None
        loops.advance(
            store, memory.forward, self.initial, self.apart, load,
            trajectory if kept else np.empty((0, 0, 0, 0), self.kind), kept, self.by_cell, self.push,
            self.carry_rates, self.faces, self.rates, kernel.plan, members, times,
            planes or (0, kernel.shape[0]),
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------- backward

    def differentiated(self, loss: _Given, wants: tuple[bool, bool, bool, bool]) -> tuple[float, Gradients]:
        """The loss, in units of its scale, and gradients.

        Args:
            wants: whether those by the initial state, the factor, the coefficient, the potential are wanted.
        """
        kernel, kind = self.kernel, self.kind
        groups = _parts(self.batch, GROUPS)
        wants_initial, wants_factor, wants_coefficient, wants_potential = wants
        by_initial = np.zeros((self.batch if wants_initial else 0, self.components, kernel.cells), kind)
        by_factor = np.zeros((len(groups), kernel.cells if wants_factor else 0), kind)
        by_push = np.zeros((len(groups), kernel.moved * kernel.cells if wants_potential else 0), kind)
        none = np.zeros((len(groups), 0, 0, 0, 0), kind)
        by_faces = self._all_faces(len(groups)) if wants_coefficient else (none, none, none)
        losses = np.zeros((self.batch, self.frames, kernel.shape[0]))
        flat, apart = _flat(loss.by_frame, kernel.rank)
        weights_apart: tuple[int, ...]
        weights, weights_apart = np.empty(0, kind), (0, 0)
        if loss.weights is not None:
            weights, weights_apart = _flat(loss.weights, kernel.rank)
        ahead = int(loss.compared)  # targets begin with the second frame
        given = (
            flat, (-ahead * apart[2], *apart), weights, (-ahead * weights_apart[1], *weights_apart),
            loss.compared, kind.type(loss.scale),
        )  # fmt: skip

        def undo(group: int, memory: _Memory, store: Array, frames: Array, members: Range, **of: Any) -> None:
            loops.undo(
                store, frames, memory.backward, memory.errors, self.initial, self.apart, not loss.compared,
                *given, self.by_cell, self.push, self.carry_rates, self.faces, self.rates, kernel.plan,
                by_initial, by_factor[group], tuple(faces[group] for faces in by_faces), by_push[group],
                losses, wants, of.get("stages", every), members, of.get("times", (0, self.frames)),
                of.get("planes", (0, kernel.shape[0])), of.get("components", (0, kernel.moved)),
            )  # fmt: skip

        every = loops.ALL if any(wants) else loops.GIVEN
        slots = self.frames if loss.compared else 2
        if self._by_members:

            def whole(group: int) -> None:
                first, last = groups[group]
                each = slots * kernel.moved * kernel.shape[0] * kernel.shape[1] * kernel.row * kind.itemsize
                count = max(1, min(last - first, CACHE // each))
                store, frames, memory = self._store(count, slots), self._frames(), self._memory(True)
                for begin in range(first, last, count):
                    members = begin, min(begin + count, last)
                    if loss.compared:
                        self._advance(memory, store, members, (0, self.frames - 1))
                    undo(group, memory, store, frames, members)

            run([partial(whole, g) for g in range(len(groups))], self._helpers)
        else:
            for group, (first, last) in enumerate(groups):
                for member in range(first, last):
                    self._undo_strips(partial(undo, group), self._store(1, slots), member, loss.compared)
        return float(losses.sum()), Gradients(
            by_initial.reshape(self.batch, self.components, *kernel.resolution) if wants_initial else None,
            self._of_factor(by_factor) if wants_factor else None,
            self._of_coefficient(by_faces) if wants_coefficient else None,
            self._of_potential(by_push) if wants_potential else None,
        )

    def _undo_strips(self, undo: Callable[..., None], store: Array, member: int, roll_out: bool) -> None:
        """The adjoint of one member, the planes shared out among the threads."""
        kernel, frames = self.kernel, self._frames()
        if roll_out:
            self._advance_strips(store, member)
        strips = [(self._memory(True), planes) for planes in _parts(kernel.shape[0], self.threads)]
        carried = 0 if kernel.wind is None else kernel.moved
        scatter = [(self._memory(True), (c, c + 1)) for c in range(carried)]

        def tasks(stages: int, time: int) -> list[Callable[[], None]]:
            where = {"times": (time, time + 1), "stages": stages}
            return [
                partial(undo, memory, store, frames, (member, member + 1), planes=planes, **where)
                for memory, planes in strips
            ]

        for time in range(self.frames - 1, -1, -1):
            run(tasks(loops.GIVEN, time), self.threads)
            run(tasks(loops.DIFFUSION, time), self.threads)
            where = {"times": (time, time + 1), "stages": loops.SCATTER}
            scattered = [
                partial(undo, memory, store, frames, (member, member + 1), components=components, **where)
                for memory, components in scatter
            ]
            run([*scattered, *tasks(loops.SLOPES, time)], self.threads)
            run(tasks(loops.TOGETHER, time), self.threads)

    # ---------------------------------------------------------------------------------------------- memory

    @property
    def _by_members(self) -> bool:
        """Whether threads share the members out, not the planes."""
        return self.batch >= self.threads or self.kernel.cells < WORTH_A_THREAD

    @property
    def _helpers(self) -> int:
        """How many threads are worth it."""
        worth = self.batch * self.kernel.cells * (self.frames - 1) >= WORTH_A_THREAD
        return self.threads if worth else 1

    def _memory(self, adjoint: bool = False) -> _Memory:
        return _Memory(self.kernel, self.kind, adjoint)

    def _store(self, members: int, slots: int) -> Array:
        kernel = self.kernel
        return _rows((members, slots, kernel.moved, *kernel.shape[:2], kernel.row), self.kind)

    def _frames(self) -> Array:
        kernel = self.kernel
        count = 3 * kernel.moved + (0 if kernel.wind is None else kernel.rank)
        return _rows((count, *kernel.shape[:2], kernel.row), self.kind)

    def _all_faces(self, groups: int) -> Faces:
        """Zeros on the faces across each of three axes, of several groups, for all components together."""
        (nx, ny, _), rank = self.kernel.shape, self.kernel.rank
        x, y, z = (nx + 1, ny) if rank > 1 else (1, 1), (nx, ny + 1) if rank > 2 else (1, 1), (nx, ny)

        def zeros(planes: tuple[int, int]) -> Array:
            return _rows((groups, 1, *planes, self.kernel.row), self.kind, np.zeros)

        return zeros(x), zeros(y), zeros(z)

    # ------------------------------------------------------------------------------------------- gradients

    def _of_factor(self, by_cell: Array) -> Array:
        total = by_cell.sum(axis=0)
        number = self.factor is None or self.factor.ndim == 0
        return np.asarray(total.sum()) if number else total.reshape(self.kernel.resolution)

    @property
    def _inclination(self) -> tuple[Array, Any, tuple[int, ...]]:
        """What turns a potential into pushes: twice the spacing, the time step, the plan."""
        kernel, kind = self.kernel, self.kind
        return np.array([2.0 * w for w in kernel.spacing], kind), kind.type(kernel.dt), kernel.plan

    def _of_potential(self, by_push: Array) -> Array:
        made = np.zeros(self.kernel.cells, self.kind)
        loops.undo_incline(by_push.sum(axis=0), *self._inclination, made)
        return made.reshape(self.kernel.resolution)

    def _of_coefficient(self, by_faces: Faces) -> Array:
        """The gradient by the cells: a face's belongs to the smaller cell beside it, at ties half to each."""
        kernel = self.kernel
        if self.coefficient is None or self.coefficient.ndim == 0:
            return self._of_number(by_faces)
        made = np.zeros(kernel.cells, self.kind)
        loops.collect(self.cells, by_faces, self.rates, kernel.plan, made)
        return made.reshape(kernel.resolution)

    def _of_number(self, by_faces: Faces) -> Array:
        """The same for one coefficient of all cells."""
        n, total = self.kernel.shape[2], self.kind.type(0)
        axes = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}[self.kernel.rank]
        for rate, axis in zip(self.rates, axes, strict=True):
            faces = by_faces[axis][..., loops.PAD : loops.PAD + n + (axis == 2)]
            if self.kernel.boundary == "periodic":  # the last face is the first one, and counts there
                faces = faces.swapaxes(axis + 2, 2)[:, :, :-1]
            total -= rate * faces.sum()
        return np.asarray(total)


def _rows(shape: tuple[int, ...], kind: np.dtype[Any], make: Callable[..., Array] = np.empty) -> Array:
    """An array that begins at a line of the cache."""
    count, line = prod(shape), LINE // kind.itemsize
    memory = make(count + line, kind)
    ahead = -memory.ctypes.data % LINE // kind.itemsize
    return memory[ahead : ahead + count].reshape(shape)


def _flat(array: Array, rank: int) -> tuple[Array, tuple[int, ...]]:
    """All of an array (..., *space) as one line, and how far apart the entries of the first axes are.

    No copy where the cells of every frame lie one after the other.
    """
    item, first, cells = array.itemsize, array.ndim - rank, 1
    plain = array.flags.writeable  # others are another type to numba
    for axis in range(array.ndim - 1, first - 1, -1):
        plain = plain and (array.shape[axis] == 1 or array.strides[axis] == cells * item)
        cells *= array.shape[axis]
    if not plain or any(stride < 0 or stride % item for stride in array.strides[:first]):
        array = np.array(array, order="C")
    apart = tuple(stride // item for stride in array.strides[:first])
    extent = cells + sum((n - 1) * by for n, by in zip(array.shape, apart, strict=False))
    return as_strided(array, (extent if array.size else 0,), (item,)), apart


def _table(planes: list[int]) -> tuple[Array, int]:
    """For stages that keep so many planes: where they begin, after one empty plane, and how many less one."""
    ends = [1]
    for number in planes:
        ends.append(ends[-1] + number)
    return np.array(
        [v for begin, n in zip(ends, planes, strict=False) for v in (begin, n - 1)], np.int64
    ), ends[-1]


def _parts(number: int, parts: int) -> list[Range]:
    """So many ranges of nearly the same length, or fewer, none of them empty."""
    parts = max(1, min(parts, number))
    ends = [number * i // parts for i in range(parts + 1)]
    return list(pairwise(ends))
