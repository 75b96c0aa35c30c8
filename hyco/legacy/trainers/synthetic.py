"""The surrogate's trainer in legacy mode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from hyco import interfaces
from hyco.interfaces import Batch, Dataset, History, Observer, SyntheticModel, TrainingState
from hyco.learning.descriptions import check_surrogate
from hyco.learning.schedules import learning_rate_schedule
from hyco.learning.training import EpochLoop, ignore
from hyco.legacy.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.legacy.losses import rollout_loss
from hyco.legacy.optimisers import adam, moments, put_moments, set_learning_rate
from hyco.migration.registry import register

KIND = "synthetic training state"


@register("synthetic_trainer", "default", "legacy")
class SyntheticTrainer(interfaces.SyntheticTrainer):
    """Rolls the surrogate out over each window and descends the mean squared error with Adam.

    Args:
        model: a legacy surrogate.
        batch_size: windows per update.
        total_epochs: of the whole run, over which the schedule extends.
        learning_rate, scheduler, weight_decay: see `hyco.learning.schedules`; decay is L2, inside Adam.
        input_noise: on the initial states of updates, see `hyco.learning.training.EpochLoop`.
        seed: of the order of windows, and of the noise.
        observe: called with the record of every epoch.
    """

    mode = "legacy"
    suffix = SUFFIX

    def __init__(
        self,
        model: SyntheticModel,
        *,
        batch_size: int = 16,
        total_epochs: int = 1,
        learning_rate: float = 1e-3,
        scheduler: Literal["cosine", "constant"] = "cosine",
        weight_decay: float = 0.0,
        input_noise: float = 0.0,
        seed: int = 0,
        observe: Observer = ignore,
    ) -> None:
        self.model = model
        self._optimiser = adam(model.network, learning_rate, weight_decay)
        schedule = learning_rate_schedule(scheduler, learning_rate, total_epochs)
        self._loop = EpochLoop(self, schedule, batch_size, seed, observe, input_noise)

    def fit(self, train: Dataset, validation: Dataset | None = None, *, epochs: int) -> History:
        return self._loop.fit(train, validation, epochs)

    def evaluate(self, dataset: Dataset) -> float:
        return self._loop.evaluate(dataset)

    @property
    def epochs_done(self) -> int:
        return self._loop.epoch

    def use_best(self) -> None:
        self._loop.use_best()

    def state(self) -> TrainingState:
        return self._loop.state()

    def restore(self, state: TrainingState) -> None:
        self._loop.restore(state)

    def save(self, path: Path) -> None:
        state = self.state()
        write_checkpoint(path, KIND, state.arrays, {**state.facts, "model": self.model.description})

    def load(self, path: Path) -> None:
        arrays, facts = read_checkpoint(path, KIND)
        check_surrogate(path, self.model.description, facts)
        self.restore(TrainingState(arrays, facts))

    def update(self, batch: Batch) -> torch.Tensor:
        """One Adam step; the loss before it, still on the device."""
        self.model.training(True)
        self._optimiser.zero_grad()
        loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.detach()

    @torch.no_grad()
    def loss(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch in evaluation mode."""
        self.model.training(False)
        return self._loss(batch)

    def set_learning_rate(self, learning_rate: float) -> None:
        """The step size of the next updates."""
        set_learning_rate(self._optimiser, learning_rate)

    def weights(self) -> dict[str, NDArray[Any]]:
        """The network's state by name."""
        return self.model.weights()

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force."""
        self.model.assign(weights)

    def gradients(self) -> dict[str, NDArray[Any]]:
        """The gradients of the last update's loss, by parameter."""
        named = self.model.network.named_parameters()
        return {name: p.grad.cpu().numpy().copy() for name, p in named if p.grad is not None}

    def moments(self) -> dict[str, NDArray[Any]]:
        """Adam's state by parameter."""
        return moments(self._optimiser)

    def put_moments(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put Adam's state in force."""
        put_moments(self._optimiser, arrays)

    def _loss(self, batch: Batch) -> torch.Tensor:
        arrays = self.model.arrays
        targets = arrays.place(batch.targets)
        rollout = self.model.rollout(arrays.place(batch.initial), targets.shape[2])
        return rollout_loss(rollout, targets, self.model.layout)
