"""Losses of legacy mode."""

from __future__ import annotations

import torch

from hyco.problem.fields import FieldLayout


def rollout_loss(
    rollout: torch.Tensor, targets: torch.Tensor, layout: FieldLayout, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean square of the error of a rollout, over batch, dynamic components, predicted frames and cells.

        L = mean (rollout[1:] - targets)^2

    With weights W of the entries, (batch, time, *space), which are 0 where there is nothing to compare with:

        L = sum W * mean over components of (rollout[1:] - targets)^2

    Args:
        rollout: (batch, field, time, *space), the initial frame first.
        targets: the same without the initial frame.
        weights: (batch, time, *space); None: the mean (`hyco.learning.weighting`).
    """
    dynamic = list(layout.indices(layout.dynamic))
    error = rollout[:, dynamic, 1:] - targets[:, dynamic]
    if weights is None:
        return torch.mean(error * error)
    return torch.sum(weights * torch.mean(error * error, dim=1))
