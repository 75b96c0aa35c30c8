"""Scores of predicted trajectories and of recovered parameters, in numpy.

Trajectories have dims (field, time, *space); frame 0 is the given initial state and is never scored.
Sums run over the fields and cells of a frame:

    nRMSE        sqrt(sum e^2 / sum u^2),    pooled over all frames (and simulations) that are scored
    relative L2  |e| / |u| of a frame,       averaged over the frames
    max error    max |e|
    correlation  Pearson's, between the values of two frames, averaged over the frames

with the truth u and the error e.  For one frame nRMSE and relative L2 are the same number.

Where the truth is zero, a zero error scores 0 and any other error scores infinity.  A prediction with
values that are not finite scores infinity, and has no correlation.  Correlation with a constant truth
is undefined (NaN); with a constant prediction of a truth that varies it is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CORRELATED = 0.8
Array = NDArray[np.floating]


@dataclass(frozen=True)
class FrameErrors:
    """What the scores are made of: one value per predicted frame, in order, each of shape (frames,)."""

    squared_error: Array
    squared_truth: Array
    max_error: Array
    correlation: Array
    finite: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.squared_error)

    def first(self, frames: int) -> FrameErrors:
        """The first `frames` predicted frames, or all there are."""
        return FrameErrors(*(values[:frames] for values in self._columns()))

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return (self.squared_error, self.squared_truth, self.max_error, self.correlation, self.finite)

    @staticmethod
    def pooled(parts: Sequence[FrameErrors]) -> FrameErrors:
        """The frames of several simulations together."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        return FrameErrors(*(np.concatenate(c) for c in columns))

    @property
    def relative_l2(self) -> Array:
        """|e| / |u| of each frame."""
        pairs = zip(self.squared_error, self.squared_truth, strict=True)
        return np.array([ratio(np.sqrt(e), np.sqrt(u)) for e, u in pairs])

    @property
    def nrmse(self) -> float:
        """sqrt(sum e^2 / sum u^2) over all frames."""
        return ratio(np.sqrt(self.squared_error.sum()), np.sqrt(self.squared_truth.sum()))

    @property
    def correlation_horizon(self) -> int | None:
        """The first frame (1 is the first predicted one) whose correlation is below 0.8; None if none is.

        A frame that is not finite counts as below; one whose correlation is undefined does not.
        """
        lost = np.flatnonzero((self.correlation < CORRELATED) | ~self.finite)
        return int(lost[0]) + 1 if lost.size else None


@dataclass(frozen=True)
class ParameterError:
    """Relative L2 and greatest absolute error of a scalar or field parameter."""

    relative_l2: float
    max_error: float


def frame_errors(prediction: Array, truth: Array) -> FrameErrors:
    """The errors of every frame but the first; both arrays have dims (field, time, *space)."""
    frames = range(1, truth.shape[1])
    rows = [_frame(prediction[:, t].astype(np.float64), truth[:, t].astype(np.float64)) for t in frames]
    return FrameErrors(*(np.array(column) for column in zip(*rows, strict=True)))


def unchanged(truth: Array) -> Array:
    """The "nothing changes" baseline: the initial frame, at every time."""
    return np.broadcast_to(truth[:, :1], truth.shape)


def parameter_error(value: Array | float, truth: Array | float) -> ParameterError:
    """The error of `value`; a scalar is compared with every cell of a field."""
    truth = np.asarray(truth, np.float64)
    value = np.broadcast_to(np.asarray(value, np.float64), truth.shape)
    if not np.all(np.isfinite(value)):
        return ParameterError(np.inf, np.inf)
    error = value - truth
    return ParameterError(ratio(np.linalg.norm(error), np.linalg.norm(truth)), float(np.abs(error).max()))


def ratio(error: float | np.floating, reference: float | np.floating) -> float:
    """error / reference, where no error of nothing is 0, and any error of nothing is infinite."""
    if reference == 0.0:
        return 0.0 if error == 0.0 else np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.float64(error) / np.float64(reference))


def _frame(prediction: Array, truth: Array) -> tuple[float, float, float, float, bool]:
    """The columns of `FrameErrors` for one frame of dims (field, *space)."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared_truth = float(np.sum(truth**2))
        if not np.all(np.isfinite(prediction)):
            return np.inf, squared_truth, np.inf, np.nan, False
        error = prediction - truth
        return (
            float(np.sum(error**2)),
            squared_truth,
            float(np.abs(error).max()),
            _correlation(prediction, truth),
            True,
        )


def _correlation(prediction: Array, truth: Array) -> float:
    """Pearson's correlation of all values; NaN for a constant truth, 0 for a constant prediction."""
    p, u = prediction - prediction.mean(), truth - truth.mean()
    p_norm, u_norm = np.linalg.norm(p), np.linalg.norm(u)
    # the mean of equal values is off by rounding, which must not pass for variation
    if u_norm <= 1e-12 * np.linalg.norm(truth):
        return np.nan
    if p_norm <= 1e-12 * np.linalg.norm(prediction):
        return 0.0
    return float(np.vdot(p, u) / (p_norm * u_norm))
