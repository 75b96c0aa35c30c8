"""The HYCO alternation, with trainers and datasets that only record what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from hyco.errors import ConfigError
from hyco.interfaces import History, Plan
from hyco.learning.cooperation import Generator, cooperate
from hyco.problem.windows import Windows
from tests.fakes import FakeDataset

PLAN = Plan(
    warmup=1, synthetic_epochs=2, physical_epochs=1, alpha=0.5, num_trajectories=3, trajectory_length=6
)


@dataclass
class FakeTrainer:
    """Remembers its fits as (name, epochs, windows, generated windows, validation given)."""

    name: str
    log: list[tuple[Any, ...]]
    epochs_done: int = 0
    judged: list[Any] = field(default_factory=list)

    def fit(self, train: FakeDataset, validation: Any, *, epochs: int) -> History:
        """One record per epoch."""
        if epochs:
            self.log.append((f"fit {self.name}", epochs, len(train), train.generated, validation is not None))
        self.epochs_done += epochs
        return History([{"kind": "epoch", "model": self.name} for _ in range(epochs)])

    def evaluate(self, dataset: Any) -> float:
        """A number that tells the trainers apart."""
        self.judged.append(dataset)
        return {"synthetic": 0.25, "physical": 0.75}[self.name] + self.epochs_done


@dataclass
class World:
    """Both trainers, the generator, and one log of everything in order."""

    log: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.synthetic = FakeTrainer("synthetic", self.log)
        self.physical = FakeTrainer("physical", self.log)
        self.train = FakeDataset(Windows((10,), 4))
        self.observed: list[Any] = []

    def states(self, cycle: int, count: int) -> list[str]:
        """Initial conditions that tell their cycle."""
        self.log.append(("states", cycle, count))
        return [f"state {cycle}.{i}" for i in range(count)]

    def rollouts(self, who: str) -> Any:
        """A model that repeats its initial state."""

        def roll_out(states: list[str], steps: int) -> list[list[str]]:
            self.log.append((f"generate by {who}", tuple(states), steps))
            return [[state] * (steps + 1) for state in states]

        return roll_out

    def cooperate(self, plan: Plan = PLAN, cycles: int = 2, validation: Any = None) -> History:
        """The alternation."""
        generator = Generator(self.states, self.rollouts("physical"), self.rollouts("synthetic"))
        return cooperate(
            self.synthetic,
            self.physical,
            self.train,
            validation,
            generator,
            plan,
            cycles=cycles,
            observe=self.observed.append,
        )


def cycle_log(cycle: int, synthetic: int = 2, physical: int = 1) -> list[tuple[Any, ...]]:
    """What happens in one whole cycle: 7 real windows, and 3 trajectories of 6 frames, 3 windows each."""
    states = tuple(f"state {cycle}.{i}" for i in range(3))
    log: list[tuple[Any, ...]] = [("states", cycle, 3)]
    if synthetic:
        log += [("generate by physical", states, 5), ("fit synthetic", synthetic, 16, 9, False)]
    if physical:
        log += [("generate by synthetic", states, 5), ("fit physical", physical, 16, 9, False)]
    return log


WARMUP = [("fit synthetic", 2, 7, 0, False), ("fit physical", 1, 7, 0, False)]


def test_both_models_warm_up_alone_and_then_teach_each_other_in_turn() -> None:
    world = World()
    world.cooperate()
    assert world.log == WARMUP + cycle_log(1) + cycle_log(2)


def test_the_surrogate_sees_a_share_of_the_real_windows_and_the_physics_sees_all() -> None:
    world = World()
    world.cooperate(cycles=1)
    assert [alpha for _, alpha in world.train.taught] == [0.5, 1.0]
    assert [len(trajectories) for trajectories, _ in world.train.taught] == [3, 3]


def test_the_history_has_every_epoch_and_a_record_per_cycle() -> None:
    world = World()
    history = world.cooperate()
    kinds = [r.get("model", r["kind"]) for r in history.records]
    assert kinds == ["synthetic"] * 2 + ["physical"] + (["synthetic"] * 2 + ["physical", "cycle"]) * 2
    cycles = [r for r in history.records if r["kind"] == "cycle"]
    assert cycles == world.observed
    assert [r["cycle"] for r in cycles] == [1, 2]
    assert [(r["synthetic_loss"], r["physical_loss"]) for r in cycles] == [(4.25, 2.75), (6.25, 3.75)]
    assert all(r["generated_for_synthetic"] == r["generated_for_physical"] == 9 for r in cycles)


def test_cycles_are_judged_on_validation_where_there_is_one() -> None:
    world, validation = World(), FakeDataset(Windows((5,), 4))
    world.cooperate(validation=validation)
    assert all(d is validation for d in world.synthetic.judged + world.physical.judged)
    assert all(entry[-1] is True for entry in world.log if entry[0].startswith("fit"))
    unjudged = World()
    unjudged.cooperate()
    assert all(d is unjudged.train for d in unjudged.synthetic.judged)


@pytest.mark.parametrize(
    ("synthetic", "physical", "expected"),
    [
        (0, 0, [*WARMUP, *cycle_log(1), *cycle_log(2)]),
        (1, 0, [("fit synthetic", 1, 7, 0, False), WARMUP[1], *cycle_log(1), *cycle_log(2)]),
        (2, 0, [WARMUP[1], *cycle_log(1), *cycle_log(2)]),
        (2, 1, [*cycle_log(1), *cycle_log(2)]),
        (3, 1, [*cycle_log(1, synthetic=1), *cycle_log(2)]),
        (4, 1, [*cycle_log(1, synthetic=0), *cycle_log(2)]),
        (4, 2, cycle_log(2)),
        (6, 2, cycle_log(2, synthetic=0)),
        (6, 3, []),
    ],
)
def test_what_was_done_before_an_interruption_is_not_repeated(
    synthetic: int, physical: int, expected: list[tuple[Any, ...]]
) -> None:
    world = World()
    world.synthetic.epochs_done, world.physical.epochs_done = synthetic, physical
    world.cooperate()
    assert world.log == expected
    assert (world.synthetic.epochs_done, world.physical.epochs_done) == (6, 3)


def test_without_warm_up_the_first_cycle_comes_at_once() -> None:
    world = World()
    world.cooperate(Plan(0, 2, 1, 1.0, 3, 6), cycles=1)
    assert world.log == cycle_log(1)


def test_generated_trajectories_shorter_than_a_window_are_refused_before_any_work() -> None:
    world = World()
    with pytest.raises(ConfigError, match=r"trajectory_length.* 3 frames .*window of 4.* at least 4"):
        world.cooperate(Plan(trajectory_length=3))
    assert world.log == []


def test_generated_trajectories_as_long_as_a_window_are_enough() -> None:
    world = World()
    history = world.cooperate(Plan(0, 1, 1, 1.0, 2, 4), cycles=1)
    assert history.records[-1]["generated_for_physical"] == 2
