"""Rollouts of `hyco.kernels` as functions of PyTorch tensors, which gradients flow through; their losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyco.kernels.rollout import Gradients, Rollout

Array = NDArray[Any]


def rollout(
    kernel: Rollout,
    initial: Tensor,
    steps: int,
    *,
    factor: Tensor | None = None,
    coefficient: Tensor | None = None,
) -> Tensor:
    """The trajectory (batch, component, time, *space) of `steps` + 1 frames that begins with `initial`.

    Tensors are on the CPU, where memory is shared with the loops, or on CUDA; all of one dtype, float32 or
    float64.  Gradients of first order flow back to whichever of the tensors asks for one.
    """
    if initial.is_cuda:
        from hyco.kernels.cuda import rollout as on_cuda

        return on_cuda(kernel, initial, steps, factor=factor, coefficient=coefficient)
    return _Rollout.apply(kernel, steps, initial, factor, coefficient)


def objective(
    kernel: Rollout,
    initial: Tensor,
    targets: Tensor,
    weights: Array | None = None,
    *,
    factor: Array | None = None,
    coefficient: Array | None = None,
    by_factor: bool = False,
    by_coefficient: bool = False,
) -> tuple[float, Gradients]:
    """`Rollout.objective` of windows that are tensors, (batch, component, ..., *space), on the CPU."""
    return kernel.objective(
        initial.detach().numpy(),
        targets.detach().numpy(),
        weights,
        factor=factor,
        coefficient=coefficient,
        by_factor=by_factor,
        by_coefficient=by_coefficient,
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
    ) -> Tensor:
        begin = initial.detach().numpy()
        # memory of numpy's, which asks for large pages where there are any: the first touch costs less
        frames = np.empty((*begin.shape[:2], steps + 1, *begin.shape[2:]), begin.dtype)
        frames[:, :, 0] = begin
        kernel(
            frames,
            factor=_numpy(factor),
            coefficient=_numpy(coefficient),
            threads=torch.get_num_threads(),
        )
        trajectory = torch.from_numpy(frames)
        ctx.kernel = kernel
        ctx.save_for_backward(trajectory, factor, coefficient)
        return trajectory

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        trajectory, factor, coefficient = ctx.saved_tensors
        _, _, by_initial, by_factor, by_coefficient = ctx.needs_input_grad
        found = ctx.kernel.gradients(
            trajectory.detach().numpy(),
            given.contiguous().numpy(),
            factor=_numpy(factor),
            coefficient=_numpy(coefficient),
            by_initial=by_initial,
            by_factor=by_factor,
            by_coefficient=by_coefficient,
            threads=torch.get_num_threads(),
        )
        gradients = found.initial, found.factor, found.coefficient
        return None, None, *(None if g is None else torch.from_numpy(g) for g in gradients)


def _numpy(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().contiguous().numpy()
