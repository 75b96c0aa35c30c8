"""Stand-ins that record what is asked of them: datasets of numbers instead of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from hyco.interfaces import Batch
from hyco.problem.windows import Windows


@dataclass
class FakeDataset:
    """Windows whose initial state, and whose targets, are their own number.

    Attributes: windows, the real thing; taught: what `with_generated` was given, and with which alpha and
    points; seen_as: the model by whose sensors it is seen; streams: whether nobody is to hold its batches.
    """

    windows: Windows
    taught: list[tuple[Any, float]] = field(default_factory=list)
    points: list[Any] = field(default_factory=list)
    seen_as: str = ""
    streams: bool = False

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

    def batches(self, size: int, *, rng: Any = None, source: Any = "both", skip: int = 0) -> Iterator[Batch]:
        """Batches in the order of the real thing."""
        return map(self.get_batch, islice(self.windows.batches(size, rng, source), skip, None))

    def with_generated(self, trajectories: Any, *, alpha: float = 1.0, points: Any = None) -> FakeDataset:
        """A new dataset; this one remembers the request."""
        self.taught.append((trajectories, alpha))
        self.points.append(points)
        frames = tuple(len(t) for t in trajectories)
        return replace(self, windows=replace(self.windows, generated=frames, alpha=alpha))

    def with_rollout_steps(self, rollout_steps: int) -> FakeDataset:
        """The same in windows of another length."""
        return replace(self, windows=replace(self.windows, rollout_steps=rollout_steps))

    def seen_by(self, model: str) -> FakeDataset:
        """The same, and by whom; requests are remembered together."""
        return replace(self, seen_as=model)
