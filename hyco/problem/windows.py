"""Which frames of which trajectory make a sample, and in which order samples are seen.

Windows are numbered: first the real ones, simulation by simulation and by start, then the generated ones
in the same way.  Orders are drawn here, in numpy, and so is what of a window is observed, so that
both modes see the same windows in the same batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.observations import Mask, window_starts

Indices = NDArray[np.int64]
ALL = 1 << 30  # as many trajectories as there can be


def window_count(frames: int, rollout_steps: int) -> int:
    """Windows of `rollout_steps` consecutive frames in a trajectory: frames - rollout_steps + 1."""
    return max(0, frames - rollout_steps + 1)


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of real trajectories of `real` frames each, and of generated ones of `generated` frames.

    Args:
        real: number of frames of each real trajectory.
        rollout_steps: frames of a window, the initial one included; at least 2.
        generated: number of frames of each generated trajectory.
        alpha: share of the real windows that one shuffled pass uses, in (0, 1].
        resident: how many real trajectories fit into memory at once; a shuffled pass visits them in
            groups of that size, so that each is loaded once.
        observed: which frames of each real trajectory are observed; None: all.  A real window begins at an
            observed frame, and another one of its frames is observed.
        first_only: real windows begin at frame 0 alone.
        space: the observed cells, (*space), of real windows; None: all.
        points: the same of generated windows, all of whose frames are observed.
    """

    real: tuple[int, ...]
    rollout_steps: int
    generated: tuple[int, ...] = ()
    alpha: float = 1.0
    resident: int = ALL
    observed: tuple[Mask, ...] | None = None
    first_only: bool = False
    space: Mask | None = None
    points: Mask | None = None

    @cached_property
    def _starts(self) -> list[Sequence[int]]:
        """First frames of the windows of each trajectory."""
        counts = [window_count(frames, self.rollout_steps) for frames in self.real + self.generated]
        starts: list[Sequence[int]] = [range(count) for count in counts]
        if self.observed is not None or self.first_only:
            masks = self.observed or tuple(np.ones(frames, dtype=bool) for frames in self.real)
            starts[: len(self.real)] = [
                window_starts(mask, self.rollout_steps, first_only=self.first_only) for mask in masks
            ]
        return starts

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(starts) for starts in self._starts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @cached_property
    def real_count(self) -> int:
        """Number of real windows."""
        return sum(len(starts) for starts in self._starts[: len(self.real)])

    @property
    def generated_count(self) -> int:
        """Number of generated windows."""
        return len(self) - self.real_count

    def check(self, simulations: Sequence[int]) -> Windows:
        """These windows; `simulations`: the numbers of the real trajectories, for messages.

        Raises DataError for a real trajectory that is shorter than a window, and when there are real
        trajectories but no window of them can be used.
        """
        for simulation, count in zip(simulations, self.real, strict=True):
            if count < self.rollout_steps:
                raise DataError(
                    f"a window of {self.rollout_steps} frames needs trajectories of at least "
                    f"{self.rollout_steps}; simulation {simulation} has {count}. "
                    "Lower trainer.rollout_steps or regenerate."
                )
        if simulations and not self.real_count:
            begin = "the first frame" if self.first_only else "an observed frame"
            raise DataError(
                f"no window of {self.rollout_steps} frames that begins at {begin} has another observed frame "
                f"in {len(simulations)} simulations of {min(self.real)} to {max(self.real)} frames. Observe "
                "more frames (observations.time), or change trainer.rollout_steps."
            )
        return self

    def locate(self, index: int) -> tuple[int, int]:
        """(trajectory, first frame) of a window; generated trajectories are numbered after the real ones."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        trajectory = bisect_right(self._ends, index)
        before = self._ends[trajectory - 1] if trajectory else 0
        return trajectory, self._starts[trajectory][index - before]

    def positions(self, indices: Sequence[int] | Indices) -> tuple[Indices, Indices]:
        """`locate` of several windows at once: their trajectories, and their first frames."""
        numbers = np.asarray(indices, dtype=np.int64)
        wrong = numbers[(numbers < 0) | (numbers >= len(self))]
        if len(wrong):
            raise IndexError(f"window {wrong[0]} of {len(self)}")
        trajectories, starts = self._places
        return trajectories[numbers], starts[numbers]

    @cached_property
    def _places(self) -> tuple[Indices, Indices]:
        counts = [len(starts) for starts in self._starts]
        starts = np.fromiter(chain.from_iterable(self._starts), np.int64, len(self))
        return np.repeat(np.arange(len(counts)), counts), starts

    def observed_targets(self, indices: Sequence[int], resolution: tuple[int, ...]) -> Mask | None:
        """Which entries of the targets of these windows are observed, (window, time, *space); None: all."""
        if self.observed is None and self.space is None and self.points is None:
            return None
        trajectories, starts = self.positions(indices)
        is_real = trajectories < len(self.real)
        frames = np.ones((len(starts), self.rollout_steps - 1), dtype=bool)
        if self.observed:
            firsts = np.cumsum([0, *self.real[:-1]])[trajectories[is_real]] + starts[is_real]
            frames[is_real] = np.concatenate(self.observed)[firsts[:, None] + range(1, self.rollout_steps)]
        made = np.empty((*frames.shape, *resolution), dtype=bool)
        made[:] = frames.reshape(*frames.shape, *(1 for _ in resolution))
        for kind, cells in ((is_real, self.space), (~is_real, self.points)):
            if cells is not None:
                made[kind] &= cells
        return None if made.all() else made

    def batches(
        self,
        size: int,
        rng: np.random.Generator | None = None,
        source: Literal["both", "real", "generated"] = "both",
        skip: int = 0,
    ) -> Iterator[Sequence[int]]:
        """Window numbers of each batch: all in order, or shuffled by `rng`; the last may be smaller.

        The first `skip` batches are left out.
        """
        order = self._in_order(source) if rng is None else self._shuffled(rng, source)
        for first in range(skip * size, len(order), size):
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
