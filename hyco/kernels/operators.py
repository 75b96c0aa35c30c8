"""Single stages of a step by fused kernels, as functions of PyTorch tensors that gradients flow through.

For equations whose whole step has no kernel: what they share with those that have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from hyco.kernels.autograd import rollout
from hyco.kernels.reactions import react, undo_reaction
from hyco.kernels.rollout import Rollout

stage = lru_cache(64)(Rollout)


def advect(quantity: Tensor, velocity: Tensor, dt: float, spacing: Sequence[float], boundary: str) -> Tensor:
    """The quantity (batch, component, *space), carried for `dt` by a velocity (batch, axis, *space)."""
    moved, cells = quantity.shape[1], tuple(quantity.shape[2:])
    itself = quantity is velocity
    state = quantity if itself else torch.cat([quantity, velocity], dim=1)
    wind = 0 if itself else moved
    kernel = stage(cells, tuple(spacing), dt, moved=moved, boundary=boundary, wind=wind)
    return rollout(kernel, state.contiguous(), 1)[:, :moved, 1]


def diffuse(
    quantity: Tensor,
    coefficient: Tensor,
    dt: float,
    spacing: Sequence[float],
    boundary: str,
    *,
    substeps: int,
) -> Tensor:
    """The quantity (batch, component, *space) after `dt` of diffusion; coefficient: a number or (*space)."""
    moved, cells = quantity.shape[1], tuple(quantity.shape[2:])
    kernel = stage(cells, tuple(spacing), dt, moved=moved, boundary=boundary, substeps=substeps)
    return rollout(kernel, quantity.contiguous(), 1, coefficient=coefficient)[:, :, 1]


def gray_scott(state: Tensor, feed: Tensor, kill: Tensor, dt: float, *, substeps: int) -> Tensor:
    """The state u, v (batch, 2, *space) after `dt` of `hyco.kernels.reactions.react`; F, k: any shape."""
    return _Reaction.apply(state, feed, kill, dt, substeps)


class _Reaction(torch.autograd.Function):
    """Forward: all substeps of a cell; backward: their adjoints."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, feed: Tensor, kill: Tensor, dt: float, substeps: int) -> Tensor:
        ctx.save_for_backward(state, feed, kill)
        ctx.options = dt, substeps
        arrays = _flat(state), _row(feed), _row(kill)
        made = react(*arrays, dt, substeps, threads=torch.get_num_threads())
        return torch.from_numpy(made.reshape(state.shape))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        state, feed, kill = ctx.saved_tensors
        dt, substeps = ctx.options
        arrays = _flat(state), _row(feed), _row(kill)
        found = undo_reaction(*arrays, dt, substeps, _flat(given), threads=torch.get_num_threads())
        by_state, by_feed, by_kill = map(torch.from_numpy, found)
        return by_state.reshape(state.shape), _as(by_feed, feed), _as(by_kill, kill), None, None


def _flat(values: Tensor) -> Any:
    return values.detach().reshape(*values.shape[:2], -1).numpy()


def _row(parameter: Tensor) -> Any:
    return parameter.detach().reshape(-1).numpy()


def _as(by_cell: Tensor, parameter: Tensor) -> Tensor:
    return by_cell.reshape(parameter.shape) if parameter.ndim else by_cell.sum()
