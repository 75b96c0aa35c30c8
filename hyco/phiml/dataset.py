"""Windows of trajectories in phiml mode: named tensors, cut out by one gather per batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from phiml.backend import choose_backend
from phiml.math import Tensor

from hyco import interfaces
from hyco.errors import DataError
from hyco.interfaces import Batch, DataManager, Source, Window
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX
from hyco.phiml.tensors import NativeArrays
from hyco.problem.windows import Windows


@register("dataset", "default", "phiml")
class Dataset(interfaces.Dataset):
    """Windows of the given simulations, read through a phiml DataManager when they are asked for.

    A window's tensors have the dims `field`, the axes and, for targets, `time`; a batch's have `batch` too.
    Raises DataError for a simulation shorter than a window.
    """

    mode = "phiml"
    suffix = SUFFIX
    arrays: NativeArrays

    def __init__(self, manager: DataManager, simulations: Sequence[int], *, rollout_steps: int) -> None:
        self.manager = manager
        self.simulations = tuple(simulations)
        self.rollout_steps = rollout_steps
        self.grid = manager.grid
        self.layout = manager.layout
        self.arrays = cast(NativeArrays, manager.arrays)
        self._generated: Any = None
        frames = tuple(manager.frames(s) for s in self.simulations)
        for simulation, count in zip(self.simulations, frames, strict=True):
            if count < rollout_steps:
                raise DataError(
                    f"a window of {rollout_steps} frames needs trajectories of at least {rollout_steps}; "
                    f"simulation {simulation} has {count}. Lower trainer.rollout_steps or regenerate."
                )
        self._windows = Windows(frames, rollout_steps, resident=manager.resident(self.simulations))

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Window:
        batch = self.get_batch([index])
        return Window(batch.initial.batch[0], batch.targets.batch[0])

    @property
    def generated(self) -> int:
        return self._windows.generated_count

    def get_batch(self, indices: Sequence[int]) -> Batch:
        places = [self._windows.locate(i) for i in indices]
        natives = {t: self._trajectory(t) for t in dict.fromkeys(t for t, _ in places)}  # each unwrapped once
        pieces = [natives[t][:, start : start + self.rollout_steps] for t, start in places]
        with self.arrays.compute.scope():  # outside, PhiML's `stack` rounds to float32
            windows = choose_backend(*pieces).stack(pieces, 0)
        initial = self.arrays.wrap(windows[:, :, 0], "batch", "field", *self.layout.axes)
        targets = self.arrays.wrap(windows[:, :, 1:], "batch", "field", "time", *self.layout.axes)
        generated = sum(i >= self._windows.real_count for i in indices)
        return Batch(initial, targets, len(pieces), generated)

    def batches(
        self, size: int, *, rng: np.random.Generator | None = None, source: Source = "both"
    ) -> Iterator[Batch]:
        return map(self.get_batch, self._windows.batches(size, rng, source))

    def with_generated(self, trajectories: Tensor, *, alpha: float = 1.0) -> Dataset:
        extended = Dataset(self.manager, self.simulations, rollout_steps=self.rollout_steps)
        extended._generated = self._native(self.arrays.place(self.arrays.compute.detached(trajectories)))
        count, frames = trajectories.shape.get_size("batch"), trajectories.shape.get_size("time")
        extended._windows = replace(self._windows, generated=(frames,) * count, alpha=alpha)
        return extended

    def _trajectory(self, number: int) -> Any:
        """The native frames (field, time, *space) of one trajectory."""
        if number < len(self.simulations):
            return self._native(self.manager.load(self.simulations[number]))[0]
        return self._generated[number - len(self.simulations)]

    def _native(self, trajectories: Tensor) -> Any:
        return self.arrays.native(trajectories, "batch", "field", "time", *self.layout.axes)
