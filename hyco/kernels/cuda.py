"""Rollouts of `hyco.kernels.rollout.Rollout` on CUDA, as functions that gradients flow through.

    q_1(x) = q(x - f v(x) dt),    then `substeps` times    q <- q + dt / substeps div(c grad q)

The kernels are in `hyco.kernels.cuda_loops`, which needs Triton; PyTorch brings it along for CUDA on Linux.
Trajectories are the same in every run, to the last bit.  Where something is advected, gradients differ by
rounding from run to run, since several threads add to one cell in no order; so does PyTorch's own backward of
`gather`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from hyco.kernels import cuda_loops
from hyco.kernels.cuda_graph import WORTH, Tensors, replayed

if TYPE_CHECKING:
    from hyco.kernels.rollout import Rollout

BLOCK = 256  # cells of a program
GROUPS = 8  # of a batch whose gradients by factors and coefficients are summed up apart, at the same time


def rollout(
    kernel: Rollout,
    initial: Tensor,
    steps: int,
    *,
    factor: Tensor | None = None,
    coefficient: Tensor | None = None,
) -> Tensor:
    """The trajectory (batch, component, time, *space) of `steps` + 1 frames that begins with `initial`.

    Tensors are on one device, all of one dtype, float32 or float64; `factor` and `coefficient` are numbers or
    have one value per cell.  Gradients of first order flow back to whichever of the tensors asks for one.
    """
    return _Rollout.apply(kernel, steps, initial, factor, coefficient)


class _Rollout(torch.autograd.Function):
    """Forward: all steps at once; backward: the adjoints of all steps, from the last to the first."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Rollout,
        steps: int,
        initial: Tensor,
        factor: Tensor | None,
        coefficient: Tensor | None,
    ) -> Tensor:
        work = partial(_advance, kernel, steps)
        size = initial.nbytes * (steps + 1)
        (trajectory,) = _run(("advance", kernel, steps), size, work, initial, factor, coefficient)
        ctx.kernel = kernel
        ctx.save_for_backward(trajectory, factor, coefficient)
        return trajectory  # type: ignore[return-value]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        trajectory, factor, coefficient = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        work = partial(_undo, ctx.kernel, *wanted)
        key = "undo", ctx.kernel, wanted
        return None, None, *_run(key, trajectory.nbytes, work, trajectory, given, factor, coefficient)


def _run(key: Any, size: int, work: Callable[..., Tensors], *inputs: Tensor | None) -> Tensors:
    """Some work; where little is done by each launch, recorded."""
    inputs = tuple(None if t is None else t.detach() for t in inputs)
    if size <= WORTH:
        return replayed(key, work, *inputs)
    with torch.cuda.device_of(inputs[0]):
        return work(*inputs)


# --------------------------------------------------------------------------------------------------- stages


class Place(NamedTuple):
    """Values (batch, component, cell) somewhere in memory: the strides of the first two, and the start."""

    memory: Tensor
    batch: int
    component: int
    start: int = 0


@dataclass(frozen=True)
class Stages:
    """The launches that steps and their adjoints are made of, for one grid, batch and dtype."""

    kernel: Rollout
    batch: int
    like: Tensor  # of the device and dtype
    factor: Tensor | None
    coefficient: Tensor | None

    @property
    def cells(self) -> int:
        """Of the grid."""
        return prod(self.kernel.resolution)

    def room(self, *dims: int) -> Tensor:
        """Memory for values (*dims, cell), not set to anything."""
        return self.like.new_empty((*dims, self.cells))

    def frame(self, frames: Tensor, time: int) -> Place:
        """One of the frames (batch, component, time, cell)."""
        _, components, times, cells = frames.shape
        return Place(frames, components * times * cells, times * cells, time * cells)

    def stage(self, stages: Tensor, number: int) -> Place:
        """One of several (stage, batch, component, cell)."""
        _, batch, components, cells = stages.shape
        return Place(stages, components * cells, cells, number * batch * components * cells)

    def advect(self, source: Place, target: Place) -> None:
        """What is moved, at the departure points of a frame."""
        self._launch(
            cuda_loops.advect, self.batch, *source, *target, self._any(self.factor), self._carry_rates,
            self.batch, WIND=self.kernel.wind, FACTOR=_kind(self.factor),
        )  # fmt: skip

    def undo_advect(self, source: Place, before: Place, adjoint: Place, by: Tensor | None) -> None:
        """Add what advection hands back to the adjoint; to the gradient by the factor too, if it is there."""
        groups = self.batch if by is None else len(by)
        self._launch(
            cuda_loops.undo_advect, groups, *source, *before, *adjoint, self._any(self.factor), self._any(by),
            self._carry_rates, self.batch, groups,
            WIND=self.kernel.wind, FACTOR=_kind(self.factor), WANTED=by is not None,
        )  # fmt: skip

    def diffuse(
        self, source: Place, target: Place, values: Place | None = None, by: Tensor | None = None
    ) -> None:
        """A substep, or its adjoint; with `values` it adds to the gradient by the coefficient."""
        groups = self.batch if by is None else len(by)
        self._launch(
            cuda_loops.diffuse, groups, *source, *target, *(values or source), self.coefficient,
            self._any(by), self._rates, self.batch, groups,
            FIELD=_kind(self.coefficient) == "field", WANTED=by is not None,
        )  # fmt: skip

    def diffused(self, source: Place, target: Place, room: Tensor) -> None:
        """All substeps, of the state or of its adjoint, by way of two stages of room."""
        for substep in range(self.kernel.substeps):
            last = substep == self.kernel.substeps - 1
            after = target if last else self.stage(room, substep % 2)
            self.diffuse(source, after)
            source = after

    def _launch(self, function: Any, groups: int, *given: Any, **constants: Any) -> None:
        kernel, rank = self.kernel, len(self.kernel.resolution)
        n0, n1, n2 = (1,) * (3 - rank) + tuple(kernel.resolution)
        programs = groups * (-(-self.cells // BLOCK))
        function[(programs,)](
            *given, **constants, N0=n0, N1=n1, N2=n2, RANK=rank, MOVED=kernel.moved, BOUNDARY=kernel.boundary,
            BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip

    def _any(self, tensor: Tensor | None) -> Tensor:
        """What a launch is given in place of something that it does not read."""
        return self.like if tensor is None else tensor

    @property
    def _carry_rates(self) -> Tensor:
        kernel = self.kernel
        return _constant(tuple(kernel.dt / w for w in kernel.spacing), self.like.dtype, self.like.device)

    @property
    def _rates(self) -> Tensor:
        kernel = self.kernel
        rates = tuple(kernel.dt / kernel.substeps / w**2 for w in kernel.spacing)
        return _constant(rates, self.like.dtype, self.like.device)


def _kind(parameter: Tensor | None) -> str:
    return "nothing" if parameter is None else "field" if parameter.ndim else "number"


@cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kept for good: recorded launches read it."""
    return torch.tensor(values, dtype=dtype, device=device)


# ----------------------------------------------------------------------------------------- whole rollouts


def _advance(
    kernel: Rollout, steps: int, initial: Tensor, factor: Tensor | None, coefficient: Tensor | None
) -> Tensors:
    trajectory = initial.new_empty((*initial.shape[:2], steps + 1, *initial.shape[2:]))
    trajectory[:, :, 0] = initial
    trajectory[:, kernel.moved :, 1:] = initial[:, kernel.moved :].unsqueeze(2)
    stages = _stages(kernel, initial, factor, coefficient)
    frames = trajectory.flatten(3)
    room = stages.room(3, len(initial), kernel.moved)
    carried, between = stages.stage(room, 2), room[:2]
    for time in range(steps):
        source, target = stages.frame(frames, time), stages.frame(frames, time + 1)
        if kernel.wind is not None:
            after = carried if kernel.substeps else target
            stages.advect(source, after)
            source = after
        stages.diffused(source, target, between)
        if kernel.wind is None and not kernel.substeps:
            frames[:, : kernel.moved, time + 1] = frames[:, : kernel.moved, time]
    return (trajectory,)


def _undo(
    kernel: Rollout,
    by_initial: bool,
    by_factor: bool,
    by_coefficient: bool,
    trajectory: Tensor,
    given: Tensor,
    factor: Tensor | None,
    coefficient: Tensor | None,
) -> Tensors:
    """The gradients by the initial state, the factor and the coefficient; None: not asked for."""
    stages = _stages(kernel, trajectory, factor, coefficient)
    frames, given = trajectory.flatten(3), given.flatten(3)
    batch, _, times, cells = frames.shape
    moved, substeps = kernel.moved, kernel.substeps
    groups = min(batch, GROUPS)
    factors = frames.new_zeros((groups, cells)) if by_factor else None
    coefficients = frames.new_zeros((groups, cells)) if by_coefficient else None
    adjoint = given[:, :, -1].clone(memory_format=torch.contiguous_format)
    values = stages.room(max(substeps, 1) if by_coefficient else 0, batch, moved)
    adjoints = stages.room(2, batch, moved)
    whole = stages.stage(adjoint.unsqueeze(0), 0)
    for time in range(times - 2, -1, -1):
        frame = stages.frame(frames, time)
        before = _undo_diffusion(stages, frame, whole, values, adjoints, coefficients)
        if time == 0 and not by_initial and not by_factor:
            break
        carried = adjoints[before] if substeps else adjoint[:, :moved].clone()
        adjoint[:, moved:] += given[:, moved:, time]
        if kernel.wind is None:
            adjoint[:, :moved] = carried + given[:, :moved, time]
            continue
        adjoint[:, :moved] = given[:, :moved, time]
        place = stages.stage(carried.unsqueeze(0), 0)
        stages.undo_advect(frame, place, whole, factors)
    return (
        adjoint.reshape(trajectory[:, :, 0].shape) if by_initial else None,
        _of_parameter(factors, factor),
        _of_parameter(coefficients, coefficient),
    )


def _undo_diffusion(
    stages: Stages, frame: Place, adjoint: Place, values: Tensor, adjoints: Tensor, by: Tensor | None
) -> int:
    """The adjoint of what is moved before it diffuses; returns in which of `adjoints` it is."""
    substeps = stages.kernel.substeps
    began = []
    if by is not None and substeps:
        began = [stages.stage(values, n) for n in range(substeps)]
        if stages.kernel.wind is None:
            began[0] = frame
        else:
            stages.advect(frame, began[0])
        for n in range(1, substeps):
            stages.diffuse(began[n - 1], began[n])
    source = adjoint
    for n in range(substeps):
        target = stages.stage(adjoints, n % 2)
        stages.diffuse(source, target, *((began[substeps - 1 - n], by) if began else ()))
        source = target
    return (substeps - 1) % 2


def _stages(kernel: Rollout, like: Tensor, factor: Tensor | None, coefficient: Tensor | None) -> Stages:
    parameters = (None if p is None else p.contiguous() for p in (factor, coefficient))
    return Stages(kernel, len(like), like, *parameters)


def _of_parameter(by_group: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    if by_group is None or parameter is None:
        return None
    return by_group.sum(0).reshape(parameter.shape) if parameter.ndim else by_group.sum()
