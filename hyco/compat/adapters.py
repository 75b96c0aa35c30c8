"""A component of one mode seen through the interface of the other; this is where the modes meet.

An adapter converts what goes in to the mode of the component inside and what comes out to its own, by
`hyco.compat.tensors`, so that memory is shared and gradients flow.  Adapting an adapter back gives the
component itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from phiml.backend.torch._torch_backend import register_module_call

from hyco import interfaces
from hyco.compat.tensors import to_phiml, to_torch
from hyco.interfaces import Arrays, Batch, History, LossWeights, Side, Source, State, TrainingState, Window
from hyco.problem.fields import FieldLayout

ArraysOf = Callable[[Side], Arrays]


class Border:
    """Converts states, trajectories and parameters of one layout between the modes.

    `arrays` gives the numpy border of a mode, which also knows its device and precision.
    """

    def __init__(self, layout: FieldLayout, arrays: ArraysOf) -> None:
        self.layout = layout
        self.arrays = arrays

    def state(self, tensor: State, side: Side, *, batch: bool = True) -> State:
        """A state as `side` has it: (batch, field, *space)."""
        return self._convert(tensor, side, ("batch",) * batch + ("field", *self.layout.axes))

    def trajectory(self, tensor: State, side: Side, *, batch: bool = True) -> State:
        """A trajectory as `side` has it: (batch, field, time, *space)."""
        return self._convert(tensor, side, ("batch",) * batch + ("field", "time", *self.layout.axes))

    def parameters(self, values: Mapping[str, Any] | None, side: Side) -> dict[str, Any] | None:
        """Parameters as `side` has them: () or (*space)."""
        return None if values is None else {name: self._parameter(v, side) for name, v in values.items()}

    def batch(self, batch: Batch, side: Side) -> Batch:
        """A batch as `side` has it."""
        initial, targets = self.state(batch.initial, side), self.trajectory(batch.targets, side)
        return replace(batch, initial=initial, targets=targets)

    def _parameter(self, value: Any, side: Side) -> Any:
        scalar = (value.ndim if isinstance(value, torch.Tensor) else value.rank) == 0
        return self._convert(value, side, () if scalar else self.layout.axes)

    def _convert(self, tensor: Any, side: Side, dims: tuple[str, ...]) -> Any:
        if isinstance(tensor, torch.Tensor) == (side == "legacy"):
            return tensor
        if side == "legacy":
            return self.arrays(side).place(to_torch(tensor, dims))
        names = {"field": self.layout.components} if "field" in dims else {}
        return self.arrays(side).place(to_phiml(tensor, dims, names=names))


def adapt(component: Any, side: Side, arrays: ArraysOf) -> Any:
    """`component` through the interface of `side`: itself when it is of that mode, else an adapter."""
    if component.mode == side:
        return component
    if isinstance(component, Adapter) and component.inner.mode == side:
        return component.inner
    for interface, adapter in _ADAPTERS.items():
        if isinstance(component, interface):
            return adapter(component, side, arrays)
    raise TypeError(f"no adapter for a {type(component).__name__}")


class Adapter:
    """What all adapters share: the component inside, the side outside, the border between them."""

    inner: Any

    def __init__(self, inner: Any, side: Side, arrays: ArraysOf) -> None:
        self.inner = inner
        self.mode = side
        self.suffix = inner.suffix
        self._arrays = arrays
        self._inside: Side = inner.mode

    def _border(self, layout: FieldLayout) -> None:
        self.layout = layout
        self.arrays = self._arrays(self.mode)
        self.border = Border(layout, self._arrays)


class PhysicalModelAdapter(Adapter, interfaces.PhysicalModel):
    """A physical model of the other mode."""

    def __init__(self, inner: interfaces.PhysicalModel, side: Side, arrays: ArraysOf) -> None:
        super().__init__(inner, side, arrays)
        self._border(inner.layout)
        self.name, self.grid, self.dt = inner.name, inner.grid, inner.dt
        self.description = inner.description

    @property
    def parameters(self) -> dict[str, Any]:
        return self.border.parameters(self.inner.parameters, self.mode) or {}

    def assign(self, values: Mapping[str, NDArray[Any] | float]) -> None:
        self.inner.assign(values)

    def bounds(self, name: str) -> tuple[float, float]:
        return self.inner.bounds(name)

    def initial_state(self, batch: int, *, rng: np.random.Generator) -> State:
        return self.border.state(self.inner.initial_state(batch, rng=rng), self.mode)

    def step(self, state: State, parameters: Mapping[str, Any] | None = None) -> State:
        given = self.border.parameters(parameters, self._inside)
        return self.border.state(self.inner.step(self.border.state(state, self._inside), given), self.mode)

    def rollout(self, state: State, steps: int, parameters: Mapping[str, Any] | None = None) -> State:
        given = self.border.parameters(parameters, self._inside)
        rollout = self.inner.rollout(self.border.state(state, self._inside), steps, given)
        return self.border.trajectory(rollout, self.mode)

    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        return self.inner.predict(initial, steps)

    def save(self, path: Path) -> None:
        self.inner.save(path)

    def load(self, path: Path) -> None:
        self.inner.load(path)


class SyntheticModelAdapter(Adapter, interfaces.SyntheticModel):
    """A surrogate of the other mode; the network inside is the same object, and is trained as such."""

    def __init__(self, inner: interfaces.SyntheticModel, side: Side, arrays: ArraysOf) -> None:
        super().__init__(inner, side, arrays)
        self._border(inner.layout)
        self.name, self.grid, self.network = inner.name, inner.grid, inner.network
        self.description = inner.description

    def __call__(self, state: State) -> State:
        self._announce()
        return self.border.state(self.inner(self.border.state(state, self._inside)), self.mode)

    def rollout(self, state: State, steps: int) -> State:
        self._announce()
        rollout = self.inner.rollout(self.border.state(state, self._inside), steps)
        return self.border.trajectory(rollout, self.mode)

    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        return self.inner.predict(initial, steps)

    def training(self, on: bool) -> None:
        self.inner.training(on)

    def weights(self) -> dict[str, NDArray[Any]]:
        return self.inner.weights()

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.inner.assign(weights)

    def save(self, path: Path) -> None:
        self.inner.save(path)

    def load(self, path: Path) -> None:
        self.inner.load(path)

    def _announce(self) -> None:
        """Tell a PhiML trace of this foreign network, whose weights it must not take for constants."""
        if self._inside == "legacy":
            register_module_call(self.network)


class DataManagerAdapter(Adapter, interfaces.DataManager):
    """A data manager of the other mode."""

    def __init__(self, inner: interfaces.DataManager, side: Side, arrays: ArraysOf) -> None:
        super().__init__(inner, side, arrays)
        self._border(inner.layout)
        self.grid = inner.grid

    def load(self, simulation: int) -> State:
        return self.border.trajectory(self.inner.load(simulation), self.mode)

    def is_cached(self, simulation: int) -> bool:
        return self.inner.is_cached(simulation)

    def prepare(self, simulations: Sequence[int]) -> None:
        self.inner.prepare(simulations)

    def frames(self, simulation: int) -> int:
        return self.inner.frames(simulation)

    def resident(self, simulations: Sequence[int]) -> int:
        return self.inner.resident(simulations)

    def streamed(self, simulations: Sequence[int]) -> interfaces.Windowed | None:
        return self.inner.streamed(simulations)


class DatasetAdapter(Adapter, interfaces.Dataset):
    """A dataset of the other mode."""

    def __init__(self, inner: interfaces.Dataset, side: Side, arrays: ArraysOf) -> None:
        super().__init__(inner, side, arrays)
        self._border(inner.layout)
        self.grid, self.rollout_steps = inner.grid, inner.rollout_steps

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Window:
        initial, targets = self.inner[index]
        return Window(
            self.border.state(initial, self.mode, batch=False),
            self.border.trajectory(targets, self.mode, batch=False),
        )

    @property
    def generated(self) -> int:
        return self.inner.generated

    @property
    def streams(self) -> bool:
        return self.inner.streams

    def get_batch(self, indices: Sequence[int]) -> Batch:
        return self.border.batch(self.inner.get_batch(indices), self.mode)

    def batches(
        self,
        size: int,
        *,
        rng: np.random.Generator | None = None,
        source: Source = "both",
        skip: int = 0,
    ) -> Iterator[Batch]:
        for batch in self.inner.batches(size, rng=rng, source=source, skip=skip):
            yield self.border.batch(batch, self.mode)

    def with_generated(
        self, trajectories: State, *, alpha: float = 1.0, points: NDArray[np.bool_] | None = None
    ) -> interfaces.Dataset:
        inside = self.border.trajectory(trajectories, self._inside)
        return self._around(self.inner.with_generated(inside, alpha=alpha, points=points))

    def with_rollout_steps(self, rollout_steps: int) -> interfaces.Dataset:
        return self._around(self.inner.with_rollout_steps(rollout_steps))

    def seen_by(self, model: Literal["physical", "synthetic"]) -> interfaces.Dataset:
        return self._around(self.inner.seen_by(model))

    def _around(self, inner: interfaces.Dataset) -> interfaces.Dataset:
        return DatasetAdapter(inner, self.mode, self._arrays)


class TrainerAdapter(Adapter):
    """What the adapters of both trainers share: datasets go in, records come out."""

    def __init__(self, inner: Any, side: Side, arrays: ArraysOf) -> None:
        super().__init__(inner, side, arrays)
        self.model = adapt(inner.model, side, arrays)

    def fit(
        self,
        train: interfaces.Dataset,
        validation: interfaces.Dataset | None = None,
        *,
        epochs: int,
        weights: LossWeights | None = None,
    ) -> History:
        judge = None if validation is None else self._inward(validation)
        return self.inner.fit(self._inward(train), judge, epochs=epochs, weights=weights)

    def evaluate(self, dataset: interfaces.Dataset) -> float:
        return self.inner.evaluate(self._inward(dataset))

    @property
    def epochs_done(self) -> int:
        return self.inner.epochs_done

    @property
    def generated_seen(self) -> int:
        return self.inner.generated_seen

    def use_best(self) -> None:
        self.inner.use_best()

    def state(self) -> TrainingState:
        return self.inner.state()

    def restore(self, state: TrainingState) -> None:
        self.inner.restore(state)

    def save(self, path: Path) -> None:
        self.inner.save(path)

    def load(self, path: Path) -> None:
        self.inner.load(path)

    def _inward(self, dataset: interfaces.Dataset) -> interfaces.Dataset:
        return adapt(dataset, self._inside, self._arrays)


class SyntheticTrainerAdapter(TrainerAdapter, interfaces.SyntheticTrainer):
    """A surrogate's trainer of the other mode."""


class PhysicalTrainerAdapter(TrainerAdapter, interfaces.PhysicalTrainer):
    """A physical model's trainer of the other mode."""


_ADAPTERS: dict[type, type[Adapter]] = {
    interfaces.PhysicalModel: PhysicalModelAdapter,
    interfaces.SyntheticModel: SyntheticModelAdapter,
    interfaces.DataManager: DataManagerAdapter,
    interfaces.Dataset: DatasetAdapter,
    interfaces.SyntheticTrainer: SyntheticTrainerAdapter,
    interfaces.PhysicalTrainer: PhysicalTrainerAdapter,
}
