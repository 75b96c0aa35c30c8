"""What the models were shown of the training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Observed:
    """What one model was shown of every real trajectory.

    Args:
        frames: which frames of a trajectory are observed, (time,).
        cells: which cells, (*space); None: all.
        noise: standard deviation of the noise, as a share of the root mean square of each component.
    """

    frames: NDArray[np.bool_]
    cells: NDArray[np.bool_] | None = None
    noise: float = 0.0

    @property
    def hides(self) -> bool:
        """Whether there is anything that the model was not shown as it is."""
        return self.cells is not None or self.noise > 0 or not bool(self.frames.all())

    def same_as(self, other: Observed) -> bool:
        """Whether both see the same cells of the same frames as precisely."""
        if self.noise != other.noise or not np.array_equal(self.frames, other.frames):
            return False
        if self.cells is None or other.cells is None:
            return self.cells is other.cells
        return bool(np.array_equal(self.cells, other.cells))


def hides(observed: Mapping[str, Observed]) -> bool:
    """Whether any model was not shown everything."""
    return any(o.hides for o in observed.values())
