"""What a physical fit minimises, as a function of its unknowns; the same for both modes.

    J(theta) = (R n_r L_r + s I n_g L_g) / (R n_r + I n_g) + smoothness * S(c) + total_variation * V(c)

c(theta): the parameters (`hyco.learning.bases`).  L_r, L_g: mean square errors of the rollouts over what is
observed in all real windows, and in all generated ones; n_r, n_g: how many windows these are; R, I: what each
counts; s: 1, or what brings L_g to the magnitude of L_r.  Source: Liverani, Steynberg, Zuazua (2025).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any, Protocol

import numpy as np

from hyco.errors import ConfigError
from hyco.interfaces import Batch, LossWeights
from hyco.learning.bases import Unknowns
from hyco.learning.inverse import Values
from hyco.learning.regularisers import squared_gradient, total_variation
from hyco.learning.weighting import observed_count
from hyco.problem.grid import Grid


class Fitter(Protocol):
    """What a mode's physical trainer can do, for batches that are all real or all generated."""

    def loss_and_gradients(self, batch: Batch, values: Values) -> tuple[float, Values]:
        """Mean loss over what is observed of a batch, and its gradients by the parameters, in float64."""

    def loss(self, batch: Batch) -> Any:
        """The loss of a batch with the parameters in force, without gradients."""


@dataclass(frozen=True)
class Terms:
    """The parts of one value of the objective; of a kind of which no window takes part, there is none."""

    data: float
    real: float | None
    interaction: float | None
    regularisation: float


@dataclass(frozen=True)
class Penalty:
    """What is known of field parameters beforehand; a weight in units of loss * (length / parameter)^n.

    Args:
        smoothness: weight of the mean squared gradient, n = 2.
        total_variation: weight of the mean absolute gradient, n = 1.
    """

    grid: Grid
    smoothness: float = 0.0
    total_variation: float = 0.0

    def __call__(self, values: Values) -> tuple[float, Values]:
        """The sum over all parameters, and its derivative by each."""
        terms = {name: squared_gradient(v, self.grid) for name, v in values.items()}
        total = self.smoothness * sum(value for value, _ in terms.values())
        slopes = {name: self.smoothness * slope for name, (_, slope) in terms.items()}
        if self.total_variation:
            for name, v in values.items():
                value, slope = total_variation(v, self.grid)
                total += self.total_variation * value
                slopes[name] = slopes[name] + self.total_variation * slope
        return total, slopes


def windows_seen(batch: Batch) -> int:
    """How many windows of a batch show anything to compare with."""
    if batch.observed is None:
        return batch.size
    return int(np.sum(np.any(batch.observed, axis=tuple(range(1, batch.observed.ndim)))))


class Objective:
    """Loss and gradients of unknowns; `terms` has the parts of every value since `begin`.

    Batches that count nothing, and such in which nothing is observed, are left out.  Raises ConfigError when
    none is left.

    Args:
        batches: all windows of a fit; none is half real and half generated.  They are asked for again with
            every evaluation, so that a sequence which reads them need not hold them.
    """

    def __init__(
        self,
        fitter: Fitter,
        batches: Sequence[Batch],
        weights: LossWeights,
        unknowns: Unknowns,
        penalty: Penalty,
    ) -> None:
        self.fitter = fitter
        self.unknowns = unknowns
        self.penalty = penalty
        counts = [(bool(b.generated), windows_seen(b), observed_count(b)) for b in batches]
        self.real, self.generated = (
            _Kind(batches, [(i, n, seen) for i, (g, n, seen) in enumerate(counts) if g == kind], each)
            for kind, each in ((False, weights.real), (True, weights.interaction))
        )
        if self.real.windows + self.generated.windows == 0:
            raise ConfigError(
                f"physical fit: of {sum(b.size for b in batches)} windows none takes part: either nothing is "
                "observed in them, or trainer.hybrid.loss_scaling.physical gives them no weight "
                f"(real {weights.real:g}, interaction {weights.interaction:g}). Observe more, or "
                "raise a weight."
            )
        self._whole = sum(self.real.weights() + self.generated.weights())
        self.interaction_scale = self._scale() if weights.proportional else 1.0
        self.terms: list[Terms] = []

    @property
    def windows(self) -> int:
        """How many windows take part."""
        return self.real.windows + self.generated.windows

    def begin(self) -> None:
        """Forget the terms of earlier evaluations."""
        self.terms = []

    def __call__(self, coefficients: Values) -> tuple[float, Values]:
        """The value at these coefficients, and its gradient by them."""
        values = self.unknowns.fields(coefficients)
        both = chain(self.real.shares(), self.generated.shares(self.interaction_scale))
        data, gradients = 0.0, {name: np.zeros(np.shape(v)) for name, v in values.items()}
        losses = []
        for batch, weight in both:
            loss, gradient = self.fitter.loss_and_gradients(batch, values)
            losses.append(loss)
            share = weight / self._whole
            data += share * loss
            for name in gradients:
                gradients[name] += share * gradient[name]
        penalty, slopes = self.penalty(values)
        split = len(self.real)
        self.terms.append(
            Terms(data, self.real.mean(losses[:split]), self.generated.mean(losses[split:]), penalty)
        )
        total = {name: gradients[name] + slopes[name] for name in gradients}
        return data + penalty, self.unknowns.pulled_back(coefficients, total)

    def _scale(self) -> float:
        """L_r / L_g with the parameters in force; 1 where either is 0, not finite, or not there."""
        real, generated = (
            kind.mean([float(self.fitter.loss(b)) for b in kind.batches])
            for kind in (self.real, self.generated)
        )
        if not real or not generated or not isfinite(real) or not isfinite(generated):
            return 1.0
        return real / generated if isfinite(real / generated) else 1.0


class _Kind:
    """The real windows of a fit, or the generated ones: those that take part, and what they count."""

    def __init__(
        self, batches: Sequence[Batch], counts: Sequence[tuple[int, int, float]], each: float
    ) -> None:
        """`counts`: number of a batch, how many of its windows show anything, how much is observed in it."""
        taken = [(i, windows, seen) for i, windows, seen in counts if each > 0.0 and windows > 0]
        self._all = batches
        self._numbers = [i for i, _, _ in taken]
        self._seen = [seen for _, _, seen in taken]
        self._each = each
        self.windows = sum(windows for _, windows, _ in taken)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def batches(self) -> Iterator[Batch]:
        """Those that take part, one after the other."""
        return (self._all[i] for i in self._numbers)

    def weights(self, scale: float = 1.0) -> list[float]:
        """Each batch's part of the weight, times `scale`: by how much is observed in it."""
        total = sum(self._seen)
        return [self.windows * seen / total * self._each * scale for seen in self._seen]

    def shares(self, scale: float = 1.0) -> Iterator[tuple[Batch, float]]:
        """Every batch with its weight."""
        return zip(self.batches, self.weights(scale), strict=True)

    def mean(self, losses: Sequence[float]) -> float | None:
        """The mean over all that is observed, from those of the batches."""
        return float(np.dot(losses, self._seen) / sum(self._seen)) if losses else None
