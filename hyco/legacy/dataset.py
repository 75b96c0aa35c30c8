"""Windows of trajectories in legacy mode: a `torch.utils.data.Dataset` that a `DataLoader` accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from hyco import interfaces
from hyco.errors import DataError
from hyco.interfaces import Batch, DataManager, Source, Window
from hyco.legacy.checkpoints import SUFFIX
from hyco.migration.registry import register
from hyco.problem.windows import Windows


@register("dataset", "default", "legacy")
class Dataset(interfaces.Dataset, TorchDataset[Window]):
    """Windows of the given simulations, read through a legacy DataManager when they are asked for.

    A window's tensors have dims (field, *space) and (field, time, *space); a batch's begin with `batch`.
    Raises DataError for a simulation shorter than a window.
    """

    mode = "legacy"
    suffix = SUFFIX

    def __init__(self, manager: DataManager, simulations: Sequence[int], *, rollout_steps: int) -> None:
        self.manager = manager
        self.simulations = tuple(simulations)
        self.rollout_steps = rollout_steps
        self.grid = manager.grid
        self.layout = manager.layout
        self.arrays = manager.arrays
        self._generated: torch.Tensor | None = None
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
        trajectory, start = self._windows.locate(index)
        frames = self._trajectory(trajectory)[:, start : start + self.rollout_steps]
        return Window(frames[:, 0], frames[:, 1:])

    @property
    def generated(self) -> int:
        return self._windows.generated_count

    def get_batch(self, indices: Sequence[int]) -> Batch:
        windows = [self[i] for i in indices]
        initial = torch.stack([w.initial for w in windows])
        targets = torch.stack([w.targets for w in windows])
        generated = sum(i >= self._windows.real_count for i in indices)
        return Batch(initial, targets, len(windows), generated)

    def batches(
        self, size: int, *, rng: np.random.Generator | None = None, source: Source = "both"
    ) -> Iterator[Batch]:
        return map(self.get_batch, self._windows.batches(size, rng, source))

    def with_generated(self, trajectories: torch.Tensor, *, alpha: float = 1.0) -> Dataset:
        extended = Dataset(self.manager, self.simulations, rollout_steps=self.rollout_steps)
        extended._generated = self.arrays.place(trajectories.detach())
        frames = (int(trajectories.shape[2]),) * int(trajectories.shape[0])
        extended._windows = replace(self._windows, generated=frames, alpha=alpha)
        return extended

    def _trajectory(self, number: int) -> torch.Tensor:
        if number < len(self.simulations):
            return self.manager.load(self.simulations[number])[0]
        assert self._generated is not None
        return self._generated[number - len(self.simulations)]
