"""The HYCO alternation, with trainers and datasets that only record what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import numpy as np
import pytest

from hyco.errors import CheckpointError, ConfigError, RunError
from hyco.interfaces import History, LossWeights, Plan, TrainingState
from hyco.learning.cooperation import Generator, cooperate
from hyco.learning.memory import Memory
from hyco.problem.windows import Windows
from tests.fakes import FakeDataset

PLAN = Plan(
    warmup=1, synthetic_epochs=2, physical_epochs=1, alpha=0.5, num_trajectories=3, trajectory_length=6
)


class FakeModel:
    """A surrogate whose weights are the number of epochs that its trainer has done."""

    def __init__(self, trainer: FakeTrainer) -> None:
        self.trainer = trainer

    def weights(self) -> dict[str, Any]:
        """That number."""
        return {"epochs": np.array(float(self.trainer.epochs_done))}


@dataclass
class FakeTrainer:
    """Remembers its fits as (name, epochs, windows, generated windows, validation given).

    `losses` are what its evaluations say, one after the other; else a number that tells trainers apart.
    """

    name: str
    log: list[tuple[Any, ...]]
    epochs_done: int = 0
    generated_seen: int = 0
    blind: bool = False
    losses: list[float] = field(default_factory=list)
    judged: list[Any] = field(default_factory=list)
    taught: list[Any] = field(default_factory=list)
    weights: list[LossWeights] = field(default_factory=list)
    restored: list[TrainingState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = FakeModel(self)

    def fit(self, train: FakeDataset, validation: Any, *, epochs: int, weights: LossWeights) -> History:
        """One record per epoch."""
        if epochs:
            self.log.append((f"fit {self.name}", epochs, len(train), train.generated, validation is not None))
            self.taught.append(train)
            self.weights.append(weights)
            self.generated_seen = 0 if self.blind else train.generated
        self.epochs_done += epochs
        return History([{"kind": "epoch", "model": self.name} for _ in range(epochs)])

    def evaluate(self, dataset: Any) -> float:
        """The next loss."""
        self.judged.append(dataset)
        if self.losses:
            return self.losses.pop(0)
        return {"synthetic": 0.25, "physical": 0.75}[self.name] + self.epochs_done

    def state(self) -> TrainingState:
        """What tells the epoch it was taken at."""
        now = np.array(float(self.epochs_done))
        return TrainingState({"weights.w": now, "moments.m": now, "best.w": now}, {"epoch": self.epochs_done})

    def restore(self, state: TrainingState) -> None:
        """Remembered."""
        self.restored.append(state)


@dataclass
class World:
    """Both trainers, the generator, and one log of everything in order."""

    log: list[tuple[Any, ...]] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.synthetic = FakeTrainer("synthetic", self.log)
        self.physical = FakeTrainer("physical", self.log)
        self.train = FakeDataset(Windows((10,), 4))
        self.observed: list[Any] = []
        self.teachers: list[Any] = []

    def states(self, cycle: int, count: int) -> list[str]:
        """Initial conditions that tell their cycle."""
        self.log.append(("states", cycle, count))
        return [f"state {cycle}.{i}" for i in range(count)]

    def by_physical(self, states: list[str], steps: int) -> list[list[str]]:
        """A model that repeats its initial state."""
        self.log.append(("generate by physical", tuple(states), steps))
        return [[state] * (steps + 1) for state in states]

    def by_synthetic(self, states: list[str], steps: int, weights: Any) -> list[list[str]]:
        """Another one, which remembers by which weights."""
        self.log.append(("generate by synthetic", tuple(states), steps))
        self.teachers.append(None if weights is None else float(weights["epochs"]))
        return [[state] * (steps + 1) for state in states]

    def cooperate(self, plan: Plan = PLAN, cycles: int = 2, validation: Any = None) -> History:
        """The alternation."""
        generator = Generator(self.states, self.by_physical, self.by_synthetic, lambda c, n: f"{n} of {c}")
        return cooperate(
            self.synthetic,
            self.physical,
            self.train,
            validation,
            generator,
            plan,
            cycles=cycles,
            memory=self.memory,
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
    assert world.teachers == [None, None]


def test_the_surrogate_sees_a_share_of_the_real_windows_and_the_physics_sees_all() -> None:
    world = World()
    world.cooperate(cycles=1)
    assert [alpha for _, alpha in world.train.taught] == [0.5, 1.0]
    assert [len(trajectories) for trajectories, _ in world.train.taught] == [3, 3]


def test_each_model_sees_the_data_through_its_own_sensors() -> None:
    world, validation = World(), FakeDataset(Windows((5,), 4))
    world.cooperate(validation=validation)
    for name, trainer in (("synthetic", world.synthetic), ("physical", world.physical)):
        assert {data.seen_as for data in trainer.taught + trainer.judged} == {name}


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
    assert all(d.windows is validation.windows for d in world.synthetic.judged + world.physical.judged)
    assert all(entry[-1] is True for entry in world.log if entry[0].startswith("fit"))
    unjudged = World()
    unjudged.cooperate()
    assert all(d.windows is unjudged.train.windows for d in unjudged.synthetic.judged)


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
    world.synthetic.generated_seen = 9  # as its state says, when it trained on them before
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


@pytest.mark.parametrize("name", ["synthetic", "physical"])
def test_a_model_that_saw_nothing_of_the_other_one_stops_the_run(name: str) -> None:
    world = World()
    getattr(world, name).blind = True
    with pytest.raises(RunError, match=rf"cycle 1: the {name} model saw none .*interaction off"):
        world.cooperate()


def test_a_model_whose_interaction_weighs_nothing_yet_may_see_nothing() -> None:
    world = World()
    world.physical.blind = True
    world.cooperate(replace(PLAN, physical_weights=lambda cycle: LossWeights(1.0, 0.0)))
    assert world.observed[-1]["generated_for_physical"] == 0


def test_without_interaction_nothing_is_generated_and_nothing_is_missed() -> None:
    world = World()
    history = world.cooperate(replace(PLAN, interaction=False, trajectory_length=2))
    assert world.log == WARMUP * 3
    cycles = [r for r in history.records if r["kind"] == "cycle"]
    assert [(r["generated_for_synthetic"], r["generated_for_physical"]) for r in cycles] == [(0, 0)] * 2


def test_simultaneous_updates_teach_by_the_surrogate_that_the_cycle_found() -> None:
    world = World()
    world.cooperate(replace(PLAN, simultaneous=True))
    assert world.teachers == [2.0, 4.0]  # after the warm-up, and after the first cycle; not 4 and 6


def test_a_simultaneous_cycle_that_was_interrupted_still_knows_what_it_found() -> None:
    world, earlier = World(), Memory(cycle=1, weights={"epochs": np.array(2.0)})
    world.memory.restore(earlier.state())
    world.synthetic.epochs_done, world.physical.epochs_done, world.synthetic.generated_seen = 4, 1, 9
    world.cooperate(replace(PLAN, simultaneous=True))
    assert world.teachers == [2.0, 4.0]


def test_generated_windows_are_compared_at_new_points_in_every_cycle() -> None:
    world = World()
    world.cooperate(replace(PLAN, points=5))
    assert world.train.points == ["5 of 1"] * 2 + ["5 of 2"] * 2
    whole = World()
    whole.cooperate()
    assert whole.train.points == [None] * 4


def test_weights_are_those_of_the_cycle_and_of_real_data_alone_before() -> None:
    world = World()
    plan = replace(
        PLAN,
        synthetic_weights=lambda cycle: LossWeights(1.0, 10.0 * cycle),
        physical_weights=lambda cycle: LossWeights(0.5, 0.1 * cycle, proportional=True),
    )
    world.cooperate(plan)
    assert world.synthetic.weights == [LossWeights(), LossWeights(1.0, 10.0), LossWeights(1.0, 20.0)]
    assert world.physical.weights[1:] == [LossWeights(0.5, 0.1, True), LossWeights(0.5, 0.2, True)]


def test_a_model_that_a_cycle_made_worse_goes_back_and_the_other_one_does_not() -> None:
    world = World()
    world.synthetic.losses = [1.3, 1.0, 1.21, 1.05, 1.2]  # the first one after the warm-up
    history = world.cooperate(replace(PLAN, reversion=0.1), cycles=4)
    cycles = [r for r in history.records if r["kind"] == "cycle"]
    both = ["synthetic", "physical"]  # the physics loses a whole unit in every cycle
    assert [r["reverted"] for r in cycles] == [["physical"], both, ["physical"], both]
    [first, second] = world.synthetic.restored
    # after cycle 2 (6 epochs) back to cycle 1 (4), after cycle 4 (10) to cycle 3 (8); what was best stays
    for state, accepted, now in ((first, 4.0, 6), (second, 8.0, 10)):
        assert (state.arrays["weights.w"], state.arrays["moments.m"]) == (accepted, accepted)
        assert (state.arrays["best.w"], state.facts) == (now, {"epoch": now})


def test_the_first_cycle_is_undone_too() -> None:
    world = World()
    world.synthetic.losses, world.physical.losses = [1.0, 1.2], [1.0, 1.1]
    history = world.cooperate(replace(PLAN, reversion=0.15), cycles=1)
    assert history.records[-1]["reverted"] == ["synthetic"]
    [state] = world.synthetic.restored
    assert state.arrays["weights.w"] == 2.0  # as the warm-up left it
    assert not world.physical.restored


def test_what_an_interrupted_first_cycle_found_is_not_judged_again() -> None:
    world = World()
    world.synthetic.losses, world.physical.losses = [1.0, 1.2], [1.0, 1.1]
    world.cooperate(replace(PLAN, reversion=0.15), cycles=1)
    again = World()
    again.memory.restore(Memory(1, None, dict(world.memory.accepted)).state())
    again.synthetic.epochs_done, again.synthetic.generated_seen, again.physical.epochs_done = 4, 9, 1
    again.synthetic.losses, again.physical.losses = [1.2], [1.0]
    [*_, cycle] = again.cooperate(replace(PLAN, reversion=0.15), cycles=1).records
    assert cycle["reverted"] == ["synthetic"]
    assert again.synthetic.restored[0].arrays["weights.w"] == 2.0


def test_a_loss_that_is_not_finite_is_never_accepted() -> None:
    world = World()
    world.physical.losses, world.synthetic.losses = [1.0, 1.0, nan, 0.9], [1.0, 1.0, 1.0, 1.0]
    history = world.cooperate(replace(PLAN, reversion=1.0), cycles=3)
    assert [r["reverted"] for r in history.records if r["kind"] == "cycle"] == [[], ["physical"], []]


def test_a_memory_that_was_kept_reverts_to_the_same_state() -> None:
    world = World()
    world.synthetic.losses, world.physical.losses = [1.5, 1.0], [1.5, 1.0]
    world.cooperate(replace(PLAN, reversion=0.0), cycles=1)
    again = World()
    again.memory.restore(world.memory.state())
    again.synthetic.epochs_done, again.physical.epochs_done = 4, 2
    again.synthetic.losses, again.physical.losses = [2.0], [0.5]
    again.cooperate(replace(PLAN, reversion=0.0))
    [state] = again.synthetic.restored
    assert state.arrays["weights.w"] == 4.0
    assert not again.physical.restored


def test_a_damaged_memory_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cooperation"):
        Memory().restore(TrainingState({}, {"cycle": 1}))
