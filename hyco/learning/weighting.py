"""What every entry of a batch counts in a loss, and what every batch counts in a mean over several.

A loss is a mean over what is observed, so that masking changes what is compared but not how large it is:

    L = (R n_r L_r + I n_g L_g) / (n_r + n_g)

n_r, n_g: numbers of real and of generated windows; L_r, L_g: means over their observed entries; R, I: the
weights of `LossWeights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyco.interfaces import Batch, LossWeights


def entry_weights(batch: Batch, weights: LossWeights) -> NDArray[np.float64] | None:
    """Weights W of the entries of a batch, (size, time, *space), such that

        sum W * mean over dynamic components of error^2 = (R n_r L_r + I n_g L_g) / (n_r + n_g)

    0 where nothing is observed.  None: the plain mean over all entries is the same.
    """
    kinds = [(slice(0, batch.size - batch.generated), weights.real)]
    kinds.append((slice(batch.size - batch.generated, batch.size), weights.interaction))
    present = [(windows, weight) for windows, weight in kinds if windows.stop > windows.start]
    if batch.observed is None and all(weight == 1.0 for _, weight in present):
        return None
    observed = _observed(batch)
    made = np.zeros(observed.shape)
    for windows, weight in present:
        count = windows.stop - windows.start
        entries = np.count_nonzero(observed[windows])
        made[windows] = observed[windows] * (weight * count / (batch.size * max(1, entries)))
    return made


def _observed(batch: Batch) -> NDArray[np.bool_]:
    return batch.observed
