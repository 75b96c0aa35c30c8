"""The loop of physical fits: one solve per epoch, from where the last one ended; the same for both modes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import CheckpointError, ConfigError, RunError
from hyco.interfaces import (
    Batch,
    Dataset,
    History,
    LossWeights,
    Observer,
    PhysicalModel,
    Record,
    Solve,
    TrainingState,
)
from hyco.learning.bases import Basis, Unknowns
from hyco.learning.checkpoints import check_entries, prefixed, under
from hyco.learning.clocks import timing
from hyco.learning.inverse import Solution, Values, solve_inverse_problem
from hyco.learning.objective import Fitter, Objective, Penalty, Terms
from hyco.learning.training import ignore, mean_loss
from hyco.learning.weighting import observed_count, yardstick

COEFFICIENTS = "coefficients"


@dataclass(frozen=True)
class Attempts:
    """What the attempts at one solve came to: the last one's solution, and the counts of all together.

    `initial`, `final`: the terms of the objective before, and of what is in force after.
    """

    solution: Solution
    initial: Terms
    final: Terms
    number: int
    iterations: int
    evaluations: int
    non_finite: int


@dataclass(frozen=True)
class _Batches(Sequence[Batch]):
    """Batches of these windows, got anew whenever one is asked for."""

    dataset: Dataset
    numbers: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.dataset.get_batch, self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset.get_batch(self.numbers[index])


class FitLoop:
    """Solves the inverse problem again and again, on all windows at once (`hyco.learning.objective`).

    A solve that diverges is tried again, each time with a tenth of the step; one that diverged all the same
    leaves the last good parameters in force, and too many of them in a row end the run.

    Without validation the loss of the fit decides what is best; it begins anew where the weights change or
    the first generated windows come, since such losses cannot be compared.

    Args:
        fitter: the mode's part.
        model: whose parameters are learned.
        bounds: learnable parameter -> (least, greatest) value.
        solve: how it is done, when a solve stops, what happens when it diverges.
        batch_size: windows that are rolled out together.
        window_stride: every how many-th real window takes part; generated ones all do.
        smoothness: weight of the mean squared gradient of field parameters beside the loss, in units of
            loss * (length / parameter)^2.
        total_variation: weight of their mean absolute gradient, in units of loss * length / parameter.
        bases: learnable parameter -> what is unknown of it; its own values where none is given.
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
        smoothness: float = 0.0,
        total_variation: float = 0.0,
        bases: Mapping[str, Basis] | None = None,
        observe: Observer = ignore,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        self.fitter = fitter
        self.model = model
        self.bounds = dict(bounds)
        self.solve = solve
        self.batch_size = batch_size
        self.window_stride = window_stride
        self.penalty = Penalty(model.grid, smoothness, total_variation)
        self.unknowns = Unknowns(self.bounds, dict(bases or {}))
        self.observe = observe
        self.progress = progress
        self.epoch = 0
        self.failures = 0
        self.generated_seen = 0
        self.best_loss = inf
        self.measured: list[float] | None = None  # what the best loss is of, if it is a training loss
        self.values = self._in_force()
        self.coefficients = self.unknowns.of(self.values)
        self.best_values: dict[str, NDArray[np.float64]] = {}
        self.best_coefficients: dict[str, NDArray[np.float64]] = {}

    def fit(
        self, train: Dataset, validation: Dataset | None, epochs: int, weights: LossWeights | None = None
    ) -> History:
        """Solve `epochs` more times.

        Raises RunError after `solve.max_failures` solves in a row that diverged, with the last good
        parameters in force, and ConfigError when no window takes part.
        """
        history = History()
        batches = self._batches(train) if epochs else []
        for _ in range(epochs):
            began = time.perf_counter()
            objective = Objective(self.fitter, batches, weights or LossWeights(), self.unknowns, self.penalty)
            attempts, judged = self._attempt(objective, validation)
            diverged = attempts.solution.status == "diverged"
            loss = attempts.final.data if judged is None else judged
            if judged is None:
                measure = yardstick(train, weights)
                if self.measured not in (None, measure):
                    self.best_loss = inf
                self.measured = measure
            # what a solve that diverged left in force is the best there is while there is nothing else
            best = loss < self.best_loss and not (diverged and self.best_values)
            if best:
                self.best_loss = loss
                self.best_values, self.best_coefficients = self.values, self.coefficients
            self.epoch += 1
            self.failures = self.failures + 1 if diverged else 0
            self.generated_seen = objective.generated.windows
            record = self._record(attempts, objective, best, judged, began)
            history.records.append(record)
            self.observe(record)
            if self.failures >= self.solve.max_failures:
                raise RunError(self._explanation(attempts.solution))
        return history

    def evaluate(self, dataset: Dataset) -> float:
        """Mean loss over what is observed in the real windows; raises ConfigError where that is nothing."""
        seen = ((b, observed_count(b)) for b in dataset.batches(self.batch_size, source="real"))
        losses = [(self.fitter.loss(b), size) for b, size in seen if size]
        if not losses:
            raise ConfigError(
                "physical model: nothing is observed in the windows that it is to be judged by. Observe more "
                "(observations), or judge by other simulations (trainer.val_sim)."
            )
        return mean_loss(losses)

    def use_best(self) -> None:
        """Put the best parameters so far in force; none, when nothing was fitted."""
        if self.best_values:
            self._put(self.best_values, self.best_coefficients)

    def state(self) -> TrainingState:
        """Parameters and best parameters, coefficients of those that are made of some, and plain facts."""
        arrays = {
            **prefixed("parameters", self.values),
            **prefixed(COEFFICIENTS, self._expanded(self.coefficients)),
            **prefixed("best", self.best_values),
            **prefixed(f"best.{COEFFICIENTS}", self._expanded(self.best_coefficients)),
        }
        facts: dict[str, Any] = {
            "epoch": self.epoch,
            "best_loss": self.best_loss,
            "failures": self.failures,
            "generated_seen": self.generated_seen,
            "bases": self.unknowns.descriptions,
            "measured": self.measured,
        }
        return TrainingState(arrays, facts)

    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises CheckpointError when it does not fit."""
        origin, own = "training state", self.unknowns.descriptions
        found = state.facts.get("bases", {})
        if found != own:
            raise CheckpointError(
                f"{origin}: was learned in the bases {found or 'cells'}, and this trainer has "
                f"{own or 'cells'}. Nothing was loaded; use the configuration it was trained with."
            )
        values, best = under("parameters", state.arrays), under("best", state.arrays)
        coefficients, best_coefficients = under(COEFFICIENTS, state.arrays), under(COEFFICIENTS, best)
        best = {name: a for name, a in best.items() if not name.startswith(f"{COEFFICIENTS}.")}
        expected = self._expanded(self.coefficients)
        check_entries(origin, self.values, values)
        check_entries(f"{origin}, coefficients", expected, coefficients)
        if best:
            check_entries(f"{origin}, best parameters", self.values, best)
            check_entries(f"{origin}, best coefficients", expected, best_coefficients)
        try:
            epoch, best_loss = int(state.facts["epoch"]), float(state.facts["best_loss"])
            failures, seen = (int(state.facts.get(key, 0)) for key in ("failures", "generated_seen"))
            measured = state.facts.get("measured")
            measured = None if measured is None else [float(value) for value in measured]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{origin}: epoch or best_loss is missing or no number: {error}") from error
        # in the order of the bounds, not of the file: sums over all parameters round by it
        values, best = ({n: a[n] for n in self.bounds if n in a} for a in (values, best))
        self._put(values, {**values, **coefficients})
        self.best_values = best
        self.best_coefficients = {**best, **best_coefficients}
        self.epoch, self.best_loss, self.failures, self.generated_seen = epoch, best_loss, failures, seen
        self.measured = measured

    def _attempt(self, objective: Objective, validation: Dataset | None) -> tuple[Attempts, float | None]:
        """Solve, by smaller steps while it diverges, and put the result in force; its validation loss."""
        tried: list[Solution] = []
        initial: Terms | None = None
        while True:
            objective.begin()
            solution = solve_inverse_problem(
                objective,
                self.coefficients,
                self.unknowns.limits,
                self.solve,
                self.progress,
                reach=0.1 ** len(tried),
                scales=self.unknowns.scales(self.coefficients),
                within=self.unknowns.within,
            )
            tried.append(solution)
            initial = initial or objective.terms[0]
            final, judged = objective.terms[solution.best_evaluation], None
            if solution.status != "diverged":
                before = self.values, self.coefficients
                self._put(self.unknowns.fields(solution.values), solution.values)
                judged = None if validation is None else self.evaluate(validation)
                if judged is not None and not isfinite(judged):
                    self._put(*before)
                    why = "the validation loss of the parameters that were found is not finite"
                    solution = replace(solution, status="diverged", message=why)
            # where even the start is not finite, smaller steps from it are of no use
            hopeless = not isfinite(solution.initial_loss)
            if solution.status != "diverged" or hopeless or len(tried) > self.solve.retries:
                break
        if solution.status == "diverged":
            final, judged = initial, None if validation is None else self.evaluate(validation)
        counts = (sum(getattr(s, k) for s in tried) for k in ("iterations", "evaluations", "non_finite"))
        return Attempts(solution, initial, final, len(tried), *counts), judged

    def _explanation(self, solution: Solution) -> str:
        first = self.epoch - self.failures + 1
        which = f"solve {self.epoch}" if self.failures == 1 else f"solves {first} to {self.epoch}"
        return (
            f"physical training: {which} diverged ({self.failures} in a row, "
            f"trainer.physical.solve.max_failures is {self.solve.max_failures}). Of the last one: "
            f"{solution.message}. Lower model.physical.dt or raise model.physical.substeps, narrow the "
            "bounds or move the initial_guess of trainer.physical.learnable_parameters, or lower "
            "trainer.rollout_steps. The last good parameters are in force."
        )

    def _batches(self, train: Dataset) -> Sequence[Batch]:
        """The windows of a fit; held, where they are not read from files."""
        real = len(train) - train.generated
        kinds = range(0, real, self.window_stride), range(real, len(train))
        batches = _Batches(
            train,
            [
                list(kind[i : i + self.batch_size])
                for kind in kinds  # apart, since they have different weights
                for i in range(0, len(kind), self.batch_size)
            ],
        )
        return batches if train.streams else list(batches)

    def _in_force(self) -> dict[str, NDArray[np.float64]]:
        return {
            name: np.asarray(self.model.arrays.numpy(self.model.parameters[name]), dtype=np.float64)
            for name in self.bounds
        }

    def _put(self, values: Values, coefficients: Values) -> None:
        self.values = {name: np.array(v, dtype=np.float64) for name, v in values.items()}
        self.coefficients = {name: np.array(coefficients[name], dtype=np.float64) for name in self.bounds}
        self.model.assign(self.values)

    def _expanded(self, coefficients: Values) -> dict[str, NDArray[np.float64]]:
        """Those that are not the parameters themselves; none of what is not there yet."""
        return {name: coefficients[name] for name in self.unknowns.expanded if name in coefficients}

    def _record(
        self, attempts: Attempts, objective: Objective, best: bool, validation: float | None, began: float
    ) -> Record:
        solution, final = attempts.solution, attempts.final
        return {
            "kind": "epoch",
            "model": "physical",
            "epoch": self.epoch,
            "initial_loss": _finite(attempts.initial.data),
            "train_loss": _finite(final.data),
            "validation_loss": _finite(validation),
            "real_loss": _finite(final.real),
            "interaction_loss": _finite(final.interaction),
            "interaction_scale": objective.interaction_scale,
            "regularisation": _finite(final.regularisation),
            "iterations": attempts.iterations,
            "evaluations": attempts.evaluations,
            "non_finite_evaluations": attempts.non_finite,
            "attempts": attempts.number,
            "failures": self.failures,
            "status": solution.status,
            "message": solution.message,
            "windows": objective.windows,
            "generated_windows": objective.generated.windows,
            "best": best,
            "parameters": {
                name: {"mean": float(v.mean()), "min": float(v.min()), "max": float(v.max())}
                for name, v in self.values.items()
            },
            "timing": timing(began),
        }


def _finite(loss: float | None) -> float | None:
    """A number that may stand in a record."""
    return None if loss is None or not isfinite(loss) else loss
