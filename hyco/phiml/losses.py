"""Losses of phiml mode."""

from __future__ import annotations

from phiml import math
from phiml.math import Tensor

from hyco.problem.fields import FieldLayout


def rollout_loss(
    rollout: Tensor, targets: Tensor, layout: FieldLayout, weights: Tensor | None = None
) -> Tensor:
    """Mean square of the error of a rollout, over batch, dynamic components, predicted frames and cells.

        L = mean (rollout[1:] - targets)^2

    With weights W of the entries, which are 0 where there is nothing to compare with:

        L = sum W * mean over components of (rollout[1:] - targets)^2

    Args:
        rollout: with the dims `time` and `field`, the initial frame first.
        targets: the same without the initial frame.
        weights: with the dims `batch`, `time` and the axes; None: the mean (`hyco.learning.weighting`).
    """
    dynamic = list(layout.dynamic)
    error = rollout.field[dynamic].time[1:] - targets.field[dynamic]
    if weights is None:
        return math.mean(error * error, error.shape)
    # PhiML 1.16.1 keeps no `field` of a single component in memory, and takes a mean over it for one over all
    return math.sum(weights * (error * error), error.shape) / len(dynamic)
