"""Hybrid-cooperative learning (HYCO): two models that fit the data and teach each other.

    warm up both models on the data alone, then per cycle c:
        the surrogate learns from the data and from rollouts of the physical model,
        the physical model learns from the data and from rollouts of the surrogate.

Source: Liverani, Steynberg, Zuazua (2025).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError, RunError
from hyco.interfaces import (
    Dataset,
    History,
    LossWeights,
    Observer,
    PhysicalTrainer,
    Plan,
    Record,
    State,
    SyntheticTrainer,
)
from hyco.learning.clocks import timing
from hyco.learning.memory import Memory
from hyco.learning.training import ignore
from hyco.problem.windows import window_count

REAL_ONLY = LossWeights()
NAMES: tuple[Literal["synthetic", "physical"], ...] = ("synthetic", "physical")


@dataclass(frozen=True)
class Generator:
    """How a hybrid trainer makes trajectories of its mode.

    `initial_conditions(cycle, n)` gives n states; `physical(states, steps)` rolls them out with the physical
    model as it is, `synthetic(states, steps, weights)` with the surrogate, as it is or with other weights;
    both without gradients.  `points(cycle, n)`: n cells in which what was generated is compared.
    """

    initial_conditions: Callable[[int, int], State]
    physical: Callable[[State, int], State]
    synthetic: Callable[[State, int, Any], State]
    points: Callable[[int, int], NDArray[np.bool_]]


def cooperate(
    synthetic: SyntheticTrainer,
    physical: PhysicalTrainer,
    train: Dataset,
    validation: Dataset | None,
    generator: Generator,
    plan: Plan,
    *,
    cycles: int,
    memory: Memory | None = None,
    observe: Observer = ignore,
) -> History:
    """Warm up, then alternate; what restored trainers have done already is not repeated.

    With `plan.interaction` off the cycles train on the data alone.  `memory` holds what a cycle must know of
    the time before it.

    Raises ConfigError when generated trajectories are shorter than a window, and RunError when a model saw
    none of what the other one generated: it would be learning alone without a word.
    """
    memory = memory or Memory()
    if plan.interaction:
        _check_lengths(train, plan)
    taught = {name: train.seen_by(name) for name in NAMES}
    judges = {name: None if validation is None else validation.seen_by(name) for name in NAMES}
    pair: tuple[tuple[str, SyntheticTrainer | PhysicalTrainer], ...]
    pair = ("synthetic", synthetic), ("physical", physical)
    history = History()
    for turn in range(plan.warmup + cycles):
        cycle = turn - plan.warmup + 1
        began = time.perf_counter()
        epochs = (turn + 1) * plan.synthetic_epochs - synthetic.epochs_done
        solves = (turn + 1) * plan.physical_epochs - physical.epochs_done
        if epochs <= 0 and solves <= 0:
            continue
        if cycle < 1:
            history.records += _fit(synthetic, taught["synthetic"], judges["synthetic"], epochs, REAL_ONLY)
            history.records += _fit(physical, taught["physical"], judges["physical"], solves, REAL_ONLY)
            continue
        if plan.reversion is not None and memory.cycle < 1:  # what the first cycle must not make worse
            for name, trainer in pair:
                memory.judge(name, trainer, _loss(name, trainer, taught, judges), plan.reversion)
        memory.begin(cycle, synthetic.model.weights if plan.simultaneous else None)
        lesson = _Lesson(generator, plan, cycle)
        weights = plan.synthetic_weights(cycle), plan.physical_weights(cycle)
        if epochs > 0:
            data = lesson.by_physical(taught["synthetic"])
            history.records += _fit(synthetic, data, judges["synthetic"], epochs, weights[0])
        if solves > 0:
            data = lesson.by_synthetic(taught["physical"], memory.weights)
            history.records += _fit(physical, data, judges["physical"], solves, weights[1])
        record = _cycle_record(cycle, synthetic, physical, taught, judges, plan, weights, began)
        if plan.reversion is not None:
            record["reverted"] = [
                name
                for name, trainer in pair
                if memory.judge(name, trainer, record[f"{name}_loss"], plan.reversion)
            ]
        history.records.append(record)
        observe(record)
    return history


class _Lesson:
    """What the models generate for each other in one cycle, beside the data; nothing, without interaction."""

    def __init__(self, generator: Generator, plan: Plan, cycle: int) -> None:
        self.generator, self.plan, self.cycle = generator, plan, cycle
        self.steps = plan.trajectory_length - 1
        if plan.interaction:
            self.states = generator.initial_conditions(cycle, plan.num_trajectories)
            self.points = None if plan.points is None else generator.points(cycle, plan.points)

    def by_physical(self, data: Dataset) -> Dataset:
        """The surrogate's data in this cycle."""
        if not self.plan.interaction:
            return data
        trajectories = self.generator.physical(self.states, self.steps)
        return data.with_generated(trajectories, alpha=self.plan.alpha, points=self.points)

    def by_synthetic(self, data: Dataset, weights: Any) -> Dataset:
        """The physical model's data in this cycle; `weights`: of the surrogate that teaches, or None."""
        if not self.plan.interaction:
            return data
        trajectories = self.generator.synthetic(self.states, self.steps, weights)
        return data.with_generated(trajectories, points=self.points)


def _fit(
    trainer: Any, data: Dataset, judge: Dataset | None, epochs: int, weights: LossWeights
) -> list[Record]:
    records: list[Record] = trainer.fit(data, judge, epochs=max(0, epochs), weights=weights).records
    return records


def _check_lengths(train: Dataset, plan: Plan) -> None:
    if window_count(plan.trajectory_length, train.rollout_steps) < 1:
        raise ConfigError(
            f"trainer.hybrid.augmentation.trajectory_length: generated trajectories of "
            f"{plan.trajectory_length} frames are shorter than a window of {train.rollout_steps}, so neither "
            f"model would learn from the other. Use at least {train.rollout_steps}."
        )


def _loss(
    name: str,
    trainer: SyntheticTrainer | PhysicalTrainer,
    taught: Mapping[Any, Dataset],
    judges: Mapping[Any, Dataset | None],
) -> float:
    """By what a model is judged: real windows, of the validation where there is one."""
    judge = judges[name]
    return trainer.evaluate(taught[name] if judge is None else judge)


def _cycle_record(
    cycle: int,
    synthetic: SyntheticTrainer,
    physical: PhysicalTrainer,
    taught: Mapping[Any, Dataset],
    judges: Mapping[Any, Dataset | None],
    plan: Plan,
    weights: tuple[LossWeights, LossWeights],
    began: float,
) -> Record:
    record: Record = {"kind": "cycle", "cycle": cycle}
    for name, trainer in (("synthetic", synthetic), ("physical", physical)):
        record[f"{name}_loss"] = _loss(name, trainer, taught, judges)
    seen_by_each = synthetic.generated_seen, physical.generated_seen
    for name, seen, weight in zip(NAMES, seen_by_each, weights, strict=True):
        if plan.interaction and weight.interaction > 0 and seen == 0:
            raise RunError(
                f"cycle {cycle}: the {name} model saw none of the windows that the other one generated, "
                "so it learned alone. Lengthen trainer.hybrid.augmentation.trajectory_length, or switch "
                "trainer.hybrid.interaction off if that is meant."
            )
        record[f"generated_for_{name}"] = seen
    record["timing"] = timing(began)
    return record
