"""The loop of physical fits: one solve per epoch, from where the last one ended; the same for both modes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyco.errors import CheckpointError
from hyco.interfaces import Batch, Dataset, History, Observer, PhysicalModel, Record, Solve, TrainingState
from hyco.learning.checkpoints import check_entries, prefixed, under
from hyco.learning.clocks import timing
from hyco.learning.inverse import Solution, Values, solve_inverse_problem
from hyco.learning.regularisers import squared_gradient
from hyco.learning.training import ignore, mean_loss


class Fitter(Protocol):
    """What a mode's physical trainer can do."""

    def loss_and_gradients(self, batch: Batch, values: Values) -> tuple[float, Values]:
        """Mean loss of a batch, and its gradients by the learnable parameters, in float64."""

    def loss(self, batch: Batch) -> Any:
        """The loss of a batch with the parameters in force, without gradients."""


class FitLoop:
    """Solves the inverse problem again and again, on all windows at once.

    Args:
        fitter: the mode's part.
        model: whose parameters are learned.
        bounds: learnable parameter -> (least, greatest) value.
        solve: when a solve stops.
        batch_size: windows that are rolled out together.
        window_stride: every how many-th real window takes part; generated ones all do.
        interaction_weight: what a generated window counts, where a real one counts 1.
        smoothness: weight of the mean squared gradient of field parameters beside the loss, in units of
            loss * (length / parameter)^2.
        observe: called with every record.
        progress: called with (iteration, loss) during a solve.
    """

    def __init__(
        self,
        fitter: Fitter,
        model: PhysicalModel,
        bounds: Mapping[str, tuple[float, float]],
        *,
        solve: Solve,
        batch_size: int,
        window_stride: int = 1,
        interaction_weight: float = 1.0,
        smoothness: float = 0.0,
        observe: Observer = ignore,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        self.fitter = fitter
        self.model = model
        self.bounds = dict(bounds)
        self.solve = solve
        self.batch_size = batch_size
        self.window_stride = window_stride
        self.interaction_weight = interaction_weight
        self.smoothness = smoothness
        self.observe = observe
        self.progress = progress
        self.epoch = 0
        self.best_loss = inf
        self.values = self._in_force()
        self.best_values: dict[str, NDArray[np.float64]] = {}

    def fit(self, train: Dataset, validation: Dataset | None, epochs: int) -> History:
        """Solve `epochs` more times; a diverged solve leaves the last good parameters in force."""
        history = History()
        batches = list(self._batches(train)) if epochs else []
        for _ in range(epochs):
            began = time.perf_counter()
            before = self._regularisation(self.values)[0]
            solution = solve_inverse_problem(
                lambda values: self._objective(batches, values),
                self.values,
                self.bounds,
                self.solve,
                self.progress,
            )
            self._put(solution.values)
            after = self._regularisation(self.values)[0]
            loss = solution.loss - after if validation is None else self.evaluate(validation)
            best = loss < self.best_loss
            if best:
                self.best_loss, self.best_values = loss, self.values
            self.epoch += 1
            record = self._record(solution, batches, best, None if validation is None else loss, began)
            record["initial_loss"] -= before
            record["train_loss"] -= after
            record["regularisation"] = after
            history.records.append(record)
            self.observe(record)
        return history

    def evaluate(self, dataset: Dataset) -> float:
        """Mean loss over the real windows, in order."""
        return mean_loss(
            (self.fitter.loss(b), b.size) for b in dataset.batches(self.batch_size, source="real")
        )

    def use_best(self) -> None:
        """Put the best parameters so far in force; none, when nothing was fitted."""
        if self.best_values:
            self._put(self.best_values)

    def state(self) -> TrainingState:
        """Parameters and best parameters in float64; epoch and best loss."""
        arrays = {**prefixed("parameters", self.values), **prefixed("best", self.best_values)}
        return TrainingState(arrays, {"epoch": self.epoch, "best_loss": self.best_loss})

    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises CheckpointError when it does not fit."""
        values, best = under("parameters", state.arrays), under("best", state.arrays)
        check_entries("training state", self.values, values)
        if best:
            check_entries("training state, best parameters", self.values, best)
        try:
            epoch, best_loss = int(state.facts["epoch"]), float(state.facts["best_loss"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"training state: epoch or best_loss is missing or no number: {error}"
            ) from error
        # in the order of the bounds, not of the file: sums over all parameters round by it
        self._put({name: values[name] for name in self.bounds})
        self.best_values = {name: best[name] for name in self.bounds} if best else {}
        self.epoch, self.best_loss = epoch, best_loss

    def _batches(self, train: Dataset) -> Sequence[Batch]:
        real = len(train) - train.generated
        kinds = range(0, real, self.window_stride), range(real, len(train))
        return [
            train.get_batch(list(kind[i : i + self.batch_size]))
            for kind in kinds  # apart, since they have different weights
            for i in range(0, len(kind), self.batch_size)
        ]

    def _objective(self, batches: Sequence[Batch], values: Values) -> tuple[float, Values]:
        weights = [b.size * (self.interaction_weight if b.generated else 1.0) for b in batches]
        total, gradients = 0.0, {name: np.zeros(np.shape(v)) for name, v in values.items()}
        for batch, weight in zip(batches, weights, strict=True):
            loss, gradient = self.fitter.loss_and_gradients(batch, values)
            share = weight / sum(weights)
            total += share * loss
            for name in gradients:
                gradients[name] += share * gradient[name]
        penalty, slopes = self._regularisation(values)
        return total + penalty, {name: gradients[name] + slopes[name] for name in gradients}

    def _regularisation(self, values: Values) -> tuple[float, Values]:
        terms = {name: squared_gradient(v, self.model.grid) for name, v in values.items()}
        total = self.smoothness * sum(value for value, _ in terms.values())
        return total, {name: self.smoothness * slope for name, (_, slope) in terms.items()}

    def _in_force(self) -> dict[str, NDArray[np.float64]]:
        return {
            name: np.asarray(self.model.arrays.numpy(self.model.parameters[name]), dtype=np.float64)
            for name in self.bounds
        }

    def _put(self, values: Values) -> None:
        self.values = {name: np.array(v, dtype=np.float64) for name, v in values.items()}
        self.model.assign(self.values)

    def _record(
        self, solution: Solution, batches: Sequence[Batch], best: bool, validation: float | None, began: float
    ) -> Record:
        return {
            "kind": "epoch",
            "model": "physical",
            "epoch": self.epoch,
            "initial_loss": solution.initial_loss,
            "train_loss": solution.loss,
            "validation_loss": validation,
            "iterations": solution.iterations,
            "evaluations": solution.evaluations,
            "non_finite_evaluations": solution.non_finite,
            "status": solution.status,
            "message": solution.message,
            "windows": sum(b.size for b in batches),
            "generated_windows": sum(b.generated for b in batches),
            "best": best,
            "parameters": {
                name: {"mean": float(v.mean()), "min": float(v.min()), "max": float(v.max())}
                for name, v in self.values.items()
            },
            "timing": timing(began),
        }
