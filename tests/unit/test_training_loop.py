"""The two training loops, with learners that are one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import CheckpointError, RunError
from hyco.interfaces import Batch, Record, Solve, TrainingState
from hyco.learning.fitting import FitLoop
from hyco.learning.schedules import learning_rate_schedule
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
    broken_at: int | None = None

    def update(self, batch: Batch) -> float:
        """Walk one step; the loss before it."""
        self.seen.append(batch.initial.tolist())
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


def epoch_loop(learner: Walker, rate: float = 0.1, seed: int = 0, **options: Any) -> EpochLoop:
    return EpochLoop(learner, learning_rate_schedule("constant", rate, 9), 4, seed, **options)


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
    schedule = learning_rate_schedule("cosine", 0.2, 4)
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
    reference = EpochLoop(whole, learning_rate_schedule("cosine", 0.1, 4), 4, 5)
    expected = reference.fit(REAL, VALIDATION, 4).records
    first = EpochLoop(half, learning_rate_schedule("cosine", 0.1, 4), 4, 5)
    first.fit(REAL, VALIDATION, stop)
    second = EpochLoop(rest, learning_rate_schedule("cosine", 0.1, 4), 4, 5)
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

    def update(self, batch: Batch) -> float:
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
    fit_loop(well, interaction_weight=weight).fit(data, None, 1)
    mean = (sum(range(9)) + weight * sum(range(9, 13))) / (9 + 4 * weight)
    assert np.abs(well.c - (0.6 + mean / 100)).max() < 1e-6
    assert [len(b) for b in well.seen[:4]] == [4, 4, 1, 4]


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
    assert record["non_finite_evaluations"] == 1
    assert not record["best"]


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
