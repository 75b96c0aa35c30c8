"""What every entry of a batch counts in a loss, and what every batch counts in a mean over several.

A loss is a mean over what is observed, so that a mask changes what is compared, not how large the loss is:

    L = (R n_r L_r + I n_g L_g) / (n_r + n_g)

n_r, n_g: numbers of real and of generated windows; L_r, L_g: means over their observed entries; R, I: the
weights of `LossWeights`.  An entry is one cell of one target frame of one window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyco.interfaces import Batch, Dataset, LossWeights


def entry_weights(batch: Batch, weights: LossWeights) -> NDArray[np.float64] | None:
    """Weights W of the entries of a batch, (size, time, *space), such that its loss is

        L = sum W * mean over dynamic components of error^2

    0 where nothing is observed.  None: L is the plain mean over all entries.
    """
    real = batch.size - batch.generated
    kinds = (slice(real), real, weights.real), (slice(real, None), batch.generated, weights.interaction)
    present = [kind for kind in kinds if kind[1]]
    if batch.observed is None and all(weight == 1.0 for *_, weight in present):
        return None
    made = np.ones(_extent(batch)) if batch.observed is None else batch.observed.astype(np.float64)
    for windows, number, weight in present:
        entries = max(1, int(np.count_nonzero(made[windows])))
        made[windows] *= weight * number / (batch.size * entries)
    return made


def yardstick(data: Dataset, weights: LossWeights | None) -> list[float]:
    """What a training loss is of; those of different yardsticks cannot be compared.

    Frames of the windows, and what real and generated ones count, 0 where there are none.
    """
    given = weights or LossWeights()
    return [float(data.rollout_steps), given.real, given.interaction if data.generated else 0.0]


def _extent(batch: Batch) -> tuple[int, ...]:
    """Sizes (size, time, *space) of targets whose dims, in either mode, are (batch, field, time, *space)."""
    shape = batch.targets.shape
    size, _, *others = getattr(shape, "sizes", shape)  # PhiML's shapes have names beside their sizes
    return (size, *others)


def observed_count(batch: Batch) -> float:
    """How many windows of a batch are observed, where a quarter of one counts a quarter; unmasked, its size.

    Means over batches of one kind, weighted by it, are means over all that is observed.
    """
    if batch.observed is None:
        return batch.size
    return batch.size * int(np.count_nonzero(batch.observed)) / batch.observed.size
