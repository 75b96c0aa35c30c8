"""Rollouts of `hyco.kernels` as functions of PyTorch tensors, which gradients flow through.

The only file here that knows PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hyco.kernels.rollout import Rollout


def rollout(
    kernel: Rollout,
    initial: Tensor,
    steps: int,
    *,
    factor: Tensor | None = None,
    coefficient: Tensor | None = None,
) -> Tensor:
    """The trajectory (batch, component, time, *space) of `steps` + 1 frames that begins with `initial`.

    Tensors are on the CPU, all of one dtype, float32 or float64; memory is shared with the loops.  Gradients
    of first order flow back to whichever of the tensors asks for one.
    """
    return _Rollout.apply(kernel, steps, initial, factor, coefficient)


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
        trajectory = initial.new_empty((*initial.shape[:2], steps + 1, *initial.shape[2:]))
        trajectory[:, :, 0] = initial
        kernel(
            trajectory.numpy(),
            factor=_numpy(factor),
            coefficient=_numpy(coefficient),
            threads=torch.get_num_threads(),
        )
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
