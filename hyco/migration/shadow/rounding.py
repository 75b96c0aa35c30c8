"""How far losses and gradients may differ: by what rounded states make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, sqrt

import numpy as np

from hyco.migration.shadow.learning import Learning
from hyco.migration.shadow.recorder import Part
from hyco.migration.shadow.states import largest

NOISE = 100.0  # roundings of the states, below whose square a loss is nothing but rounding


class Slopes:
    """Gives losses L = mean (u - t)^2, and their gradients g, the magnitude of the terms they are sums of.

    States u that are rounded by r max|u| change L by up to 2 sqrt(L) r max|u|, and g by up to s r max|u|,
    where s is 2 rms(du/dtheta).  Near a perfect fit, where u - t nearly cancels, both are far more than r L
    and r |g|.  Of s a run shows a lower bound, |g| / sqrt(L); the largest so far is taken.
    """

    def __init__(self) -> None:
        self._steepest: dict[tuple[str, str], float] = {}

    def weigh(self, parts: Sequence[Part], given: Learning) -> list[Part]:
        """The parts of a control's result, a loss and perhaps gradients, with their magnitudes."""
        loss, *gradients = parts
        value, size = float(np.asarray(loss.values)), given.magnitude
        if not (isfinite(value) and isfinite(size)):
            return list(parts)
        root = max(sqrt(max(value, 0.0)), NOISE * float(np.finfo(given.initial.dtype).eps) * size)
        if root == 0.0:
            return list(parts)
        weighed = [replace(loss, magnitude=2.0 * root * size)]
        for part in gradients:
            key = part.quantity, part.name
            slope = max(part.magnitude, largest(np.asarray(part.values))) / root
            self._steepest[key] = max(self._steepest.get(key, 0.0), slope if isfinite(slope) else 0.0)
            weighed.append(replace(part, magnitude=part.magnitude + self._steepest[key] * size))
        return weighed
