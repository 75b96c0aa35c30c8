"""Windows of trajectories in phiml mode: named tensors, cut out by one gather per batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from phiml.backend import choose_backend
from phiml.math import Tensor

from hyco import interfaces
from hyco.interfaces import Batch, DataManager, Source, Window
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX
from hyco.phiml.tensors import NativeArrays
from hyco.problem.observations import EVERYTHING, Observations, Sensors
from hyco.problem.windows import Windows


@register("dataset", "default", "phiml")
class Dataset(interfaces.Dataset):
    """Windows of the given simulations, read through a phiml DataManager when they are asked for.

    A window's tensors have the dims `field`, the axes and, for targets, `time`; a batch's have `batch` too.
    `observations`: what each model is shown of the simulations (`seen_by`); None: everything.  Raises
    DataError for a simulation shorter than a window, and when a model is shown no window at all.
    """

    mode = "phiml"
    suffix = SUFFIX
    arrays: NativeArrays

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
        self.arrays = cast(NativeArrays, manager.arrays)
        self._generated: Any = None
        self._sensors = EVERYTHING
        frames = tuple(manager.frames(s) for s in self.simulations)
        resident = manager.resident(self.simulations)
        self._windows = Windows(frames, rollout_steps, resident=resident).check(self.simulations)
        # kept apart from what the manager holds, and shared by all datasets that are made from this one
        self._disturbed = lru_cache(resident)(partial(_disturbed, manager, self.observations.seed))

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
        observed = self._windows.observed_targets(indices, self.grid.resolution)
        return Batch(initial, targets, len(pieces), generated, observed)

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
        self, trajectories: Tensor, *, alpha: float = 1.0, points: NDArray[np.bool_] | None = None
    ) -> Dataset:
        frames = (trajectories.shape.get_size("time"),) * trajectories.shape.get_size("batch")
        return self._with(
            _generated=self._native(self.arrays.place(self.arrays.compute.detached(trajectories))),
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
        )
        return self._with(_sensors=sensors, _windows=windows.check(self.simulations))

    def _with(self, **changes: Any) -> Dataset:
        """A new dataset, of this class itself, which differs in these attributes."""
        made = Dataset.__new__(Dataset)
        vars(made).update({**vars(self), **changes})
        return made

    def _trajectory(self, number: int) -> Any:
        """The native frames (field, time, *space) of one trajectory."""
        if number >= len(self.simulations):
            return self._generated[number - len(self.simulations)]
        simulation = self.simulations[number]
        noisy = self._sensors.noise
        frames = self._disturbed(simulation, self._sensors) if noisy else self.manager.load(simulation)
        return self._native(frames)[0]

    def _native(self, trajectories: Tensor) -> Any:
        return self.arrays.native(trajectories, "batch", "field", "time", *self.layout.axes)


def _disturbed(manager: DataManager, seed: int, simulation: int, sensors: Sensors) -> Tensor:
    """One trajectory, as a batch of one, with the noise of these sensors."""
    clean = manager.arrays.numpy(manager.load(simulation))[0]
    noisy = sensors.disturbed(clean, manager.layout, seed, simulation)
    return manager.arrays.trajectory(noisy[np.newaxis])
