"""The epoch loop of a surrogate: batches in, one record per epoch out; the same for both modes.

A mode brings its `Learner`: one update, one loss, the learning rate, and its state as numpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import CheckpointError
from hyco.interfaces import (
    Batch,
    Dataset,
    EarlyStopping,
    History,
    LossWeights,
    Observer,
    Record,
    TrainingState,
)
from hyco.learning.checkpoints import check_entries, prefixed, under
from hyco.learning.clocks import timing
from hyco.learning.divergence import check_losses, check_weights
from hyco.learning.learner import Learner
from hyco.learning.phases import Phase, Progress
from hyco.learning.schedules import Schedule
from hyco.learning.weighting import observed_count, yardstick
from hyco.problem.sampling import stream, with_noise


def ignore(*_: object) -> None:
    """The observer that observes nothing."""


class EpochLoop:
    """Trains epoch by epoch, keeps the best weights, and can stop and go on after any update.

    Without validation the training loss decides what is best; it begins anew then with every length of
    windows, and where the weights change or the first generated windows come, since such losses cannot be
    compared.

    Args:
        learner: the mode's part.
        schedule: learning rate by epoch, counted over the whole run.
        batch_size: windows per update.
        seed: of the order of windows; every epoch has its own stream.
        observe: called with every record, after the loop's own state is complete.
        input_noise: size of the noise on the initial states of updates, in root mean squares of each
            dynamic component (`with_noise`); 0 is none.  Every update has its own stream.
        early_stopping: when a phase, which is one call of `fit`, ends before its time; None: never.
        curriculum: frames of the windows to train on by epoch, counted likewise; None: those of the dataset.
        pulse: called after every update, when the loop's state is complete; may raise to stop.
    """

    def __init__(
        self,
        learner: Learner,
        schedule: Schedule,
        batch_size: int,
        seed: int,
        observe: Observer = ignore,
        input_noise: float = 0.0,
        *,
        early_stopping: EarlyStopping | None = None,
        curriculum: Callable[[int], int] | None = None,
        pulse: Callable[[], None] = ignore,
    ) -> None:
        self.learner = learner
        self.schedule = schedule
        self.batch_size = batch_size
        self.seed = seed
        self.observe = observe
        self.input_noise = input_noise
        self.early_stopping = early_stopping
        self.curriculum = curriculum
        self.pulse = pulse
        self.epoch = 0
        self.generated_seen = 0
        self.best_loss = inf
        self.best_weights: dict[str, NDArray[Any]] = {}
        self.measured: list[float] | None = None  # what the best loss is of, if it is a training loss
        self.phase: Phase | None = None
        self.progress = Progress()
        self._data: Dataset | None = None

    def fit(
        self, train: Dataset, validation: Dataset | None, epochs: int, weights: LossWeights | None = None
    ) -> History:
        """Train for `epochs` more epochs, a phase; goes on within the one that a restored state was in.

        Raises RunError when a loss is not finite.
        """
        history = History()
        end = self.epoch + epochs
        if epochs and (self.phase is None or self.phase.end != end):
            self.phase = Phase(end)
        while self.phase is not None and self.epoch < end:
            record = self._epoch(self.phase, train, validation, weights)
            history.records.append(record)
            self.observe(record)
        return history

    def evaluate(self, dataset: Dataset, source: Any = "real") -> float:
        """Mean loss over what is observed of the windows, in order; nan where that is nothing."""
        losses = [
            (self.learner.loss(b), observed_count(b)) for b in dataset.batches(self.batch_size, source=source)
        ]
        return mean_loss(losses) if any(size for _, size in losses) else float("nan")

    def _epoch(
        self, phase: Phase, train: Dataset, validation: Dataset | None, weights: LossWeights | None
    ) -> Record:
        """One epoch, or the rest of one."""
        began = time.perf_counter()
        data, rate = self._windows(train), self.schedule(self.epoch)
        self.learner.set_learning_rate(rate)
        train_loss = self._pass_over(data, self._scaled(weights, phase, data))
        loss = train_loss if validation is None else self.evaluate(validation)
        if validation is None or not isfinite(loss):  # else it is the weights themselves that made it
            self._check_weights(self.learner.weights())
        if validation is None:
            measure = yardstick(data, weights)
            if self.measured not in (None, measure):
                self.best_loss, phase.best = inf, inf
            self.measured = measure
        best = loss < self.best_loss
        if best:
            self.best_loss, self.best_weights = loss, self.learner.weights()
        record: Record = {
            "kind": "epoch",
            "model": "synthetic",
            "epoch": self.epoch + 1,
            "train_loss": train_loss,
            "validation_loss": None if validation is None else loss,
            "learning_rate": rate,
            "rollout_steps": data.rollout_steps,
            "generated_windows": self.progress.generated,
            "best": best,
        }
        if self.progress.norms:
            record["gradient_norm"] = self.progress.mean_norm()
        if phase.interaction_scale is not None:
            record["interaction_scale"] = phase.interaction_scale
        self.epoch, self.generated_seen, self.progress = self.epoch + 1, self.progress.generated, Progress()
        if phase.is_stuck(loss, self.early_stopping) and self.epoch < phase.end:
            record["stopped_early"], self.epoch = phase.end - self.epoch, phase.end
        if self.epoch == phase.end:
            self.phase = None
        return {**record, "timing": timing(began)}

    def _pass_over(self, data: Dataset, weights: LossWeights | None) -> float:
        """Update once on every batch that is left of the epoch; the mean loss of the whole epoch."""
        rng = stream(self.seed, "batches", self.epoch)
        self._data = data
        done = self.progress.batch
        counts = weights is None or weights.interaction > 0.0
        batches = data.batches(self.batch_size, rng=rng, skip=done)
        for number, batch in enumerate(batches, done):
            disturbed = self._disturbed(batch, number)
            # plain updates are called as ever, also by those that watch them
            loss = self.learner.update(disturbed, *(() if weights is None else (weights,)))
            self.progress.add(loss, batch, self.learner.gradient_norm, seen=counts)
            self.pulse()
        self._check_losses()
        return mean_loss(zip(self.progress.losses(), self.progress.sizes, strict=True))

    def _windows(self, train: Dataset) -> Dataset:
        """The dataset, in windows as long as the curriculum wants them in this epoch."""
        length = train.rollout_steps if self.curriculum is None else self.curriculum(self.epoch)
        return train if length == train.rollout_steps else train.with_rollout_steps(length)

    def _scaled(self, weights: LossWeights | None, phase: Phase, data: Dataset) -> LossWeights | None:
        """The weights of this phase; None where every window counts 1.

        proportional:  interaction <- interaction L_real / L_gen, the mean losses as the phase began
        """
        if weights is not None and weights.proportional:
            if phase.interaction_scale is None:
                phase.interaction_scale = self._interaction_scale(data)
            scaled = weights.interaction * phase.interaction_scale
            weights = replace(weights, interaction=scaled, proportional=False)
        return None if weights == LossWeights() else weights

    def _interaction_scale(self, data: Dataset) -> float:
        if not data.generated:
            return 1.0
        real, generated = (self.evaluate(data, source) for source in ("real", "generated"))
        both = isfinite(real) and isfinite(generated) and real > 0.0 and generated > 0.0
        return real / generated if both and isfinite(real / generated) else 1.0

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
        """Weights, best weights, moments; how far the run, the phase and the epoch are, and the best loss.

        Raises RunError, within an epoch, when its losses or the weights are not finite any more: such a state
        is nothing to go on from.
        """
        weights = self.learner.weights()
        if self.progress.batch:
            self._check_losses()
            self._check_weights(weights)
        arrays = {
            **prefixed("weights", weights),
            **prefixed("best", self.best_weights),
            **prefixed("moments", self.learner.moments()),
        }
        facts = {
            "epoch": self.epoch,
            "best_loss": self.best_loss,
            "optimizer": self.learner.optimizer.name,
            "loss_scale": self.learner.loss_scale(),
            "generated_seen": self.generated_seen,
            "measured": self.measured,
            "phase": None if self.phase is None else self.phase.facts(),
            **self.progress.facts(),
        }
        return TrainingState(arrays, facts)

    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises CheckpointError when it does not fit."""
        weights, best = under("weights", state.arrays), under("best", state.arrays)
        check_entries("training state", self.learner.weights(), weights)
        if best:
            check_entries("training state, best weights", self.learner.weights(), best)
        facts = state.facts
        try:
            epoch, best_loss = int(facts["epoch"]), float(facts["best_loss"])
            generated, scale = int(facts.get("generated_seen", 0)), dict(facts.get("loss_scale") or {})
            phase, progress = Phase.of(facts.get("phase")), Progress.of(facts)
            measured = facts.get("measured")
            measured = None if measured is None else [float(value) for value in measured]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"training state: epoch, best_loss or what belongs to them is missing or no number: {error}"
            ) from error
        self._check_optimizer(str(facts.get("optimizer", "adam")))  # files before there was a choice
        self.learner.assign(weights)
        self.learner.put_moments(under("moments", state.arrays))
        self.learner.put_loss_scale(scale)
        self.epoch, self.best_loss, self.best_weights = epoch, best_loss, best
        self.generated_seen, self.measured = generated, measured
        self.phase, self.progress, self._data = phase, progress, None

    def _check_optimizer(self, found: str) -> None:
        expected = self.learner.optimizer.name
        if found != expected:
            raise CheckpointError(
                f"training state: its moments are of the optimiser {found}, this training uses {expected}. "
                f"Set trainer.synthetic.optimizer to {found}, or start anew."
            )

    def _check_losses(self) -> None:
        """Raise RunError for the first loss of the epoch that is not finite."""

        def batch(number: int) -> Batch | None:
            if self._data is None:
                return None
            rng = stream(self.seed, "batches", self.epoch)
            return next(iter(self._data.batches(self.batch_size, rng=rng, skip=number)), None)

        check_losses(self.learner, self.progress.losses(), self.epoch, self.schedule(self.epoch), batch)

    def _check_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Raise RunError when the last update broke the weights."""
        check_weights(self.learner, weights, self.progress, self.epoch, self.schedule(self.epoch))


def mean_loss(losses: Any) -> float:
    """Mean of (loss, size) pairs, weighted by size; every window counts the same."""
    pairs = [(float(loss), size) for loss, size in losses]
    return float(np.dot([v for v, _ in pairs], [s for _, s in pairs]) / sum(s for _, s in pairs))
