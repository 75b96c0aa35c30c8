"""Windows of trajectories in phiml mode: named tensors, cut out of a block by one gather per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain, pairwise, takewhile, tee
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from phiml.math import Shape, Tensor
from phiml.math._tensors import Dense

from hyco import interfaces
from hyco.interfaces import Batch, DataManager, Source, Window
from hyco.migration.registry import register
from hyco.phiml.block import Block, Buffers, Run, joined, windows
from hyco.phiml.checkpoints import SUFFIX
from hyco.phiml.data_manager import DataManager as BlockManager
from hyco.phiml.tensors import NativeArrays
from hyco.problem.observations import EVERYTHING, Observations, Sensors
from hyco.problem.windows import ALL, Windows
from hyco.storage.memory import TrajectoryMemory
from hyco.storage.sources import WindowsAhead
from hyco.storage.sources.ahead import Request


@register("dataset", "default", "phiml")
class Dataset(interfaces.Dataset):
    """Windows of the given simulations, read through a phiml DataManager when they are asked for.

    A window's tensors have the dims `field`, the axes and, for targets, `time`; a batch's have `batch` too.
    They are not to be written to: windows that begin at equal distances, as those of a pass in order do, are
    views of what is held; others, such as those of a shuffled pass, are new.  Trajectories that do not fit
    into memory together are read in a thread before a pass comes to them; of those of a source, only the
    windows of one batch are, from its files.

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
        self.arrays = cast(NativeArrays, manager.arrays).held
        self._library = self.arrays.compute.library
        self._generated: Block | None = None
        self._sensors = EVERYTHING
        frames = tuple(manager.frames(s) for s in self.simulations)
        resident = manager.resident(self.simulations)
        self._resident = resident
        # an order that goes through all trajectories at once costs nothing where none is held
        files = manager.streamed(self.simulations)
        self._files = None if files is None else WindowsAhead(files)
        order = resident if files is None else ALL
        self._windows = Windows(frames, rollout_steps, resident=order).check(self.simulations)
        self._fits = files is None and len(self.simulations) <= resident
        # kept apart from what the manager holds, and shared by all datasets that are made from this one
        self._disturb = partial(_disturbed, manager, self.observations.seed)
        self._noisy: TrajectoryMemory[Tensor] = TrajectoryMemory(resident)  # that many, each counts one
        blocks = partial(_disturbed_block, self.arrays, self._disturb, self.simulations, frames)
        self._disturbed_block = lru_cache(max(1, resident // len(frames)))(blocks)
        self._buffers = Buffers()
        self._shapes: dict[tuple[int, ...], Shape] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Window:
        batch = self.get_batch([index])
        return Window(batch.initial.batch[0], batch.targets.batch[0])

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
        trajectories, starts = self._windows.positions(indices)
        blocks = self._block_numbers(trajectories)
        cuts = [0, *(np.flatnonzero(blocks[1:] != blocks[:-1]) + 1).tolist(), len(blocks)]
        runs = []
        for begin, end in pairwise(cuts):
            first = int(blocks[begin])
            if self._by_window and first < len(self.simulations):
                runs.append(self._read(trajectories[begin:end], starts[begin:end]))
            else:
                runs.append((self._block(first), trajectories[begin:end] - first, starts[begin:end]))
        initial, targets = map(self._wrap, windows(runs, self.rollout_steps, self._buffers))
        generated = int(np.count_nonzero(trajectories >= len(self.simulations)))
        observed = self._windows.observed_targets(indices, self.grid.resolution)
        return Batch(initial, targets, len(starts), generated, observed)

    def batches(
        self,
        size: int,
        *,
        rng: np.random.Generator | None = None,
        source: Source = "both",
        skip: int = 0,
    ) -> Iterator[Batch]:
        order = self._windows.batches(size, rng, source, skip)
        if self._by_window:
            return self._streamed(order)
        if self._fits or not isinstance(self.manager, BlockManager):
            return map(self.get_batch, order)
        return self._reading_ahead(self.manager, order)

    def with_generated(
        self, trajectories: Tensor, *, alpha: float = 1.0, points: NDArray[np.bool_] | None = None
    ) -> Dataset:
        frames = (trajectories.shape.get_size("time"),) * trajectories.shape.get_size("batch")
        return self._with(
            _generated=self._stacked(self.arrays.place(self.arrays.compute.detached(trajectories))),
            _windows=replace(self._windows, generated=frames, alpha=alpha, points=points),
        )

    def with_rollout_steps(self, rollout_steps: int) -> Dataset:
        cut = replace(self._windows, rollout_steps=rollout_steps).check(self.simulations)
        return self._with(rollout_steps=rollout_steps, _windows=cut)

    def seen_by(self, model: Literal["physical", "synthetic"]) -> Dataset:
        sensors = self.observations.of(model)
        seen = replace(
            self._windows,
            observed=sensors.times and tuple(map(sensors.times, self._windows.real)),
            first_only=self.observations.first_only,
            space=sensors.space,
            # noise is of whole trajectories, which are loaded one after the other
            resident=self._resident if self._files is None or sensors.noise else ALL,
        )
        return self._with(_sensors=sensors, _windows=seen.check(self.simulations))

    def _with(self, **changes: Any) -> Dataset:
        """A new dataset, of this class itself, which differs in these attributes."""
        made = Dataset.__new__(Dataset)
        vars(made).update({**vars(self), **changes})
        return made

    def _reading_ahead(self, manager: BlockManager, order: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """The batches of a pass; what comes next is read while they are used."""
        batches = list(order)
        real = len(self.simulations)
        seen = [dict.fromkeys(self._windows.positions(indices)[0].tolist()) for indices in batches]
        needed = [[self.simulations[t] for t in trajectories if t < real] for trajectories in seen]
        if self._sensors.noise:
            needed = self._before_noise(needed)
        last = {simulation: number for number, some in enumerate(needed) for simulation in some}
        with manager.reading_ahead(list(chain.from_iterable(needed))) as reader:
            for number, indices in enumerate(batches):
                batch = self.get_batch(indices)
                reader.finish(s for s in needed[number] if last[s] == number)
                yield batch

    def _before_noise(self, needed: Sequence[Sequence[int]]) -> list[list[int]]:
        """Which clean trajectories every batch needs: each once, when its noisy one is made.

        Noisy ones that are held count until the first that is not, since that one may replace any of them.
        """
        first = {s: number for number, some in reversed(list(enumerate(needed))) for s in some}
        order = dict.fromkeys(chain.from_iterable(needed))
        held = set(takewhile(lambda s: (s, self._sensors) in self._noisy, order))
        return [[s for s in some if first[s] == n and s not in held] for n, some in enumerate(needed)]

    def _block_numbers(self, trajectories: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first trajectory of the block that has each of these: all real ones, or one; all generated."""
        real = len(self.simulations)
        return np.where(trajectories < real, 0 if self._joins or self._by_window else trajectories, real)

    def _streamed(self, order: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """The batches of a pass; the windows of the next one are read while one is used."""
        assert self._files is not None
        batches, requests = tee(order)
        with closing(self._files.along(map(self._request, requests))) as ahead:
            for indices, _ in zip(batches, ahead, strict=False):
                yield self.get_batch(indices)

    def _request(self, indices: Sequence[int]) -> Request | None:
        """What a batch, real windows first, needs of files."""
        trajectories, starts = self._windows.positions(indices)
        real = trajectories < len(self.simulations)
        return self._wanted(trajectories[real], starts[real]) if real.any() else None

    def _wanted(self, trajectories: NDArray[np.int64], starts: NDArray[np.int64]) -> Request:
        return [self.simulations[t] for t in trajectories.tolist()], starts.tolist(), self.rollout_steps

    def _read(self, trajectories: NDArray[np.int64], starts: NDArray[np.int64]) -> Run:
        """Windows of real trajectories, each of them one that is as long as a window."""
        assert self._files is not None
        frames = self._files.windows(*self._wanted(trajectories, starts))
        index = np.arange(len(frames))
        return self._stacked(self.arrays.trajectory(frames)), index, np.zeros_like(index)

    @property
    def _joins(self) -> bool:
        """Whether all real trajectories are one block."""
        return self._fits and (self._sensors.noise > 0 or isinstance(self.manager, BlockManager))

    def _block(self, first: int) -> Block:
        """The block that begins with this trajectory."""
        if first == len(self.simulations):
            assert self._generated is not None
            return self._generated
        noisy = self._sensors.noise > 0
        if self._joins and noisy:
            return self._disturbed_block(self._sensors)
        if self._joins:
            return cast(BlockManager, self.manager).block(self.simulations)
        simulation = self.simulations[first]
        return self._stacked(self._with_noise(simulation) if noisy else self.manager.load(simulation))

    def _with_noise(self, simulation: int) -> Tensor:
        """One trajectory, as a batch of one, with the noise of the sensors."""
        sensors = self._sensors
        return self._noisy.get((simulation, sensors), lambda: (self._disturb(simulation, sensors), 1))

    def _stacked(self, trajectories: Tensor) -> Block:
        return Block.stacked(
            self.arrays.native(self.arrays.place(trajectories), "batch", "field", "time", *self.layout.axes)
        )

    def _wrap(self, native: Any) -> Tensor:
        """The named tensor of initial states, or of targets."""
        sizes = tuple(native.shape)
        if sizes not in self._shapes:
            time = ("time",) * (len(sizes) - 2 - len(self.layout.axes))
            self._shapes[sizes] = self.arrays.wrap(native, "batch", "field", *time, *self.layout.axes).shape
        shape = self._shapes[sizes]
        return Dense(native, shape.names, shape, self._library)  # what `wrap` makes, without its checks


def _disturbed(manager: DataManager, seed: int, simulation: int, sensors: Sensors) -> Tensor:
    """One trajectory, as a batch of one, with the noise of these sensors."""
    clean = manager.arrays.numpy(manager.load(simulation))[0]
    noisy = sensors.disturbed(clean, manager.layout, seed, simulation)
    return manager.arrays.trajectory(noisy[np.newaxis])


def _disturbed_block(
    arrays: NativeArrays,
    disturbed: Callable[[int, Sensors], Tensor],
    simulations: Sequence[int],
    frames: Sequence[int],
    sensors: Sensors,
) -> Block:
    """All trajectories with the noise of these sensors."""
    return joined(arrays, (disturbed(s, sensors) for s in simulations), frames)
