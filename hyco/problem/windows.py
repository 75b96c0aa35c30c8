"""Which frames of which trajectory make a sample, and in which order samples are seen.

Windows are numbered: first the real ones, simulation by simulation and by start, then the generated ones
in the same way.  Orders are drawn here, in numpy, so that
both modes see the same windows in the same batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def window_count(frames: int, rollout_steps: int) -> int:
    """Windows of `rollout_steps` consecutive frames in a trajectory: frames - rollout_steps + 1."""
    return max(0, frames - rollout_steps + 1)


@dataclass(frozen=True)
class Windows:
    """The windows of real trajectories of `real` frames each, and of generated ones of `generated` frames.

    Args:
        real: number of frames of each real trajectory.
        rollout_steps: frames of a window, the initial one included; at least 2.
        generated: number of frames of each generated trajectory.
        alpha: share of the real windows that one shuffled pass uses, in (0, 1].
        resident: how many real trajectories fit into memory at once; a shuffled pass visits them in
            groups of that size, so that each is loaded once.
    """

    real: tuple[int, ...]
    rollout_steps: int
    generated: tuple[int, ...] = ()
    alpha: float = 1.0
    resident: int = 1 << 30

    @cached_property
    def _ends(self) -> list[int]:
        frames = self.real + self.generated
        return list(accumulate(window_count(f, self.rollout_steps) for f in frames))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @cached_property
    def real_count(self) -> int:
        """Number of real windows."""
        return sum(window_count(f, self.rollout_steps) for f in self.real)

    @property
    def generated_count(self) -> int:
        """Number of generated windows."""
        return len(self) - self.real_count

    def locate(self, index: int) -> tuple[int, int]:
        """(trajectory, first frame) of a window; generated trajectories are numbered after the real ones."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        trajectory = bisect_right(self._ends, index)
        before = self._ends[trajectory - 1] if trajectory else 0
        return trajectory, index - before

    def batches(
        self,
        size: int,
        rng: np.random.Generator | None = None,
        source: Literal["both", "real", "generated"] = "both",
    ) -> Iterator[Sequence[int]]:
        """Window numbers of each batch: all in order, or shuffled by `rng`; the last may be smaller."""
        order = self._in_order(source) if rng is None else self._shuffled(rng, source)
        for first in range(0, len(order), size):
            chunk = order[first : first + size]
            generated = chunk >= self.real_count
            yield np.concatenate([chunk[~generated], chunk[generated]]).tolist()

    def _in_order(self, source: str) -> Indices:
        first = self.real_count if source == "generated" else 0
        last = self.real_count if source == "real" else len(self)
        return np.arange(first, last)

    def _shuffled(self, rng: np.random.Generator, source: str) -> Indices:
        real = self._shuffled_real(rng) if source != "generated" else np.arange(0)
        if source == "real" or not self.generated:
            return real
        generated = self.real_count + rng.permutation(self.generated_count)
        places = np.sort(rng.choice(len(real) + len(generated), len(generated), replace=False))
        return np.insert(real, places - np.arange(len(generated)), generated)

    def _shuffled_real(self, rng: np.random.Generator) -> Indices:
        trajectories = rng.permutation(len(self.real))
        used = []
        for first in range(0, len(trajectories), self.resident):
            group = [self._windows_of(int(t)) for t in trajectories[first : first + self.resident]]
            shuffled = rng.permutation(np.concatenate(group))
            used.append(shuffled[: max(1, round(self.alpha * len(shuffled)))])
        return np.concatenate(used) if used else np.arange(0)

    def _windows_of(self, trajectory: int) -> Indices:
        return np.arange(self._ends[trajectory - 1] if trajectory else 0, self._ends[trajectory])
