"""Losses of phiml mode."""

from __future__ import annotations

from phiml import math
from phiml.math import Tensor

from hyco.problem.fields import FieldLayout


def rollout_loss(rollout: Tensor, targets: Tensor, layout: FieldLayout) -> Tensor:
    """Mean square of the error of a rollout, over batch, dynamic components, predicted frames and cells.

        L = mean (rollout[1:] - targets)^2

    Args:
        rollout: with the dims `time` and `field`, the initial frame first.
        targets: the same without the initial frame.
    """
    dynamic = list(layout.dynamic)
    error = rollout.field[dynamic].time[1:] - targets.field[dynamic]
    return math.mean(error * error, error.shape)
