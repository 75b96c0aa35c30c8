"""The two training loops, with learners that are one number."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import CheckpointError, ConfigError, RunError
from hyco.interfaces import Batch, EarlyStopping, LossWeights, Optimizer, Record, Solve, TrainingState
from hyco.learning.bases import basis_of
from hyco.learning.fitting import FitLoop
from hyco.learning.phases import Progress
from hyco.learning.regularisers import squared_gradient, total_variation
from hyco.learning.schedules import curriculum, learning_rate_schedule
from hyco.learning.training import EpochLoop, mean_loss
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.problem.sampling import stream, with_noise
from hyco.problem.windows import Windows
from tests.fakes import FakeDataset

REAL = FakeDataset(Windows((7, 6), 3))  # windows 0 to 8
VALIDATION = FakeDataset(Windows((5,), 3))  # windows 0 to 2


def joined(batches: list[list[int]]) -> list[int]:
    """The windows of all batches, in order."""
    return [window for batch in batches for window in batch]


def test_every_window_counts_the_same_whatever_its_batch() -> None:
    assert mean_loss([(1.0, 3), (5.0, 1)]) == 2.0


# --------------------------------------------------------------------------------------------- EpochLoop


@dataclass
class Walker:
    """A learner with one weight that walks towards 10 by the learning rate; its loss is the distance."""

    weight: float = 0.0
    speed: float = 0.0
    rate: float = nan
    seen: list[list[int]] = field(default_factory=list)
    given: list[LossWeights | None] = field(default_factory=list)
    broken_at: int | None = None
    optimizer: Optimizer = field(default_factory=Optimizer)
    amp: Any = None
    clipped: bool = False
    gradient_norm: float | None = None
    scale: float = 1.0
    model: ClassVar[Any] = SimpleNamespace(arrays=SimpleNamespace(numpy=np.asarray))

    def update(self, batch: Batch, weights: LossWeights | None = None) -> float:
        """Walk one step; the loss before it."""
        self.seen.append(batch.initial.tolist())
        self.given.append(weights)
        self.gradient_norm = self.speed + 1.0 if self.clipped else None
        loss = nan if len(self.seen) == self.broken_at else self.loss(batch)
        self.speed += 1.0
        self.weight += self.rate * self.speed
        return loss

    def loss(self, batch: Batch) -> float:
        """The distance, and a thousandth of the mean window number, so that windows can be told apart."""
        return abs(10.0 - self.weight) + 1e-3 * float(batch.initial.mean())

    def set_learning_rate(self, learning_rate: float) -> None:
        """Kept."""
        self.rate = learning_rate

    def weights(self) -> dict[str, NDArray[Any]]:
        """The position."""
        return {"w": np.array([self.weight])}

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Jump."""
        self.weight = float(weights["w"][0])

    def moments(self) -> dict[str, NDArray[Any]]:
        """The speed."""
        return {"speed": np.array(self.speed)}

    def put_moments(self, moments: Mapping[str, NDArray[Any]]) -> None:
        """Put the speed back."""
        self.speed = float(moments["speed"])

    def loss_scale(self) -> dict[str, Any]:
        """A number."""
        return {"scale": self.scale}

    def put_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Put the number back."""
        self.scale = state["scale"]


def epoch_loop(learner: Walker, rate: float = 0.1, seed: int = 0, **options: Any) -> EpochLoop:
    return EpochLoop(learner, learning_rate_schedule(rate, 9, name="none"), 4, seed, **options)


def test_an_epoch_sees_every_window_once_in_an_order_of_its_own() -> None:
    learner = Walker()
    epoch_loop(learner).fit(REAL, None, 2)
    first, second = joined(learner.seen[:3]), joined(learner.seen[3:])
    assert [len(b) for b in learner.seen] == [4, 4, 1] * 2
    assert sorted(first) == sorted(second) == list(range(9))
    assert first != second


def test_the_order_follows_the_seed() -> None:
    def order(seed: int) -> list[list[int]]:
        learner = Walker()
        epoch_loop(learner, seed=seed).fit(REAL, None, 1)
        return learner.seen

    assert order(0) == order(0) != order(1)


def test_records_say_what_happened() -> None:
    learner = Walker()
    records = epoch_loop(learner).fit(REAL, VALIDATION, 2).records
    assert [r["epoch"] for r in records] == [1, 2]
    assert all(r["kind"] == "epoch" and r["model"] == "synthetic" for r in records)
    # before the three updates of the first epoch the weight is 0, 0.1 and 0.3
    windows = np.array([np.mean(b) for b in learner.seen[:3]])
    losses = np.array([10.0, 9.9, 9.7]) + 1e-3 * windows
    assert records[0]["train_loss"] == pytest.approx(np.dot(losses, [4, 4, 1]) / 9, rel=1e-14)
    assert records[0]["validation_loss"] == pytest.approx(10.0 - 0.6 + 1e-3, rel=1e-14)
    assert set(records[0]["timing"]) == {"seconds", "peak_memory_mb"}
    assert records[0]["timing"]["seconds"] > 0


def test_the_learning_rate_is_that_of_the_epoch_of_the_whole_run() -> None:
    schedule = learning_rate_schedule(0.2, 4, name="cosine")
    loop = EpochLoop(Walker(), schedule, 4, 0)
    rates = [r["learning_rate"] for _ in range(2) for r in loop.fit(REAL, None, 2).records]
    assert rates == [schedule(e) for e in range(4)]


def test_generated_windows_are_counted() -> None:
    data = FakeDataset(Windows((7,), 3, generated=(5, 5)))
    (record,) = epoch_loop(Walker()).fit(data, None, 1).records
    assert record["generated_windows"] == 6


def test_evaluation_is_over_real_windows_only() -> None:
    data = FakeDataset(Windows((7,), 3, generated=(9,)))
    assert epoch_loop(Walker()).evaluate(data) == pytest.approx(10.0 + 1e-3 * 2.0)


def test_the_best_weights_are_those_of_the_least_validation_loss() -> None:
    learner = Walker()
    loop = epoch_loop(learner, rate=1.0)
    records = loop.fit(REAL, VALIDATION, 4).records
    assert [r["best"] for r in records] == [True, False, False, False]
    assert learner.weight > 20.0
    loop.use_best()
    assert learner.weight == 6.0
    assert loop.best_loss == records[0]["validation_loss"]


def test_without_validation_the_training_loss_decides() -> None:
    loop = epoch_loop(Walker(), rate=0.01)
    records = loop.fit(REAL, None, 3).records
    assert [r["best"] for r in records] == [True] * 3
    assert loop.best_loss == records[-1]["train_loss"]


def test_use_best_before_any_epoch_changes_nothing() -> None:
    learner = Walker(weight=1.5)
    epoch_loop(learner).use_best()
    assert learner.weight == 1.5


def test_the_observer_sees_a_loop_whose_state_is_complete() -> None:
    states: list[tuple[int, int, float]] = []
    learner = Walker()
    loop = epoch_loop(learner, observe=lambda r: states.append((r["epoch"], loop.epoch, learner.weight)))
    loop.fit(REAL, None, 2)
    assert states == [(1, 1, pytest.approx(0.6)), (2, 2, pytest.approx(2.1))]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_restored_loop_goes_on_as_if_nothing_had_happened(stop: int) -> None:
    whole, half, rest = Walker(), Walker(), Walker()
    reference = EpochLoop(whole, learning_rate_schedule(0.1, 4, name="cosine"), 4, 5)
    expected = reference.fit(REAL, VALIDATION, 4).records
    first = EpochLoop(half, learning_rate_schedule(0.1, 4, name="cosine"), 4, 5)
    first.fit(REAL, VALIDATION, stop)
    second = EpochLoop(rest, learning_rate_schedule(0.1, 4, name="cosine"), 4, 5)
    second.restore(first.state())
    found = second.fit(REAL, VALIDATION, 4 - stop).records
    for a, b in zip(expected[stop:], found, strict=True):
        assert {k: v for k, v in a.items() if k != "timing"} == {k: v for k, v in b.items() if k != "timing"}
    assert half.seen + rest.seen == whole.seen
    assert (rest.weight, rest.speed) == (whole.weight, whole.speed)
    second.use_best()
    reference.use_best()
    assert rest.weight == whole.weight


class States(FakeDataset):
    """Windows whose initial state is a wave of u and of v, a field that stays; their targets, too."""

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """As the states of a mode come: (batch, field, x)."""
        waves = np.sin(1.0 + np.arange(6.0) * (1.0 + np.array(indices, dtype=float)[:, None]))
        states = np.stack([waves, 3.0 * waves], axis=1)
        return Batch(states, states.copy(), len(indices))


@dataclass
class Watcher(Walker):
    """A walker that keeps what it is given, and whose states are numpy already."""

    updates: list[Batch] = field(default_factory=list)
    judged: list[Batch] = field(default_factory=list)
    model: ClassVar[Any] = SimpleNamespace(
        arrays=SimpleNamespace(numpy=np.asarray, state=np.asarray),
        layout=FieldLayout((FieldSpec("v", static=True), FieldSpec("u")), ("x",)),
    )

    def update(self, batch: Batch, weights: LossWeights | None = None) -> float:
        """Kept."""
        self.updates.append(batch)
        return 1.0

    def loss(self, batch: Batch) -> float:
        """Kept."""
        self.judged.append(batch)
        return 1.0


def test_noise_disturbs_what_updates_start_from_and_nothing_else() -> None:
    data, quiet, noisy = States(Windows((7, 6), 3)), Watcher(), Watcher()
    epoch_loop(quiet).fit(data, data, 2)
    epoch_loop(noisy, input_noise=0.1).fit(data, data, 2)
    assert len(quiet.updates) == len(noisy.updates) == 6
    seen = []
    for number, (plain, disturbed) in enumerate(zip(quiet.updates, noisy.updates, strict=True)):
        assert np.array_equal(plain.targets, disturbed.targets)
        assert np.array_equal(plain.initial[:, 0], disturbed.initial[:, 0])
        assert (plain.size, plain.generated) == (disturbed.size, disturbed.generated)
        rng = stream(0, "noise", *divmod(number, 3))
        assert np.array_equal(disturbed.initial, with_noise(plain.initial, (1,), 0.1, rng))
        seen.append((disturbed.initial - plain.initial)[0, 1].tobytes())
    assert len(set(seen)) == 6
    for plain, judged in zip(quiet.judged, noisy.judged, strict=True):
        assert np.array_equal(plain.initial, judged.initial)


def test_without_noise_batches_are_handed_on_as_they_are() -> None:
    learner = Walker()  # it has no model that could be asked for numbers
    epoch_loop(learner, input_noise=0.0).fit(REAL, None, 1)
    assert sorted(joined(learner.seen)) == list(range(9))


def test_a_restored_loop_sees_the_noise_that_it_would_have_seen() -> None:
    data, whole, half, rest = States(Windows((7, 6), 3)), Watcher(), Watcher(), Watcher()
    epoch_loop(whole, input_noise=0.1).fit(data, None, 3)
    first, second = epoch_loop(half, input_noise=0.1), epoch_loop(rest, input_noise=0.1)
    first.fit(data, None, 1)
    second.restore(first.state())
    second.fit(data, None, 2)
    for expected, found in zip(whole.updates, half.updates + rest.updates, strict=True):
        assert np.array_equal(expected.initial, found.initial)


@pytest.mark.parametrize("value", [2, 3])
def test_a_loss_that_is_not_finite_ends_the_run_and_says_where(value: int) -> None:
    loop = epoch_loop(Walker(broken_at=value))
    with pytest.raises(RunError, match=rf"batch {value - 1} in epoch 1 is nan.*learning_rate"):
        loop.fit(REAL, None, 1)
    assert loop.epoch == 0
    assert loop.best_loss == inf


def bad_states(good: TrainingState, weights: str, key: str) -> dict[str, TrainingState]:
    """States that do not fit, by what the error must say."""
    return {
        rf"missing {key}": replace(
            good, arrays={n: a for n, a in good.arrays.items() if n != f"{weights}.{key}"}
        ),
        r"unexpected other": replace(good, arrays={**good.arrays, f"{weights}.other": np.zeros(1)}),
        rf"{key}: expected shape": replace(
            good, arrays={**good.arrays, f"{weights}.{key}": np.zeros((2, 2))}
        ),
        rf"{key}: not finite": replace(
            good, arrays={**good.arrays, f"best.{key}": np.full_like(good.arrays[f"{weights}.{key}"], nan)}
        ),
        r"epoch": replace(good, facts={"best_loss": 1.0}),
        r"best_loss": replace(good, facts={"epoch": 1, "best_loss": "small"}),
    }


@pytest.mark.parametrize("number", range(6))
def test_a_state_that_does_not_fit_is_refused_whole(number: int) -> None:
    source = epoch_loop(Walker())
    source.fit(REAL, None, 1)
    message, state = list(bad_states(source.state(), "weights", "w").items())[number]
    learner = Walker(weight=4.0)
    loop = epoch_loop(learner)
    with pytest.raises(CheckpointError, match=message):
        loop.restore(state)
    assert (learner.weight, learner.speed, loop.epoch, loop.best_weights) == (4.0, 0.0, 0, {})


class Stop(Exception):
    """Raised from a pulse, as a run does that is told to end."""


def stopping_after(updates: int) -> Callable[[], None]:
    """A pulse that raises after so many updates."""
    count = iter(range(1, updates + 1))

    def pulse() -> None:
        if next(count) == updates:
            raise Stop

    return pulse


def without_clocks(records: list[Record]) -> list[Record]:
    return [{k: v for k, v in r.items() if k != "timing"} for r in records]


TAUGHT = FakeDataset(Windows((7, 6), 3, generated=(5, 4), alpha=0.7))
EVERYTHING: dict[str, Any] = {
    "early_stopping": EarlyStopping(2),
    "curriculum": curriculum(7, start=2, end=4),
}
WEIGHTS = LossWeights(1.0, 0.5, proportional=True)


def two_phases(loop: EpochLoop) -> None:
    """Two calls of `fit`, as warm-up and cycle are; what is done already is not repeated."""
    for end, data, weights in ((3, REAL, None), (7, TAUGHT, WEIGHTS)):
        loop.fit(data, VALIDATION, max(0, end - loop.epoch), weights)


@pytest.mark.parametrize("rate", [0.05, 0.6])
def test_a_loop_that_was_stopped_after_any_update_goes_on_as_if_it_had_not(rate: float) -> None:
    """Its facts have been through a file; the faster walker stops early, in either phase."""
    schedule = learning_rate_schedule(rate, 7, name="step", every=2, factor=0.9)
    whole, expected = Walker(clipped=True), list[Record]()
    reference = EpochLoop(whole, schedule, 4, 5, expected.append, **EVERYTHING)
    two_phases(reference)
    assert any("stopped_early" in r for r in expected) == (rate > 0.5)
    assert any(r.get("interaction_scale", 1.0) != 1.0 for r in expected)
    for updates in range(1, len(whole.seen) + 1):
        half, rest, found = Walker(clipped=True), Walker(clipped=True), list[Record]()
        first = EpochLoop(half, schedule, 4, 5, found.append, pulse=stopping_after(updates), **EVERYTHING)
        with pytest.raises(Stop):
            two_phases(first)
        state = first.state()
        saved = TrainingState(state.arrays, json.loads(json.dumps(dict(state.facts))))
        second = EpochLoop(rest, schedule, 4, 5, found.append, **EVERYTHING)
        second.restore(saved)
        assert second.epoch == len({r["epoch"] for r in found}) + sum(
            r.get("stopped_early", 0) for r in found
        )
        two_phases(second)
        assert without_clocks(found) == without_clocks(expected)
        assert half.seen + rest.seen == whole.seen
        assert half.given + rest.given == whole.given
        assert (rest.weight, rest.speed) == (whole.weight, whole.speed)
        assert second.generated_seen == reference.generated_seen
        assert second.best_loss == reference.best_loss
        assert second.best_weights == reference.best_weights


def test_a_stopped_loop_goes_on_itself_too() -> None:
    whole, half = Walker(), Walker()
    epoch_loop(whole).fit(REAL, None, 2)
    loop = epoch_loop(half, pulse=stopping_after(2))
    with pytest.raises(Stop):
        loop.fit(REAL, None, 2)
    loop.pulse = lambda: None
    loop.fit(REAL, None, 2)
    assert half == whole


@pytest.mark.parametrize("updates", [1, 2, 3])
def test_a_state_within_an_epoch_says_how_far_it_is(updates: int) -> None:
    learner = Walker(scale=7.0)
    loop = epoch_loop(learner, pulse=stopping_after(updates))
    with pytest.raises(Stop):
        loop.fit(TAUGHT, None, 4)
    facts = loop.state().facts
    assert (facts["epoch"], facts["batch"], facts["phase"]["end"]) == (0, updates, 4)
    assert facts["sizes"] == [len(b) for b in learner.seen]
    assert len(facts["losses"]) == updates
    assert facts["generated"] == sum(w >= 9 for b in learner.seen for w in b)
    assert facts["optimizer"] == "adam"
    fresh = Walker()
    again = epoch_loop(fresh)
    again.restore(loop.state())
    assert (again.state().facts, fresh.scale) == (facts, 7.0)


def test_between_phases_nothing_of_an_epoch_or_a_phase_is_left() -> None:
    seen: list[Any] = []
    loop = epoch_loop(Walker(), observe=lambda _: seen.append(loop.state().facts))
    loop.fit(REAL, None, 2)
    assert [s["phase"] and s["phase"]["end"] for s in seen] == [2, None]
    assert all((s["batch"], s["losses"], s["sizes"], s["generated"]) == (0, [], [], 0) for s in seen)


@pytest.mark.parametrize("key", ["losses", "sizes"])
def test_a_state_that_contradicts_itself_is_refused(key: str) -> None:
    loop = epoch_loop(Walker(), pulse=stopping_after(2))
    with pytest.raises(Stop):
        loop.fit(REAL, None, 1)
    state = loop.state()
    with pytest.raises(CheckpointError, match=r"2 batches with \d losses and \d sizes"):
        epoch_loop(Walker()).restore(replace(state, facts={**state.facts, key: state.facts[key][:1]}))


def test_the_moments_of_another_optimiser_are_refused() -> None:
    loop, learner = epoch_loop(Walker()), Walker(weight=4.0, optimizer=Optimizer("sgd"))
    loop.fit(REAL, None, 1)
    state = loop.state()
    with pytest.raises(CheckpointError, match=r"of the optimiser adam, this training uses sgd\. Set trainer"):
        epoch_loop(learner).restore(state)
    assert learner.weight == 4.0
    unsaid = {key: value for key, value in state.facts.items() if key != "optimizer"}
    epoch_loop(Walker()).restore(replace(state, facts=unsaid))  # files from before there was a choice
    with pytest.raises(CheckpointError, match="of the optimiser adam"):
        epoch_loop(learner).restore(replace(state, facts=unsaid))


def test_a_curriculum_lengthens_the_windows_of_updates_alone() -> None:
    learner = Walker()
    loop = epoch_loop(learner, curriculum=curriculum(4, start=2, end=4))
    records = loop.fit(REAL, VALIDATION, 2).records + loop.fit(REAL, VALIDATION, 2).records
    assert [r["rollout_steps"] for r in records] == [2, 3, 3, 4]
    # 7 and 6 frames: 6 + 5 windows of 2 frames, 5 + 4 of 3, 4 + 3 of 4
    assert [sum(map(len, learner.seen[i:j])) for i, j in ((0, 3), (3, 6), (6, 9), (9, 11))] == [11, 9, 9, 7]
    loss = loop.evaluate(VALIDATION)
    assert records[-1]["validation_loss"] == loss == pytest.approx(abs(10.0 - learner.weight) + 1e-3)


def test_without_validation_what_is_best_begins_anew_with_longer_windows() -> None:
    loop = epoch_loop(Walker(), rate=0.6, curriculum=lambda epoch: 2 if epoch < 2 else 3)
    records = loop.fit(REAL, None, 4).records
    losses = [r["train_loss"] for r in records]
    assert losses[2] > min(losses[:2])
    assert [r["best"] for r in records] == [True, losses[1] < losses[0], True, losses[3] < losses[2]]
    assert loop.best_loss == min(losses[2:])


def test_epochs_that_were_left_out_do_not_hide_that_windows_became_longer() -> None:
    """A phase stops after the epoch of 2 frames; the next begins with 3, from a state between them too."""
    data: dict[str, Any] = {"curriculum": lambda e: 2 if e < 2 else 3, "early_stopping": EarlyStopping(1)}
    first = epoch_loop(Walker(weight=10.0), rate=0.5, **data)
    assert first.fit(REAL, None, 4).records[-1]["stopped_early"] == 2
    second = epoch_loop(Walker(), rate=0.5, **data)
    second.restore(first.state())
    for loop in (first, second):
        assert loop.best_loss < 1.0
        (record,) = loop.fit(REAL, None, 1).records
        assert (record["rollout_steps"], record["best"]) == (3, True)
        assert loop.best_loss == record["train_loss"] > 1.0


def test_without_a_curriculum_windows_are_those_of_the_data() -> None:
    assert epoch_loop(Walker()).fit(REAL, None, 1).records[0]["rollout_steps"] == 3


@dataclass
class Told(Walker):
    """A learner whose losses of whole datasets are told beforehand, one per evaluation."""

    losses: list[float] = field(default_factory=list)

    def loss(self, batch: Batch) -> float:
        """The next one."""
        return self.losses.pop(0)

    def update(self, batch: Batch, weights: LossWeights | None = None) -> float:
        """Nothing but a note."""
        self.seen.append(batch.initial.tolist())
        return 1.0


def stopped(losses: list[float], stopping: EarlyStopping) -> tuple[EpochLoop, list[Record]]:
    loop = epoch_loop(Told(losses=list(losses)), early_stopping=stopping)
    return loop, loop.fit(REAL, VALIDATION, len(losses)).records


def test_a_phase_that_does_not_get_better_ends_and_its_epochs_count() -> None:
    loop, records = stopped([5.0, 4.0, 4.0, 4.5, 1.0, 1.0], EarlyStopping(2))
    assert [r["epoch"] for r in records] == [1, 2, 3, 4]
    assert [r.get("stopped_early") for r in records] == [None, None, None, 2]
    assert loop.epoch == 6
    assert loop.state().facts["epoch"] == 6
    assert loop.phase is None


def test_the_next_phase_has_a_best_of_its_own_and_its_place_in_the_schedules() -> None:
    schedule = learning_rate_schedule(1.0, 9, name="exponential", factor=0.5)
    learner = Told(losses=[1.0, 2.0, 9.0, 8.0, 7.0])
    loop = EpochLoop(learner, schedule, 4, 0, early_stopping=EarlyStopping(1))
    (_, last) = loop.fit(REAL, VALIDATION, 4).records
    assert last["stopped_early"] == 2
    records = loop.fit(REAL, VALIDATION, 3).records
    assert [r["epoch"] for r in records] == [5, 6, 7]
    assert [r["learning_rate"] for r in records] == [schedule(e) for e in (4, 5, 6)]
    assert not any("stopped_early" in r for r in records)
    assert loop.best_loss == 1.0


def test_a_fall_counts_from_its_share_on() -> None:
    falling = [10.0, 9.5, 9.1, 8.9, 8.5]
    assert len(stopped(falling, EarlyStopping(2))[1]) == 5
    loop, records = stopped(falling, EarlyStopping(2, min_delta=0.1))
    assert [r.get("stopped_early") for r in records] == [None, None, 2]
    assert len(stopped([10.0, 9.5, 8.9, 8.5, 8.1], EarlyStopping(2, min_delta=0.1))[1]) == 5
    assert loop.epoch == 5


def test_stopping_with_the_last_epoch_leaves_nothing_out() -> None:
    loop, records = stopped([1.0, 2.0], EarlyStopping(1))
    assert len(records) == 2
    assert "stopped_early" not in records[-1]
    assert loop.epoch == 2


def test_a_validation_that_is_not_finite_is_no_progress() -> None:
    loop, records = stopped([nan, 3.0, nan, inf, 1.0], EarlyStopping(2))
    assert [r["best"] for r in records] == [False, True, False, False]
    assert records[-1]["stopped_early"] == 1
    assert loop.best_loss == 3.0


def test_weights_reach_the_updates_and_plain_ones_do_not_bother_them() -> None:
    learner = Walker()
    loop = epoch_loop(learner)
    loop.fit(REAL, None, 1, LossWeights(2.0, 0.5))
    loop.fit(REAL, None, 1, LossWeights())
    loop.fit(REAL, None, 1)
    assert learner.given == [LossWeights(2.0, 0.5)] * 3 + [None] * 6


def test_proportional_weights_are_scaled_to_the_real_loss_as_the_phase_began() -> None:
    learner = Walker()
    loop = epoch_loop(learner)
    records = loop.fit(TAUGHT, None, 2, LossWeights(2.0, 0.5, proportional=True)).records
    # windows 0 to 8 are real, 9 to 13 generated; the weight was 0
    scale = (10.0 + 4e-3) / (10.0 + 11e-3)
    assert [r["interaction_scale"] for r in records] == pytest.approx([scale] * 2, rel=1e-14)
    assert {w and w.proportional for w in learner.given} == {False}
    assert {w and w.interaction for w in learner.given} == {0.5 * records[0]["interaction_scale"]}
    (record,) = loop.fit(TAUGHT, None, 1, LossWeights(2.0, 0.5, proportional=True)).records
    assert record["interaction_scale"] != records[0]["interaction_scale"]
    (record,) = loop.fit(TAUGHT, None, 1, LossWeights(2.0, 0.5)).records
    assert "interaction_scale" not in record


@pytest.mark.parametrize("losses", [(0.0, 2.0), (2.0, 0.0), (nan, 1.0), (1.0, inf), (1e300, 1e-300)])
def test_there_is_no_scale_without_two_magnitudes(losses: tuple[float, float]) -> None:
    learner = Told(losses=[losses[0]] * 3 + [losses[1]] * 2)
    loop = epoch_loop(learner)
    (record,) = loop.fit(TAUGHT, None, 1, LossWeights(proportional=True)).records
    assert record["interaction_scale"] == 1.0
    assert epoch_loop(Told()).fit(REAL, None, 1, LossWeights(proportional=True)).records[0][
        "interaction_scale"
    ] == 1.0  # fmt: skip


class Counted(Told):
    """A learner whose losses of updates are told beforehand, one per epoch."""

    def update(self, batch: Batch, weights: LossWeights | None = None) -> float:
        """The same for all updates of an epoch."""
        return self.losses[self.epoch]

    def set_learning_rate(self, learning_rate: float) -> None:
        """The number of the epoch, from the schedule."""
        self.epoch = int(learning_rate)


def test_the_best_training_loss_begins_anew_where_it_is_of_something_else() -> None:
    def loop() -> EpochLoop:
        return EpochLoop(Counted(losses=[1.0, 0.5, 3.0, 4.0, 2.0, 9.0, 8.0]), float, 4, seed=0)

    plain, heavy = LossWeights(), LossWeights(1.0, 9.0)
    phases = [(REAL, 2, plain), (TAUGHT, 2, plain), (TAUGHT, 1, None), (TAUGHT, 2, heavy)]
    whole = loop()
    best = [r["best"] for data, n, w in phases for r in whole.fit(data, None, n, w).records]
    assert best == [True, True, True, False, True, True, True]
    assert whole.best_loss == 8.0
    half, rest = loop(), loop()
    for data, n, w in phases[:1]:
        half.fit(data, None, n, w)
    rest.restore(half.state())
    assert [r["best"] for data, n, w in phases[1:] for r in rest.fit(data, None, n, w).records] == best[2:]
    judged = EpochLoop(Counted(losses=[1.0] * 9), float, 4, seed=0)  # by one loss, where there is validation
    judged.learner.loss = lambda batch: 1.0 + judged.epoch  # type: ignore[method-assign]
    records = [r for data in (REAL, TAUGHT) for r in judged.fit(data, VALIDATION, 1).records]
    assert [r["best"] for r in records] == [True, False]


def test_gradient_norms_are_reported_where_gradients_are_clipped() -> None:
    (record,) = epoch_loop(Walker(clipped=True)).fit(REAL, None, 1).records
    assert record["gradient_norm"] == 2.0  # of 1, 2 and 3
    assert "gradient_norm" not in epoch_loop(Walker()).fit(REAL, None, 1).records[0]


def test_generated_windows_seen_are_those_of_the_last_whole_epoch() -> None:
    loop = epoch_loop(Walker(), pulse=stopping_after(6))
    assert loop.generated_seen == 0
    with pytest.raises(Stop):
        loop.fit(TAUGHT, None, 5)
    assert (loop.epoch, loop.generated_seen) == (1, 5)
    again = epoch_loop(Walker())
    again.restore(loop.state())
    assert again.generated_seen == 5
    again.fit(TAUGHT, None, 1)
    assert (again.epoch, again.generated_seen) == (2, 5)
    again.fit(REAL, None, 1)
    assert again.generated_seen == 0


def test_generated_windows_that_weigh_nothing_are_not_seen() -> None:
    loop = epoch_loop(Walker())
    (record,) = loop.fit(TAUGHT, None, 1, LossWeights(1.0, 0.0)).records
    assert (record["generated_windows"], loop.generated_seen) == (0, 0)
    (record,) = loop.fit(TAUGHT, None, 1, LossWeights(0.0, 1.0)).records
    assert (record["generated_windows"], loop.generated_seen) == (5, 5)


class Masked(FakeDataset):
    """Windows of 4 entries, of which window w shows w."""

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """As ever, and what is observed."""
        shown = np.arange(4) < np.array(indices)[:, np.newaxis]
        return replace(super().get_batch(indices), observed=shown[:, np.newaxis])


def test_evaluation_is_the_mean_over_what_is_observed() -> None:
    data = Masked(Windows((7,), 3))  # windows 0 to 4, in batches of 4 and 1: 6 entries and 4
    losses = [10.0 + 1e-3 * 1.5, 10.0 + 1e-3 * 4.0]
    found = epoch_loop(Walker()).evaluate(data)
    assert found == pytest.approx(np.dot(losses, [6, 4]) / 10, rel=1e-14)
    assert np.isnan(epoch_loop(Walker()).evaluate(Masked(Windows((3,), 3))))  # window 0 alone shows nothing


@dataclass
class Diverging(Walker):
    """A learner whose losses in updates are told beforehand, but for targets that are not finite."""

    told: tuple[float, ...] = (1.0,)

    def update(self, batch: Batch, weights: LossWeights | None = None) -> float:
        """The next one."""
        super().update(batch)
        return self.told[len(self.seen) - 1] if np.all(np.isfinite(batch.targets)) else nan


class Damaged(FakeDataset):
    """Window 5 has no number."""

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """With what is damaged."""
        batch = super().get_batch(indices)
        return replace(batch, targets=np.where(batch.targets == 5, nan, batch.targets))


FAILURES: dict[str, tuple[Walker, FakeDataset, str]] = {
    "growth": (
        Diverging(told=(2.0, 30.0, inf)),
        REAL,
        r"batch 2 in epoch 1 is inf\. .*grew from 2 to 30.*learning_rate \(now 0\.1\).*gradient_clipping",
    ),
    "no growth": (
        Diverging(told=(2.0, 2.1, nan)),
        REAL,
        r"batch 2 in epoch 1 is nan.*did not grow.*trainer\.rollout_steps.*untouched",
    ),
    "fp16": (
        Diverging(told=(2.0, inf, nan), amp="fp16"),
        REAL,
        r"batch 1 in epoch 1 is inf.*65504.*bf16 or null",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_likely_cause_of_a_loss_that_is_not_finite_is_named(name: str) -> None:
    learner, data, message = FAILURES[name]
    with pytest.raises(RunError, match=message):
        epoch_loop(replace(learner, seen=[], given=[])).fit(data, None, 1)


def test_data_that_are_not_finite_are_named_as_the_cause() -> None:
    data = Damaged(REAL.windows)
    learner = Diverging(told=(1.0, 1.0, 1.0))
    with pytest.raises(RunError, match="not finite themselves") as caught:
        epoch_loop(learner).fit(data, None, 1)
    (number,) = (i for i, batch in enumerate(learner.seen) if 5 in batch)
    assert f"batch {number} in epoch 1" in str(caught.value)


@pytest.mark.parametrize("updates", [2, 3])
def test_a_diverged_state_within_an_epoch_is_not_given_away(updates: int) -> None:
    loop = epoch_loop(Walker(broken_at=2), pulse=stopping_after(updates))
    with pytest.raises(Stop):
        loop.fit(REAL, None, 1)
    with pytest.raises(RunError, match="batch 1 in epoch 1 is nan"):
        loop.state()


def test_weights_that_an_update_broke_are_named() -> None:
    """The last update of an epoch, which no training loss shows any more."""
    loop = epoch_loop(Walker(), pulse=lambda: learner_breaks(loop, 3))
    with pytest.raises(RunError, match=r"after batch 2 in epoch 1 the weights w are not finite.*untouched"):
        loop.fit(REAL, None, 1)
    loop = epoch_loop(Walker(), pulse=lambda: learner_breaks(loop, 3))
    with pytest.raises(RunError, match="the weights w are not finite"):
        loop.fit(REAL, VALIDATION, 1)
    loop = epoch_loop(Walker(), pulse=lambda: learner_breaks(loop, 1) or loop.state())
    with pytest.raises(RunError, match="after batch 0 in epoch 1 the weights w are not finite"):
        loop.fit(REAL, VALIDATION, 1)


def learner_breaks(loop: EpochLoop, update: int) -> None:
    """Its weight is not finite after this update."""
    if len(loop.learner.seen) == update:  # type: ignore[attr-defined]
        loop.learner.assign({"w": np.array([nan])})


# ----------------------------------------------------------------------------------------------- FitLoop

GRID = Grid.of(x=(3.0, 3))


class Plain:
    """The numpy border of a model whose parameters are numpy already."""

    @staticmethod
    def numpy(array: NDArray[Any]) -> NDArray[Any]:
        """Itself."""
        return np.asarray(array)


@dataclass
class Well:
    """A model with one field, and a fitter whose loss of a window w is mean |c - goal - w / 100|^2."""

    c: NDArray[np.float64] = field(default_factory=lambda: np.array([0.1, 0.2, 0.3]))
    goal: float = 0.6
    broken: bool = False
    seen: list[list[int]] = field(default_factory=list)
    grid: Grid = GRID
    arrays: Plain = field(default_factory=Plain)

    @property
    def parameters(self) -> dict[str, NDArray[np.float64]]:
        """The field."""
        return {"c": self.c}

    def assign(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Put a field in force."""
        self.c = np.array(values["c"])

    def loss_and_gradients(self, batch: Batch, values: Any) -> tuple[float, dict[str, NDArray[np.float64]]]:
        """Mean over windows and cells."""
        self.seen.append(batch.initial.tolist())
        if self.broken:
            return nan, {"c": np.zeros(3)}
        error = values["c"] - self.goal - batch.initial[:, np.newaxis] / 100.0
        return float(np.mean(error**2)), {"c": 2.0 * error.mean(axis=0) / 3.0}

    def loss(self, batch: Batch) -> float:
        """The loss with the field in force."""
        return self.loss_and_gradients(batch, {"c": self.c})[0]


def fit_loop(well: Well, bounds: tuple[float, float] = (0.0, 1.0), **options: Any) -> FitLoop:
    solve = Solve(abs_tol=1e-13, rel_tol=1e-16, max_iterations=60)
    return FitLoop(well, well, {"c": bounds}, solve=solve, batch_size=4, **options)


class Alive(FakeDataset):
    """Windows in batches of which it counts how many there are at a time."""

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """A batch that is known to be alive."""
        batch = super().get_batch(indices)
        born.append(weakref.ref(batch))
        most.append(sum(one() is not None for one in born))
        return batch


born: list[weakref.ref[Batch]] = []
most: list[int] = []


@pytest.mark.parametrize("streams", [True, False])
def test_a_fit_of_windows_from_files_gets_them_anew_and_holds_none(streams: bool) -> None:
    born.clear()
    most.clear()
    plain, well = Well(), Well()
    data = Alive(Windows((20,), 3), streams=streams)
    (expected,) = fit_loop(plain).fit(FakeDataset(Windows((20,), 3)), None, 1).records
    (found,) = fit_loop(well).fit(data, data, 1).records
    assert found["train_loss"] == expected["train_loss"]
    assert found["evaluations"] == expected["evaluations"]
    assert np.array_equal(well.c, plain.c)
    assert max(most) <= 3 if streams else max(most) >= 5  # of five batches; validation holds none of its own


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_losses_in_main_memory_are_taken_at_once(device: str) -> None:
    """A tensor of a few bytes that outlives its batch makes the memory of a process grow with an epoch."""

    class Native(float):
        pass

    loss, norm = Native(2.0), Native(3.0)
    loss.device = norm.device = device  # type: ignore[attr-defined]
    progress = Progress()
    progress.add(loss, FakeDataset(Windows((5,), 2)).get_batch([0, 1]), norm)
    taken = float if device == "cpu" else Native
    assert [type(v) for v in (*progress._losses, *progress.norms)] == [taken, taken]
    assert progress.losses() == [2.0]
    assert progress.mean_norm() == 3.0


def test_a_fit_minimises_the_mean_over_all_windows_at_once() -> None:
    well = Well()
    (record,) = fit_loop(well).fit(REAL, None, 1).records
    assert np.abs(well.c - (0.6 + 4.0 / 100)).max() < 1e-6  # windows 0 to 8: the mean is 4
    assert [len(b) for b in well.seen[:3]] == [4, 4, 1]
    assert joined(well.seen[:3]) == list(range(9))
    spread = np.mean((np.arange(9) - 4.0) ** 2) / 1e4
    assert record["train_loss"] == pytest.approx(spread, rel=1e-6)
    assert record["initial_loss"] == pytest.approx(np.mean(np.array([0.54, 0.44, 0.34]) ** 2) + spread)
    assert record["windows"] == 9
    assert record["status"] == "converged"
    assert record["best"]
    assert record["parameters"]["c"] == {
        "mean": pytest.approx(0.64, abs=1e-6),
        "min": pytest.approx(0.64, abs=1e-6),
        "max": pytest.approx(0.64, abs=1e-6),
    }


def test_a_stride_thins_out_real_windows_and_keeps_all_generated_ones() -> None:
    well = Well()
    data = FakeDataset(Windows((7, 6), 3, generated=(5,)))
    (record,) = fit_loop(well, window_stride=4).fit(data, None, 1).records
    assert joined(well.seen[:2]) == [0, 4, 8, 9, 10, 11]
    assert (record["windows"], record["generated_windows"]) == (6, 3)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0, 3.0])
def test_a_generated_window_counts_its_weight(weight: float) -> None:
    well = Well()
    data = FakeDataset(Windows((7, 6), 3, generated=(6,)))  # real windows 0 to 8, generated ones 9 to 12
    (record,) = fit_loop(well).fit(data, None, 1, LossWeights(interaction=weight)).records
    mean = (sum(range(9)) + weight * sum(range(9, 13))) / (9 + 4 * weight)
    assert np.abs(well.c - (0.6 + mean / 100)).max() < 1e-6
    seen = 4 if weight else 0  # what counts nothing is not even rolled out
    assert [len(b) for b in well.seen[:4]] == [4, 4, 1, seen or 4]
    assert joined(well.seen).count(9) == (record["evaluations"] if weight else 0)
    assert (record["windows"], record["generated_windows"]) == (9 + seen, seen)


def test_bounds_hold() -> None:
    well = Well()
    fit_loop(well, bounds=(0.15, 0.5)).fit(REAL, None, 1)
    assert well.c.tolist() == [0.5, 0.5, 0.5]


def test_the_next_solve_starts_where_the_last_one_ended() -> None:
    well = Well()
    records = fit_loop(well).fit(REAL, None, 2).records
    assert records[1]["initial_loss"] == pytest.approx(records[0]["train_loss"], rel=1e-12)
    assert [r["epoch"] for r in records] == [1, 2]
    assert records[1]["iterations"] == 0


def test_a_diverged_solve_keeps_the_parameters_and_says_so() -> None:
    well = Well(broken=True)
    (record,) = fit_loop(well).fit(REAL, None, 1).records
    assert well.c.tolist() == [0.1, 0.2, 0.3]
    assert record["status"] == "diverged"
    assert (
        record["non_finite_evaluations"] == record["attempts"] == 1
    )  # no step is small enough to leave here
    assert not record["best"]
    assert record["train_loss"] is record["initial_loss"] is record["real_loss"] is None
    json.dumps(record, allow_nan=False)


def test_best_is_judged_on_validation() -> None:
    well = Well()
    loop = fit_loop(well)
    far = FakeDataset(Windows((40,), 3))  # windows 0 to 37: the mean is 18.5, that of the validation is 1
    records = loop.fit(VALIDATION, VALIDATION, 1).records + loop.fit(far, VALIDATION, 1).records
    assert [r["best"] for r in records] == [True, False]
    assert np.abs(well.c - (0.6 + 18.5 / 100)).max() < 1e-6
    loop.use_best()
    assert np.abs(well.c - (0.6 + 1.0 / 100)).max() < 1e-6
    assert loop.best_loss == pytest.approx(2e-4 / 3, rel=1e-6) == records[0]["validation_loss"]


def test_smoothness_draws_neighbours_together_and_stays_out_of_the_losses() -> None:
    class Peak(Well):
        def loss_and_gradients(
            self, batch: Batch, values: Any
        ) -> tuple[float, dict[str, NDArray[np.float64]]]:
            error = values["c"] - np.array([0.2, 0.8, 0.2])
            return float(np.mean(error**2)), {"c": 2.0 * error / 3.0}

    rough, smooth = Peak(), Peak()
    fit_loop(rough).fit(REAL, None, 1)
    (record,) = fit_loop(smooth, smoothness=0.5).fit(REAL, None, 1).records
    assert np.ptp(rough.c) == pytest.approx(0.6, abs=1e-6)
    assert np.ptp(smooth.c) < 0.3
    assert smooth.c.mean() == pytest.approx(0.4, abs=1e-6)
    assert record["train_loss"] == pytest.approx(float(np.mean((smooth.c - [0.2, 0.8, 0.2]) ** 2)), rel=1e-10)
    assert record["regularisation"] == pytest.approx(0.5 * float(np.mean(np.diff(smooth.c) ** 2)), rel=1e-10)


def test_a_restored_fit_goes_on_as_if_nothing_had_happened() -> None:
    whole, half, rest = Well(), Well(), Well()
    options = {"smoothness": 0.1}
    reference = fit_loop(whole, **options)
    expected = reference.fit(REAL, VALIDATION, 3).records
    first, second = fit_loop(half, **options), fit_loop(rest, **options)
    first.fit(REAL, VALIDATION, 1)
    second.restore(first.state())
    assert np.array_equal(rest.c, half.c)
    found = second.fit(REAL, VALIDATION, 2).records
    for a, b in zip(expected[1:], found, strict=True):
        assert {k: v for k, v in a.items() if k != "timing"} == {k: v for k, v in b.items() if k != "timing"}
    assert np.array_equal(rest.c, whole.c)
    assert second.best_loss == reference.best_loss


@pytest.mark.parametrize("number", range(6))
def test_a_fit_state_that_does_not_fit_is_refused_whole(number: int) -> None:
    source = fit_loop(Well())
    source.fit(REAL, None, 1)
    message, state = list(bad_states(source.state(), "parameters", "c").items())[number]
    well = Well()
    loop = fit_loop(well)
    with pytest.raises(CheckpointError, match=message):
        loop.restore(state)
    assert well.c.tolist() == [0.1, 0.2, 0.3]
    assert loop.best_values == {}


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (3.0, 0.0)])
def test_the_objective_is_the_weighted_mean_of_both_kinds(weights: tuple[float, float]) -> None:
    """(R n_r L_r + I n_g L_g) / (R n_r + I n_g), whatever the batches are."""
    well = Well()
    data = FakeDataset(Windows((7, 6), 3, generated=(6,)))
    (record,) = fit_loop(well).fit(data, None, 1, LossWeights(*weights)).records
    losses = [np.mean((well.c - 0.6 - np.array(w)[:, None] / 100) ** 2) for w in (range(9), range(9, 13))]
    expected = np.dot(losses, np.multiply(weights, (9, 4))) / np.dot(weights, (9, 4))
    assert record["train_loss"] == pytest.approx(expected, rel=1e-10)
    for key, loss, weight in zip(("real_loss", "interaction_loss"), losses, weights, strict=True):
        assert record[key] == (pytest.approx(loss, rel=1e-10) if weight else None)
    assert record["interaction_scale"] == 1.0


def test_a_fit_without_any_window_is_refused() -> None:
    loop = fit_loop(Well())
    with pytest.raises(ConfigError, match=r"of 9 windows none takes part.*interaction 1"):
        loop.fit(REAL, None, 1, LossWeights(real=0.0))


def test_proportional_brings_the_interaction_to_the_magnitude_of_the_real_loss() -> None:
    """The scale is L_r / L_g at the start of each solve; it scales the term, not what the windows count."""
    well = Well(c=np.full(3, 0.55))
    data = FakeDataset(Windows((7, 6), 3, generated=(6,)))
    loop = fit_loop(well)
    records = loop.fit(data, None, 2, LossWeights(1.0, 0.5, proportional=True)).records

    def losses(c: float) -> tuple[float, float]:
        real, generated = (np.mean((c - 0.6 - np.array(w) / 100) ** 2) for w in (range(9), range(9, 13)))
        return float(real), float(generated)

    c = 0.55
    for record in records:
        real, generated = losses(c)
        scale = real / generated
        assert record["interaction_scale"] == pytest.approx(scale, rel=1e-6)
        assert record["initial_loss"] == pytest.approx(real, rel=1e-6)  # both terms are as large then
        c = (9 * 0.64 + 2 * scale * (0.6 + 0.105)) / (9 + 2 * scale)
        assert record["parameters"]["c"]["mean"] == pytest.approx(c, abs=1e-6)
    assert np.abs(well.c - c).max() < 1e-6


@pytest.mark.parametrize("value", [0.0, nan, inf])
def test_a_scale_that_would_be_nothing_is_one(value: float) -> None:
    class Strange(Well):
        def loss(self, batch: Batch) -> float:
            return value if batch.generated else 0.5

    data = FakeDataset(Windows((7, 6), 3, generated=(6,)))
    (record,) = fit_loop(Strange()).fit(data, None, 1, LossWeights(proportional=True)).records
    assert record["interaction_scale"] == 1.0


def entries(windows: Any) -> Any:
    """How many of its six entries a window shows: 0, 1, 2, 3, 0, 2, 4, 6, 0, 2, 4, 6, 0 ..."""
    return np.mod(windows, 4) * np.where(np.less(windows, 4), 1, 2)


@dataclass
class Partly(FakeDataset):
    """Windows of two frames on three cells, of which some entries are observed."""

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """With what is observed."""
        batch = super().get_batch(indices)
        shown = np.arange(6) < entries(batch.initial)[:, np.newaxis]
        return replace(batch, observed=shown.reshape(-1, 2, 3))


class Observed(Well):
    """A well whose loss of a batch is the mean over its observed entries, not over its windows."""

    def loss_and_gradients(self, batch: Batch, values: Any) -> tuple[float, dict[str, NDArray[np.float64]]]:
        assert batch.observed is not None
        shown = batch.observed.sum(axis=(1, 2))
        self.seen.append(batch.initial.tolist())
        error = values["c"] - self.goal - batch.initial[:, np.newaxis] / 100.0
        share = shown[:, np.newaxis] / shown.sum()
        return float(np.sum(share * error**2) / 3), {"c": 2.0 * np.sum(share * error, axis=0) / 3.0}


def test_a_loss_is_a_mean_over_what_is_observed_in_all_windows() -> None:
    """The first batch shows 6 entries, the second one 12, and the last one, window 8 alone, none."""
    well, data = Observed(), Partly(Windows((7, 6), 3))
    loop = fit_loop(well)
    (record,) = loop.fit(data, data, 1).records
    shown = entries(np.arange(9))
    mean = np.dot(shown, np.arange(9)) / shown.sum()
    assert np.abs(well.c - (0.6 + mean / 100)).max() < 1e-6
    spread = np.dot(shown, (np.arange(9) - mean) ** 2) / shown.sum() / 1e4
    for key in ("train_loss", "real_loss", "validation_loss"):
        assert record[key] == pytest.approx(spread, rel=1e-6)
    assert record["windows"] == 6
    assert [8] not in well.seen


def test_masked_kinds_keep_the_weight_of_their_windows() -> None:
    """Of 9 real windows 6 show anything, of 4 generated ones (9 to 12) 3: 6 L_r + 3 L_g."""
    well = Observed()
    (record,) = fit_loop(well).fit(Partly(Windows((7, 6), 3, generated=(6,))), None, 1).records
    means = []
    for windows in (np.arange(9), np.arange(9, 13)):
        means.append(np.dot(entries(windows), windows) / np.sum(entries(windows)))
    assert np.abs(well.c - (0.6 + np.dot(means, (6, 3)) / 9 / 100)).max() < 1e-6
    assert (record["windows"], record["generated_windows"]) == (9, 3)


def test_nothing_observed_is_said() -> None:
    blind = Partly(Windows((3,), 3))  # window 0 alone
    with pytest.raises(ConfigError, match=r"of 1 windows none takes part.*nothing is observed"):
        fit_loop(Observed()).fit(blind, None, 1)
    with pytest.raises(ConfigError, match="nothing is observed in the windows that it is to be judged by"):
        fit_loop(Observed()).evaluate(blind)


class Peak(Well):
    """A well whose bottom is a peak in the middle cell."""

    bottom = np.array([0.2, 0.8, 0.2])

    def loss_and_gradients(self, batch: Batch, values: Any) -> tuple[float, dict[str, NDArray[np.float64]]]:
        error = values["c"] - self.bottom
        return float(np.mean(error**2)), {"c": 2.0 * error / 3.0}


def test_total_variation_lowers_a_peak_and_adds_to_smoothness_in_the_record() -> None:
    flat, both = Peak(), Peak()
    (record,) = fit_loop(flat, total_variation=0.1).fit(REAL, None, 1).records
    # every cell pulls by 2/3 of its distance, each of the two faces by 0.1 / 2
    assert flat.c == pytest.approx([0.275, 0.65, 0.275], abs=1e-4)
    assert record["regularisation"] == pytest.approx(0.1 * total_variation(flat.c, GRID)[0], rel=1e-12)
    assert record["train_loss"] == pytest.approx((2 * 0.075**2 + 0.15**2) / 3, rel=1e-3)
    (record,) = fit_loop(both, total_variation=0.1, smoothness=0.5).fit(REAL, None, 1).records
    expected = 0.1 * total_variation(both.c, GRID)[0] + 0.5 * squared_gradient(both.c, GRID)[0]
    assert record["regularisation"] == pytest.approx(expected, rel=1e-12)
    assert np.ptp(both.c) < np.ptp(flat.c)


WAVES = {"c": basis_of(GRID, name="fourier", modes=1)}
BUMPS = {"c": basis_of(GRID, name="gaussians", count=2)}


@pytest.mark.parametrize("method", ["L-BFGS-B", "adam"])
@pytest.mark.parametrize("bases", [WAVES, BUMPS], ids=["fourier", "gaussians"])
def test_a_fit_in_a_basis_finds_the_field_within_bounds(bases: Any, method: Any) -> None:
    """Three cells, three coefficients: everything can be represented, so that the bounds alone decide."""
    well = Peak(c=np.full(3, 0.4))
    loop = fit_loop(well, bounds=(0.25, 0.7), bases=bases)
    loop.solve = Solve(1e-10, 0.0, 3000, method, 0.02)
    (record,) = loop.fit(REAL, None, 1).records
    assert np.abs(well.c - [0.25, 0.7, 0.25]).max() < 1e-6
    assert record["initial_loss"] == pytest.approx(np.mean(np.array([0.2, 0.4, 0.2]) ** 2))
    assert np.array_equal(np.clip(bases["c"].field(loop.coefficients["c"]), 0.25, 0.7), well.c)


@pytest.mark.parametrize("method", ["L-BFGS-B", "adam"])
@pytest.mark.parametrize("bases", [WAVES, BUMPS], ids=["fourier", "gaussians"])
def test_a_field_that_a_step_drove_out_of_its_bounds_comes_back(bases: Any, method: Any) -> None:
    """The first step leads to where all cells are clipped, the loss is lower, and flat around."""
    low = Peak(c=np.full(3, 0.9))
    low.bottom = np.array([0.02, 0.05, 0.02])
    loop = fit_loop(low, bounds=(0.0, 20.0), bases=bases)
    loop.solve = Solve(1e-12, 0.0, 2000, method, 0.05)
    loop.fit(REAL, None, 1)
    assert np.abs(low.c - low.bottom).max() < 1e-5


@pytest.mark.parametrize("bases", [None, WAVES, BUMPS], ids=["cells", "fourier", "gaussians"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "adam"])
def test_a_restored_fit_repeats_every_bit(bases: Any, method: Any) -> None:
    """Also of coefficients that their field does not tell, since it is clipped."""

    def loop(well: Well) -> FitLoop:
        made = fit_loop(well, (0.25, 0.7), bases=bases, smoothness=0.01, total_variation=0.02)
        made.solve = Solve(0.0, 0.0, 4, method, 0.1)
        return made

    whole, half, rest = (Peak(c=np.array([0.3, 0.5, 0.4])) for _ in range(3))
    reference, first, second = loop(whole), loop(half), loop(rest)
    expected = reference.fit(REAL, VALIDATION, 3).records
    first.fit(REAL, VALIDATION, 1)
    second.restore(first.state())
    for mine, its in ((second.values, first.values), (second.coefficients, first.coefficients)):
        assert np.array_equal(mine["c"], its["c"])
    found = second.fit(REAL, VALIDATION, 2).records
    for a, b in zip(expected[1:], found, strict=True):
        assert {k: v for k, v in a.items() if k != "timing"} == {k: v for k, v in b.items() if k != "timing"}
    one, other = reference.state(), second.state()
    assert one.facts == other.facts
    assert one.arrays.keys() == other.arrays.keys()
    assert all(np.array_equal(one.arrays[n], other.arrays[n]) for n in one.arrays)
    second.use_best()
    assert np.array_equal(second.state().arrays["parameters.c"], one.arrays["best.c"])


def test_the_best_coefficients_are_restored_with_their_field() -> None:
    loop, other = (fit_loop(Well(), bases=WAVES) for _ in range(2))
    loop.fit(VALIDATION, VALIDATION, 1)
    best = loop.coefficients["c"]
    loop.fit(FakeDataset(Windows((40,), 3)), VALIDATION, 1)
    assert not np.array_equal(loop.coefficients["c"], best)
    other.restore(loop.state())
    other.use_best()
    assert np.array_equal(other.coefficients["c"], best)
    assert np.array_equal(other.state().arrays["coefficients.c"], best)


def test_coefficients_and_cells_are_not_taken_for_each_other() -> None:
    cells, waves, bumps = fit_loop(Well()), fit_loop(Well(), bases=WAVES), fit_loop(Well(), bases=BUMPS)
    for loop in (cells, waves, bumps):
        loop.fit(REAL, None, 1)
    for source, target in ((cells, waves), (waves, cells), (waves, bumps)):
        before = target.state()
        with pytest.raises(CheckpointError, match="was learned in the bases"):
            target.restore(source.state())
        assert np.array_equal(target.state().arrays["parameters.c"], before.arrays["parameters.c"])
    state = waves.state()
    missing = {n: a for n, a in state.arrays.items() if n != "coefficients.c"}
    with pytest.raises(CheckpointError, match="coefficients: does not fit this model: missing c"):
        waves.restore(replace(state, arrays=missing))


def test_a_state_of_an_earlier_version_is_restored() -> None:
    loop, fresh = fit_loop(Well()), fit_loop(Well())
    loop.fit(REAL, None, 1)
    state = loop.state()
    fresh.restore(TrainingState(state.arrays, {"epoch": 1, "best_loss": loop.best_loss}))
    assert (fresh.epoch, fresh.failures, fresh.generated_seen) == (1, 0, 0)
    assert np.array_equal(fresh.coefficients["c"], loop.coefficients["c"])


@dataclass
class Cliff(Well):
    """A well, not finite where any cell is beyond an edge; the gradient is that of a steep slope there."""

    edge: float = 0.31

    def loss_and_gradients(self, batch: Batch, values: Any) -> tuple[float, dict[str, NDArray[np.float64]]]:
        loss, gradient = super().loss_and_gradients(batch, values)
        return (nan, gradient) if values["c"].max() > self.edge else (loss, gradient)


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (5, 4)])
def test_a_diverged_solve_is_tried_again_with_a_tenth_of_the_step(retries: int, attempts: int) -> None:
    """The first step of 0.05 goes over the edge, so does a tenth; a thousandth does not."""
    well = Cliff(edge=0.3004)
    loop = fit_loop(well)
    loop.solve = Solve(0.0, 0.0, 3, "adam", 0.05, retries=retries, max_failures=9)
    (record,) = loop.fit(REAL, None, 1).records
    assert record["attempts"] == attempts
    if attempts == 4:
        assert (record["status"], record["failures"]) == ("stopped", 0)
        assert record["train_loss"] < record["initial_loss"]
        assert well.c[2] > 0.3
    else:
        assert (record["status"], record["failures"], record["best"]) == ("diverged", 1, True)
        assert loop.best_values["c"].tolist() == [0.1, 0.2, 0.3]  # the start: there is nothing better
        assert record["train_loss"] == record["initial_loss"]
        assert well.c.tolist() == [0.1, 0.2, 0.3]
    assert record["non_finite_evaluations"] == min(attempts, 3)
    assert record["evaluations"] >= 2 * attempts


def test_l_bfgs_b_backs_off_into_a_smaller_box() -> None:
    """A line search that meets nothing finite; the next attempt goes no further than a tenth of the range."""
    start = [0.1, 0.2, 0.3]

    class Moody(Well):
        left = 8  # as many points as a line search tries; the start is none of them
        good: ClassVar[list[float]] = []

        def loss_and_gradients(
            self, batch: Batch, values: Any
        ) -> tuple[float, dict[str, NDArray[np.float64]]]:
            loss, gradient = super().loss_and_gradients(batch, values)
            far = float(np.abs(values["c"] - start).max())
            if far and self.left:
                self.left -= 1
                return nan, gradient
            self.good.append(far)
            return loss, gradient

    well = Moody()
    (record,) = fit_loop(well).fit(VALIDATION, None, 1).records
    assert record["attempts"] == 2
    assert record["non_finite_evaluations"] == 8
    assert record["status"] == "stopped"
    assert "reach" in record["message"]
    assert well.c == pytest.approx([0.2, 0.3, 0.4])
    assert max(well.good) == pytest.approx(0.1)


def test_failures_in_a_row_are_counted_and_end_the_run_with_an_explanation() -> None:
    well = Well()
    records: list[Record] = []
    loop = fit_loop(well, observe=records.append)
    loop.fit(REAL, VALIDATION, 1)
    good = well.c.copy()
    well.broken = True
    loop.fit(REAL, VALIDATION, 2)
    well.broken = False
    loop.fit(REAL, VALIDATION, 1)
    assert [r["failures"] for r in records] == [0, 1, 2, 0]
    well.broken = True
    with pytest.raises(RunError) as caught:
        loop.fit(REAL, VALIDATION, 9)
    for part in (
        "solves 5 to 7 diverged (3 in a row, trainer.physical.solve.max_failures is 3)",
        "the loss is not finite at the start",
        "model.physical.substeps",
        "initial_guess",
        "trainer.rollout_steps",
    ):
        assert part in str(caught.value)
    assert [r["failures"] for r in records] == [0, 1, 2, 0, 1, 2, 3]
    assert [r["epoch"] for r in records] == [1, 2, 3, 4, 5, 6, 7]
    assert np.abs(well.c - good).max() < 1e-6
    assert not any(r["best"] for r in records[1:3] + records[4:])
    for record in records:
        json.dumps(record, allow_nan=False)


def test_failures_are_counted_on_after_a_restart() -> None:
    well, other = Well(broken=True), Well(broken=True)
    first, second = fit_loop(well), fit_loop(other)
    first.fit(REAL, None, 2)
    second.restore(first.state())
    with pytest.raises(RunError, match="solves 1 to 3 diverged"):
        second.fit(REAL, None, 1)


def test_parameters_whose_validation_loss_is_not_finite_are_not_kept() -> None:
    """They are tried again with smaller steps, then given up."""

    class Blind(Well):
        def loss(self, batch: Batch) -> float:
            return inf if self.c.max() > 0.3005 else super().loss(batch)

    well = Blind()
    loop = fit_loop(well)
    loop.solve = Solve(0.0, 0.0, 3, "adam", 0.01, retries=1)
    (record,) = loop.fit(REAL, VALIDATION, 1).records
    assert (record["status"], record["attempts"]) == ("diverged", 2)
    assert "validation loss" in record["message"]
    assert well.c.tolist() == [0.1, 0.2, 0.3]
    assert record["train_loss"] == record["initial_loss"]
    assert record["validation_loss"] == pytest.approx(Well().loss(VALIDATION.get_batch(range(3))), rel=1e-12)
    loop.solve = Solve(0.0, 0.0, 3, "adam", 0.01, retries=2)
    (record,) = loop.fit(REAL, VALIDATION, 1).records
    assert (record["status"], record["attempts"], record["failures"]) == ("stopped", 3, 0)
    assert 0.3 < well.c.max() < 0.3005


def test_the_best_fit_begins_anew_where_its_loss_is_of_something_else() -> None:
    well = Well()
    loop = fit_loop(well)
    (alone,) = loop.fit(REAL, None, 1).records
    states = [loop.state()]
    found = []
    for weights in (LossWeights(), LossWeights(), LossWeights(1.0, 0.5)):
        (record,) = loop.fit(TAUGHT, None, 1, weights).records
        found.append((record["best"], record["train_loss"] > alone["train_loss"]))
        states.append(loop.state())
    assert found == [(True, True), (False, True), (True, True)]  # a second solve of the same finds no less
    assert np.array_equal(loop.best_values["c"], well.c)
    again = fit_loop(Well())
    again.restore(states[0])
    (record,) = again.fit(TAUGHT, None, 1, LossWeights()).records
    assert record["best"]


def test_generated_windows_seen_are_remembered() -> None:
    data = FakeDataset(Windows((7, 6), 3, generated=(5,)))
    loop, other = fit_loop(Well()), fit_loop(Well())
    assert loop.generated_seen == 0
    loop.fit(data, None, 1)
    assert loop.generated_seen == 3
    other.restore(loop.state())
    assert other.generated_seen == 3
    loop.fit(data, None, 1, LossWeights(interaction=0.0))
    assert loop.generated_seen == 0


def test_observers_of_a_fit_get_the_records_and_progress_the_iterations() -> None:
    records: list[Record] = []
    iterations: list[int] = []
    loop = fit_loop(Well(), observe=records.append, progress=lambda i, loss: iterations.append(i))
    history = loop.fit(REAL, None, 2)
    assert records == history.records
    assert loop.epoch == 2
    assert iterations[: records[0]["iterations"]] == list(range(1, records[0]["iterations"] + 1))


def test_no_epochs_is_no_work() -> None:
    well = Well()
    assert fit_loop(well).fit(REAL, None, 0).records == []
    assert well.seen == []
