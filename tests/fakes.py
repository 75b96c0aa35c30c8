"""Stand-ins that record what is asked of them: datasets of numbers instead of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hyco.interfaces import Batch
from hyco.problem.windows import Windows


@dataclass
class FakeDataset:
    """Windows whose initial state, and whose targets, are their own number.

    Attributes: windows, the real thing; taught: what `with_generated` was given, and with which alpha.
    """

    windows: Windows
    taught: list[tuple[Any, float]] = field(default_factory=list)

    @property
    def rollout_steps(self) -> int:
        """Frames of a window."""
        return self.windows.rollout_steps

    @property
    def generated(self) -> int:
        """How many windows were generated."""
        return self.windows.generated_count

    def __len__(self) -> int:
        return len(self.windows)

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """The numbers of the windows as their content."""
        generated = sum(i >= self.windows.real_count for i in indices)
        return Batch(np.array(indices), np.array(indices), len(indices), generated)

    def batches(self, size: int, *, rng: Any = None, source: Any = "both") -> Iterator[Batch]:
        """Batches in the order of the real thing."""
        return map(self.get_batch, self.windows.batches(size, rng, source))

    def with_generated(self, trajectories: Any, *, alpha: float = 1.0) -> FakeDataset:
        """A new dataset; this one remembers the request."""
        self.taught.append((trajectories, alpha))
        frames = tuple(len(t) for t in trajectories)
        return FakeDataset(Windows(self.windows.real, self.rollout_steps, frames, alpha))
