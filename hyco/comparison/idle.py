"""Trainers that train nothing, to see what a hybrid trainer gives to the ones it leads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco import interfaces
from hyco.interfaces import Dataset, History, LossWeights, Side, TrainingState


class _Idle:
    """Counts epochs, and keeps the generated windows (batch, field, time, *space) of what it is given."""

    generated_seen = 0

    def __init__(self, model: Any, mode: Side) -> None:
        self.model = model
        self.mode = mode
        self.suffix = model.suffix
        self.seen: list[NDArray[Any]] = []
        self._epochs = 0

    def fit(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        epochs: int,
        weights: LossWeights | None = None,
    ) -> History:
        """Look at what is to be learned."""
        self._epochs += epochs
        self.generated_seen = train.generated
        if train.generated:
            batch = train.get_batch(range(len(train) - train.generated, len(train)))
            initial, targets = train.arrays.numpy(batch.initial), train.arrays.numpy(batch.targets)
            self.seen.append(np.concatenate([initial[:, :, np.newaxis], targets], axis=2))
        return History()

    def evaluate(self, dataset: Dataset) -> float:
        """Nothing was learned, so there is nothing to judge."""
        return 0.0

    @property
    def epochs_done(self) -> int:
        """Epochs that were asked for."""
        return self._epochs

    def use_best(self) -> None:
        """Nothing."""

    def state(self) -> TrainingState:
        """Nothing."""
        return TrainingState({}, {})

    def restore(self, state: TrainingState) -> None:
        """Nothing."""

    def save(self, path: Path) -> None:
        """Nothing."""

    def load(self, path: Path) -> None:
        """Nothing."""


class IdleSynthetic(_Idle, interfaces.SyntheticTrainer):
    """In the place of a surrogate's trainer."""


class IdlePhysical(_Idle, interfaces.PhysicalTrainer):
    """In the place of a physical model's trainer."""
