"""Losses of phiml mode."""

from __future__ import annotations

import numpy as np
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
    dims = "batch", "field", "time", *layout.axes
    dynamic = np.array(layout.indices(layout.dynamic))
    predicted, expected = rollout.native(dims)[:, :, 1:], targets.native(dims)
    if len(dynamic) < len(layout.components):
        predicted, expected = predicted[:, dynamic], expected[:, dynamic]
    error = predicted - expected
    squares = error * error
    if weights is None:
        return math.wrap(squares.mean())
    per_entry = squares.sum(1) / len(dynamic)
    return math.wrap((weights.native(("batch", "time", *layout.axes)) * per_entry).sum())
