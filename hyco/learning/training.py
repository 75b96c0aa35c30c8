"""The epoch loop of a surrogate: batches in, one record per epoch out; the same for both modes.

A mode brings `Learner`: one update, one loss, the learning rate, and its state as numpy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from math import inf, isfinite
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyco.errors import CheckpointError, RunError
from hyco.interfaces import Batch, Dataset, History, Observer, Record, SyntheticModel, TrainingState
from hyco.learning.checkpoints import check_entries, prefixed, under
from hyco.learning.clocks import timing
from hyco.learning.schedules import Schedule
from hyco.problem.sampling import stream, with_noise


class Learner(Protocol):
    """What a mode's synthetic trainer can do; losses stay native until the epoch ends."""

    model: SyntheticModel

    def update(self, batch: Batch) -> Any:
        """One optimiser step; the loss before it."""

    def loss(self, batch: Batch) -> Any:
        """The loss of a batch, without gradients, in evaluation mode."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """The step size of the next updates."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """The network's state by name."""

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force."""

    def moments(self) -> dict[str, NDArray[Any]]:
        """The optimiser's state by name."""

    def put_moments(self, moments: Mapping[str, NDArray[Any]]) -> None:
        """Put the optimiser's state in force."""


def ignore(record: Record) -> None:
    """The observer that observes nothing."""


class EpochLoop:
    """Trains epoch by epoch, keeps the best weights, and can stop and go on at any epoch's end.

    Args:
        learner: the mode's part.
        schedule: learning rate by epoch, counted over the whole run.
        batch_size: windows per update.
        seed: of the order of windows; every epoch has its own stream.
        observe: called with every record, after the loop's own state is complete.
        input_noise: size of the noise on the initial states of updates, in root mean squares of each
            dynamic component (`with_noise`); 0 is none.  Every update has its own stream.
    """

    def __init__(
        self,
        learner: Learner,
        schedule: Schedule,
        batch_size: int,
        seed: int,
        observe: Observer = ignore,
        input_noise: float = 0.0,
    ) -> None:
        self.learner = learner
        self.schedule = schedule
        self.batch_size = batch_size
        self.seed = seed
        self.observe = observe
        self.input_noise = input_noise
        self.epoch = 0
        self.best_loss = inf
        self.best_weights: dict[str, NDArray[Any]] = {}

    def fit(self, train: Dataset, validation: Dataset | None, epochs: int) -> History:
        """Train for `epochs` more epochs; raises RunError when a loss is not finite."""
        history = History()
        for _ in range(epochs):
            began = time.perf_counter()
            rate = self.schedule(self.epoch)
            self.learner.set_learning_rate(rate)
            train_loss, generated = self._pass_over(train)
            loss = train_loss if validation is None else self.evaluate(validation)
            best = loss < self.best_loss
            if best:
                self.best_loss, self.best_weights = loss, self.learner.weights()
            self.epoch += 1
            record: Record = {
                "kind": "epoch",
                "model": "synthetic",
                "epoch": self.epoch,
                "train_loss": train_loss,
                "validation_loss": None if validation is None else loss,
                "learning_rate": rate,
                "generated_windows": generated,
                "best": best,
                "timing": timing(began),
            }
            history.records.append(record)
            self.observe(record)
        return history

    def evaluate(self, dataset: Dataset) -> float:
        """Mean loss over the real windows, in order."""
        return mean_loss(
            (self.learner.loss(b), b.size) for b in dataset.batches(self.batch_size, source="real")
        )

    def _pass_over(self, train: Dataset) -> tuple[float, int]:
        rng = stream(self.seed, "batches", self.epoch)
        losses, generated = [], 0
        for number, batch in enumerate(train.batches(self.batch_size, rng=rng)):
            losses.append((self.learner.update(self._disturbed(batch, number)), batch.size))
            generated += batch.generated
        values = [float(loss) for loss, _ in losses]  # one synchronisation per epoch, not per batch
        for number, value in enumerate(values):
            if not isfinite(value):
                raise RunError(
                    f"synthetic training: the loss of batch {number} in epoch {self.epoch + 1} is {value}. "
                    "Lower trainer.synthetic.learning_rate or trainer.rollout_steps; "
                    "the checkpoints of the last complete epoch are untouched."
                )
        return mean_loss(losses), generated

    def _disturbed(self, batch: Batch, number: int) -> Batch:
        """The batch of an update with noise on its initial states; its targets stay as they are."""
        if self.input_noise == 0.0:
            return batch
        arrays, layout = self.learner.model.arrays, self.learner.model.layout
        noisy = with_noise(
            arrays.numpy(batch.initial),
            layout.indices(layout.dynamic),
            self.input_noise,
            stream(self.seed, "noise", self.epoch, number),
        )
        return replace(batch, initial=arrays.state(noisy))

    def use_best(self) -> None:
        """Put the best weights so far in force; none, when nothing was trained."""
        if self.best_weights:
            self.learner.assign(self.best_weights)

    def state(self) -> TrainingState:
        """Weights, best weights, moments; epoch and best loss."""
        arrays = {
            **prefixed("weights", self.learner.weights()),
            **prefixed("best", self.best_weights),
            **prefixed("moments", self.learner.moments()),
        }
        return TrainingState(arrays, {"epoch": self.epoch, "best_loss": self.best_loss})

    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises CheckpointError when it does not fit."""
        weights, best = under("weights", state.arrays), under("best", state.arrays)
        check_entries("training state", self.learner.weights(), weights)
        if best:
            check_entries("training state, best weights", self.learner.weights(), best)
        try:
            epoch, best_loss = int(state.facts["epoch"]), float(state.facts["best_loss"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"training state: epoch or best_loss is missing or no number: {error}"
            ) from error
        self.learner.assign(weights)
        self.learner.put_moments(under("moments", state.arrays))
        self.epoch, self.best_loss, self.best_weights = epoch, best_loss, best


def mean_loss(losses: Any) -> float:
    """Mean of (loss, size) pairs, weighted by size; every window counts the same."""
    pairs = [(float(loss), size) for loss, size in losses]
    return float(np.dot([v for v, _ in pairs], [s for _, s in pairs]) / sum(s for _, s in pairs))
