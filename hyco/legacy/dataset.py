"""Windows of trajectories in legacy mode: a `torch.utils.data.Dataset` that a `DataLoader` accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from hyco import interfaces
from hyco.interfaces import Batch, DataManager, Source, Window
from hyco.legacy.checkpoints import SUFFIX
from hyco.migration.registry import register
from hyco.problem.observations import EVERYTHING, Observations, Sensors
from hyco.problem.windows import ALL, Windows


@register("dataset", "default", "legacy")
class Dataset(interfaces.Dataset, TorchDataset[Window]):
    """Windows of the given simulations, read through a legacy DataManager when they are asked for.

    A window's tensors have dims (field, *space) and (field, time, *space); a batch's begin with `batch`.
    Where trajectories of a source do not fit into memory together, their windows are read from its files.
    `observations`: what each model is shown of the simulations (`seen_by`); None: everything.  Raises
    DataError for a simulation shorter than a window, and when a model is shown no window at all.
    """

    mode = "legacy"
    suffix = SUFFIX

    def __init__(
        self,
        manager: DataManager,
        simulations: Sequence[int],
        *,
        rollout_steps: int,
        observations: Observations | None = None,
    ) -> None:
        self.manager = manager
        self.simulations = tuple(simulations)
        self.rollout_steps = rollout_steps
        self.observations = observations or Observations()
        self.grid = manager.grid
        self.layout = manager.layout
        self.arrays = manager.arrays
        self._generated: torch.Tensor | None = None
        self._sensors = EVERYTHING
        frames = tuple(manager.frames(s) for s in self.simulations)
        resident = manager.resident(self.simulations)
        self._resident = resident
        # an order that goes through all trajectories at once costs nothing where none is held
        self._files = manager.streamed(self.simulations)
        order = resident if self._files is None else ALL
        self._windows = Windows(frames, rollout_steps, resident=order).check(self.simulations)
        # kept apart from what the manager holds, and shared by all datasets that are made from this one
        self._disturbed = lru_cache(resident)(partial(_disturbed, manager, self.observations.seed))

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Window:
        trajectory, start = self._windows.locate(index)
        if self._by_window and trajectory < len(self.simulations):
            frames = self._read([trajectory], [start])[0]
        else:
            frames = self._trajectory(trajectory)[:, start : start + self.rollout_steps]
        return Window(frames[:, 0], frames[:, 1:])

    @property
    def generated(self) -> int:
        return self._windows.generated_count

    @property
    def streams(self) -> bool:
        return self._files is not None

    @property
    def _by_window(self) -> bool:
        """Whether real windows are read by themselves; with noise, which is of a trajectory, these are."""
        return self.streams and not self._sensors.noise

    def get_batch(self, indices: Sequence[int]) -> Batch:
        windows = self._streamed(indices) if self._by_window else [self[i] for i in indices]
        initial = torch.stack([w.initial for w in windows])
        targets = torch.stack([w.targets for w in windows])
        generated = sum(i >= self._windows.real_count for i in indices)
        observed = self._windows.observed_targets(indices, self.grid.resolution)
        return Batch(initial, targets, len(windows), generated, observed)

    def batches(
        self,
        size: int,
        *,
        rng: np.random.Generator | None = None,
        source: Source = "both",
        skip: int = 0,
    ) -> Iterator[Batch]:
        return map(self.get_batch, self._windows.batches(size, rng, source, skip))

    def with_generated(
        self, trajectories: torch.Tensor, *, alpha: float = 1.0, points: NDArray[np.bool_] | None = None
    ) -> Dataset:
        frames = (int(trajectories.shape[2]),) * int(trajectories.shape[0])
        return self._with(
            _generated=self.arrays.place(trajectories.detach()),
            _windows=replace(self._windows, generated=frames, alpha=alpha, points=points),
        )

    def with_rollout_steps(self, rollout_steps: int) -> Dataset:
        windows = replace(self._windows, rollout_steps=rollout_steps).check(self.simulations)
        return self._with(rollout_steps=rollout_steps, _windows=windows)

    def seen_by(self, model: Literal["physical", "synthetic"]) -> Dataset:
        sensors = self.observations.of(model)
        windows = replace(
            self._windows,
            observed=sensors.times and tuple(map(sensors.times, self._windows.real)),
            first_only=self.observations.first_only,
            space=sensors.space,
            # noise is of whole trajectories, which are loaded one after the other
            resident=self._resident if self._files is None or sensors.noise else ALL,
        )
        return self._with(_sensors=sensors, _windows=windows.check(self.simulations))

    def _with(self, **changes: Any) -> Dataset:
        """A new dataset, of this class itself, which differs in these attributes."""
        made = Dataset.__new__(Dataset)
        vars(made).update({**vars(self), **changes})
        return made

    def _streamed(self, indices: Sequence[int]) -> list[Window]:
        """These windows, the real ones of them read together."""
        places = [self._windows.locate(i) for i in indices]
        real = [place for place in places if place[0] < len(self.simulations)]
        read = iter(self._read(*zip(*real, strict=True)) if real else ())
        return [
            Window(*_parted(next(read))) if trajectory < len(self.simulations) else self[index]
            for index, (trajectory, _) in zip(indices, places, strict=True)
        ]

    def _read(self, trajectories: Sequence[int], starts: Sequence[int]) -> torch.Tensor:
        """Windows (window, field, time, *space) of real trajectories, from files."""
        assert self._files is not None
        simulations = [self.simulations[t] for t in trajectories]
        return self.arrays.trajectory(self._files.windows(simulations, starts, self.rollout_steps))

    def _trajectory(self, number: int) -> torch.Tensor:
        if number >= len(self.simulations):
            assert self._generated is not None
            return self._generated[number - len(self.simulations)]
        simulation = self.simulations[number]
        noisy = self._sensors.noise
        frames = self._disturbed(simulation, self._sensors) if noisy else self.manager.load(simulation)
        return frames[0]


def _parted(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The initial state and the targets of a window (field, time, *space)."""
    return frames[:, 0], frames[:, 1:]


def _disturbed(manager: DataManager, seed: int, simulation: int, sensors: Sensors) -> torch.Tensor:
    """One trajectory, as a batch of one, with the noise of these sensors."""
    clean = manager.arrays.numpy(manager.load(simulation))[0]
    noisy = sensors.disturbed(clean, manager.layout, seed, simulation)
    return manager.arrays.trajectory(noisy[np.newaxis])
