"""Rollouts of `hyco.kernels` as functions of PyTorch tensors, which gradients flow through; their losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyco.kernels.rollout import Gradients, Rollout
from hyco.kernels.stages import Stages

Array = NDArray[Any]


def rollout(
    kernel: Rollout,
    initial: Tensor,
    steps: int,
    *,
    factor: Tensor | None = None,
    coefficient: Tensor | None = None,
    potential: Tensor | None = None,
) -> Tensor:
    """The trajectory (batch, component, time, *space) of `steps` + 1 frames that begins with `initial`.

    Tensors are on the CPU, where memory is shared with the loops, or on CUDA; all of one dtype, float32 or
    float64.  Gradients of first order flow back to whichever of the tensors asks for one.  On CUDA there are
    no potentials.
    """
    if initial.is_cuda:
        from hyco.kernels.cuda import rollout as on_cuda

        if potential is not None:
            raise ValueError("expected no potential on CUDA, where no kernel takes one: compute on the CPU")
        return on_cuda(kernel, initial, steps, factor=factor, coefficient=coefficient)
    return _Rollout.apply(kernel, steps, initial, factor, coefficient, potential)


def staged_rollout(kernel: Stages, initial: Tensor, steps: int, parameters: Mapping[str, Tensor]) -> Tensor:
    """The same of an equation whose steps are made stage by stage; on the CPU."""
    return _StagedRollout.apply(kernel, steps, initial, *(parameters[name] for name in kernel.parameters))


def objective(
    kernel: Rollout,
    initial: Tensor,
    targets: Tensor,
    weights: Array | None = None,
    *,
    factor: Array | None = None,
    coefficient: Array | None = None,
    potential: Array | None = None,
    by_factor: bool = False,
    by_coefficient: bool = False,
    by_potential: bool = False,
) -> tuple[float, Gradients]:
    """`Rollout.objective` of windows that are tensors, (batch, component, ..., *space), on the CPU."""
    return kernel.objective(
        initial.detach().numpy(),
        targets.detach().numpy(),
        weights,
        factor=factor,
        coefficient=coefficient,
        potential=potential,
        by_factor=by_factor,
        by_coefficient=by_coefficient,
        by_potential=by_potential,
        threads=torch.get_num_threads(),
    )


def can_run() -> bool:
    """Whether values are there now: a trace would keep the results of the loops as constants."""
    return not torch.jit.is_tracing()  # type: ignore[attr-defined]


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
        potential: Tensor | None,
    ) -> Tensor:
        frames = _begun(initial, steps)
        kernel(
            frames,
            factor=_numpy(factor),
            coefficient=_numpy(coefficient),
            potential=_numpy(potential),
            threads=torch.get_num_threads(),
        )
        trajectory = torch.from_numpy(frames)
        ctx.kernel = kernel
        ctx.save_for_backward(trajectory, factor, coefficient, potential)
        return trajectory

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        trajectory, factor, coefficient, potential = ctx.saved_tensors
        by_initial, by_factor, by_coefficient, by_potential = ctx.needs_input_grad[2:]
        found = ctx.kernel.gradients(
            trajectory.detach().numpy(),
            given.contiguous().numpy(),
            factor=_numpy(factor),
            coefficient=_numpy(coefficient),
            potential=_numpy(potential),
            by_initial=by_initial,
            by_factor=by_factor,
            by_coefficient=by_coefficient,
            by_potential=by_potential,
            threads=torch.get_num_threads(),
        )
        gradients = found.initial, found.factor, found.coefficient, found.potential
        return None, None, *(None if g is None else torch.from_numpy(g) for g in gradients)


class _StagedRollout(torch.autograd.Function):
    """The same, step by step."""

    @staticmethod
    def forward(ctx: Any, kernel: Stages, steps: int, initial: Tensor, *parameters: Tensor) -> Tensor:
        frames = _begun(initial, steps)
        kept = kernel.fill(frames, [_numpy(p) for p in parameters], threads=torch.get_num_threads())
        trajectory = torch.from_numpy(frames)
        if any(ctx.needs_input_grad):
            ctx.kernel, ctx.kept = kernel, kept
            ctx.save_for_backward(trajectory, *parameters)
        return trajectory

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        trajectory, *parameters = ctx.saved_tensors
        by_initial, found = ctx.kernel.gradients(
            trajectory.detach().numpy(),
            ctx.kept,
            given.contiguous().numpy(),
            [_numpy(p) for p in parameters],
            ctx.needs_input_grad[2:],
            threads=torch.get_num_threads(),
        )
        return None, None, *(None if g is None else torch.from_numpy(g) for g in (by_initial, *found))


def _begun(initial: Tensor, steps: int) -> Array:
    """A trajectory of which the first frame is there.

    In memory of numpy's, which asks for large pages where there are any: the first touch costs less.
    """
    begin = initial.detach().numpy()
    frames = np.empty((*begin.shape[:2], steps + 1, *begin.shape[2:]), begin.dtype)
    frames[:, :, 0] = begin
    return frames


def _numpy(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().contiguous().numpy()
