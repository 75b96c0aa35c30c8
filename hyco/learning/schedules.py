"""Learning rates as functions of the epoch, counted over the whole run."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import Literal

Schedule = Callable[[int], float]


def learning_rate_schedule(
    name: Literal["cosine", "constant"], learning_rate: float, total_epochs: int
) -> Schedule:
    """epoch -> learning rate.

    cosine:    lr (1 + cos(pi epoch / total_epochs)) / 2         Source: Loshchilov and Hutter (2017)
    constant:  lr
    """
    if name == "constant":
        return lambda epoch: learning_rate
    return lambda epoch: (
        learning_rate * 0.5 * (1.0 + cos(pi * min(epoch, total_epochs) / max(1, total_epochs)))
    )
