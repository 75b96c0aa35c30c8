"""Losses of legacy mode."""

from __future__ import annotations

import torch

from hyco.problem.fields import FieldLayout


def rollout_loss(rollout: torch.Tensor, targets: torch.Tensor, layout: FieldLayout) -> torch.Tensor:
    """Mean square of the error of a rollout, over batch, dynamic components, predicted frames and cells.

        L = mean (rollout[1:] - targets)^2

    Args:
        rollout: (batch, field, time, *space), the initial frame first.
        targets: the same without the initial frame.
    """
    dynamic = list(layout.indices(layout.dynamic))
    error = rollout[:, dynamic, 1:] - targets[:, dynamic]
    return torch.mean(error * error)
