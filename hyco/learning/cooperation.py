"""Hybrid-cooperative learning (HYCO): two models that fit the data and teach each other.

    warm up both models on the data alone, then per cycle c:
        the surrogate learns from the data and from rollouts of the physical model,
        the physical model learns from the data and from rollouts of the surrogate.

Source: Liverani, Steynberg, Zuazua (2025).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from hyco.errors import ConfigError
from hyco.interfaces import Dataset, History, Observer, PhysicalTrainer, Plan, Record, State, SyntheticTrainer
from hyco.learning.clocks import timing
from hyco.learning.training import ignore
from hyco.problem.windows import window_count


@dataclass(frozen=True)
class Generator:
    """How a hybrid trainer makes trajectories of its mode.

    `initial_conditions(cycle, n)` gives n states; `physical(states, steps)` and `synthetic(states, steps)`
    roll them out with the models as they are now, without gradients.
    """

    initial_conditions: Callable[[int, int], State]
    physical: Callable[[State, int], State]
    synthetic: Callable[[State, int], State]


def cooperate(
    synthetic: SyntheticTrainer,
    physical: PhysicalTrainer,
    train: Dataset,
    validation: Dataset | None,
    generator: Generator,
    plan: Plan,
    *,
    cycles: int,
    observe: Observer = ignore,
) -> History:
    """Warm up, then alternate; what restored trainers have done already is not repeated.

    Raises ConfigError when generated trajectories are shorter than a window, since then nothing would be
    learned from them.
    """
    _check_lengths(train, plan)
    history = History()
    steps = plan.trajectory_length - 1
    for turn in range(plan.warmup + cycles):
        cycle = turn - plan.warmup + 1
        began = time.perf_counter()
        epochs = (turn + 1) * plan.synthetic_epochs - synthetic.epochs_done
        solves = (turn + 1) * plan.physical_epochs - physical.epochs_done
        if cycle < 1:
            history.records += synthetic.fit(train, validation, epochs=max(0, epochs)).records
            history.records += physical.fit(train, validation, epochs=max(0, solves)).records
            continue
        if epochs <= 0 and solves <= 0:
            continue
        states = generator.initial_conditions(cycle, plan.num_trajectories)
        if epochs > 0:
            taught = train.with_generated(generator.physical(states, steps), alpha=plan.alpha)
            history.records += synthetic.fit(taught, validation, epochs=epochs).records
        if solves > 0:
            taught = train.with_generated(generator.synthetic(states, steps))
            history.records += physical.fit(taught, validation, epochs=solves).records
        record = _cycle_record(cycle, synthetic, physical, train, validation, plan, began)
        history.records.append(record)
        observe(record)
    return history


def _check_lengths(train: Dataset, plan: Plan) -> None:
    if window_count(plan.trajectory_length, train.rollout_steps) < 1:
        raise ConfigError(
            f"trainer.hybrid.augmentation.trajectory_length: generated trajectories of "
            f"{plan.trajectory_length} frames are shorter than a window of {train.rollout_steps}, so neither "
            f"model would learn from the other. Use at least {train.rollout_steps}."
        )


def _cycle_record(
    cycle: int,
    synthetic: SyntheticTrainer,
    physical: PhysicalTrainer,
    train: Dataset,
    validation: Dataset | None,
    plan: Plan,
    began: float,
) -> Record:
    judge = train if validation is None else validation
    seen = plan.num_trajectories * window_count(plan.trajectory_length, train.rollout_steps)
    return {
        "kind": "cycle",
        "cycle": cycle,
        "synthetic_loss": synthetic.evaluate(judge),
        "physical_loss": physical.evaluate(judge),
        "generated_for_synthetic": seen,
        "generated_for_physical": seen,
        "timing": timing(began),
    }
