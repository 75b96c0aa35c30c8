"""What every trainer promises, plain and behind an adapter that takes the other side's datasets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.config import Config
from hyco.errors import CheckpointError, RunError
from hyco.interfaces import LossWeights, Record
from hyco.migration.factory import Factory
from hyco.migration.registry import implementations, use_mode
from hyco.testing import assert_equivalent
from hyco.testing.experiments import write_data
from tests.experiments import tiny
from tests.sides import SIDES, Seen, registered

KINDS = ("synthetic", "physical")
trainers = pytest.mark.parametrize(
    ("kind", "seen"),
    [(kind, seen) for kind in KINDS for seen in registered(f"{kind}_trainer")],
    ids=lambda value: str(value),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """An experiment on a line, with data that no coefficient explains to the last digit."""
    overrides = ["trainer.synthetic.epochs=4", "trainer.physical.solve.max_iterations=3"]
    config = tiny(tmp_path_factory.mktemp("trainers"), overrides)
    write_data(config, noise=0.02)
    return config


@dataclasses.dataclass
class Stage:
    """A trainer as it is seen, with the datasets of the side it is seen from."""

    trainer: Any
    train: Any
    validation: Any
    records: list[Record]

    def fit(self, epochs: int) -> list[Record]:
        """Train on."""
        return self.trainer.fit(self.train, self.validation, epochs=epochs).records


def stage(config: Config, kind: str, seen: Seen, *overrides: str) -> Stage:
    """A trainer of one side behind the adapter to the other, if any."""
    assert implementations(f"{kind}_trainer") == [seen.name]
    if overrides:
        config = tiny(config.data.data_dir.parent, ["trainer.synthetic.epochs=4", *overrides])
    records: list[Record] = []
    factory = Factory(config, observe=records.append)
    with use_mode(seen.side):
        if kind == "synthetic":
            inner: Any = factory.synthetic_trainer(factory.synthetic_model())
        else:
            inner = factory.physical_trainer(factory.physical_model(config.initial_parameters()))
    with use_mode(seen.through):
        manager = factory.data_manager()
        train, validation = (factory.dataset(manager, s) for s in ((0,), (1,)))
    return Stage(factory.adapt(inner, seen.through), train, validation, records)


def learned(trainer: Any) -> dict[str, NDArray[Any]]:
    """What is in force: weights or parameters."""
    model = trainer.model
    if hasattr(model, "weights"):
        return model.weights()
    return {name: model.arrays.numpy(p).copy() for name, p in model.parameters.items()}


def same(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def assert_same_records(expected: list[Record], found: list[Record]) -> None:
    """The same records but for their clocks; a fresh trace is optimised later, hence the rounding."""
    plain = [
        [{k: v for k, v in r.items() if isinstance(v, int | str)} for r in rs] for rs in (expected, found)
    ]
    assert plain[0] == plain[1]
    losses = [
        {f"{i} {k}": v for i, r in enumerate(rs) for k, v in r.items() if isinstance(v, float)}
        for rs in (expected, found)
    ]
    assert_equivalent(*losses, "resumed training", precision="float64")


def assert_same_state(expected: Any, found: Any) -> None:
    """The same arrays to rounding, and the same epoch."""
    arrays = dict(expected.state().arrays), dict(found.state().arrays)
    assert_equivalent(*arrays, "resumed training", precision="float64")
    assert expected.epochs_done == found.epochs_done


COMMON = {"kind", "model", "epoch", "train_loss", "validation_loss", "generated_windows", "best", "timing"}
KEYS = {
    "synthetic": COMMON | {"learning_rate", "rollout_steps"},
    "physical": COMMON
    | {"initial_loss", "iterations", "evaluations", "non_finite_evaluations", "status", "message"}
    | {"windows", "parameters", "regularisation", "attempts", "failures"}
    | {"real_loss", "interaction_loss", "interaction_scale"},
}


@trainers
def test_a_fit_learns_and_tells(config: Config, kind: str, seen: Seen) -> None:
    s = stage(config, kind, seen)
    assert s.trainer.mode == seen.through
    assert s.trainer.epochs_done == 0
    before = s.trainer.evaluate(s.train)
    records = s.fit(2)
    assert s.trainer.epochs_done == 2
    assert records == s.records
    assert [r["epoch"] for r in records] == [1, 2]
    assert all(set(r) == KEYS[kind] for r in records)
    assert all(r["model"] == kind for r in records)
    assert s.trainer.evaluate(s.train) < before
    assert records[-1]["validation_loss"] == pytest.approx(s.trainer.evaluate(s.validation), rel=1e-13)


@trainers
def test_evaluation_is_the_mean_square_error_of_rollouts(config: Config, kind: str, seen: Seen) -> None:
    s = stage(config, kind, seen)
    batch = s.train.get_batch(range(len(s.train)))
    initial, targets = (s.train.arrays.numpy(t) for t in (batch.initial, batch.targets))
    rollout = s.trainer.model.predict(initial, targets.shape[2])
    expected = float(np.mean((rollout[:, :, 1:] - targets) ** 2))
    assert s.trainer.evaluate(s.train) == pytest.approx(expected, rel=1e-13)
    taught = s.train.with_generated(s.train.arrays.trajectory(5.0 + targets))
    assert s.trainer.evaluate(taught) == pytest.approx(expected, rel=1e-13)


@trainers
def test_evaluation_changes_nothing(config: Config, kind: str, seen: Seen) -> None:
    s = stage(config, kind, seen, "model.synthetic.architecture.batch_norm=true")
    before = {n: a.copy() for n, a in s.trainer.state().arrays.items()}
    s.trainer.evaluate(s.train)
    assert same(before, dict(s.trainer.state().arrays))


@trainers
def test_a_restored_trainer_goes_on_as_if_nothing_had_happened(
    config: Config, kind: str, seen: Seen, tmp_path: Path
) -> None:
    whole, half, rest = (stage(config, kind, seen) for _ in range(3))
    expected = whole.fit(3)
    half.fit(1)
    path = tmp_path / f"state{half.trainer.suffix}"
    half.trainer.save(path)
    rest.trainer.load(path)
    assert rest.trainer.epochs_done == 1
    assert same(learned(rest.trainer), learned(half.trainer))
    assert_same_records(expected[1:], rest.fit(2))
    assert_same_state(whole.trainer, rest.trainer)


@trainers
def test_a_saved_beginning_is_a_beginning(config: Config, kind: str, seen: Seen, tmp_path: Path) -> None:
    fresh, other = stage(config, kind, seen), stage(config, kind, seen)
    path = tmp_path / f"state{fresh.trainer.suffix}"
    fresh.trainer.save(path)
    other.fit(1)
    other.trainer.load(path)
    assert other.trainer.epochs_done == 0
    assert_same_records(fresh.fit(1), other.fit(1))


@trainers
def test_the_best_state_can_be_put_in_force(config: Config, kind: str, seen: Seen) -> None:
    rate = [
        "trainer.synthetic.learning_rate=0.3",
        "trainer.synthetic.scheduler=constant",
        "trainer.physical.epochs=1",
    ]
    s = stage(config, kind, seen, *rate)
    untouched = learned(s.trainer)
    s.trainer.use_best()
    assert same(learned(s.trainer), untouched)
    records = s.fit(4)
    least = min(r["validation_loss"] for r in records)
    assert [r["best"] for r in records] == [
        r["validation_loss"] < min([np.inf, *(p["validation_loss"] for p in records[:i])])
        for i, r in enumerate(records)
    ]
    s.trainer.use_best()
    assert s.trainer.evaluate(s.validation) == pytest.approx(least, rel=1e-13)


@trainers
def test_no_epochs_are_no_work(config: Config, kind: str, seen: Seen) -> None:
    s = stage(config, kind, seen)
    before = learned(s.trainer)
    assert s.fit(0) == []
    assert s.records == []
    assert same(learned(s.trainer), before)


@trainers
def test_a_state_that_does_not_fit_is_refused_by_name(
    config: Config, kind: str, seen: Seen, tmp_path: Path
) -> None:
    s = stage(config, kind, seen)
    s.fit(1)
    before, state = learned(s.trainer), s.trainer.state()
    prefix = {"synthetic": "weights", "physical": "parameters"}[kind]
    first = next(n for n in state.arrays if n.startswith(prefix))
    arrays = {**state.arrays, first: np.zeros((9, 9)), f"{prefix}.extra": np.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        s.trainer.restore(dataclasses.replace(state, arrays=arrays))
    assert "expected shape" in str(caught.value)
    assert "unexpected extra" in str(caught.value)
    path = tmp_path / f"model{s.trainer.suffix}"
    s.trainer.model.save(path)
    with pytest.raises(
        CheckpointError, match=f"expected a checkpoint of a {kind} training state, found one of a"
    ):
        s.trainer.load(path)
    assert same(learned(s.trainer), before)
    assert s.trainer.epochs_done == 1


@trainers
def test_generated_windows_are_learned_from(config: Config, kind: str, seen: Seen) -> None:
    s = stage(config, kind, seen)
    batch = s.validation.get_batch([0, 1])
    generated = s.train.arrays.numpy(batch.targets)
    trajectories = np.concatenate([generated, 1.1 * generated], axis=2)
    s.train = s.train.with_generated(s.train.arrays.trajectory(trajectories))
    (record,) = s.fit(1)
    assert record["generated_windows"] == 4
    alone = stage(config, kind, seen)
    alone.fit(1)
    assert not same(learned(s.trainer), learned(alone.trainer))


@pytest.mark.parametrize("side", SIDES)
def test_a_surrogate_that_explodes_ends_the_run(config: Config, side: str) -> None:
    rate = ["trainer.synthetic.learning_rate=1e30", "trainer.synthetic.scheduler=constant"]
    s = stage(config, "synthetic", Seen(side, "default", side), *rate)
    with pytest.raises(RunError, match=r"in epoch \d+ is (nan|inf).*learning_rate"):
        s.fit(4)


@pytest.mark.parametrize("side", SIDES)
def test_a_coefficient_stays_within_its_bounds(config: Config, side: str) -> None:
    learnable = (
        "trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.2, upper: 0.21}]"
    )
    s = stage(config, "physical", Seen(side, "default", side), learnable)
    s.fit(1)
    found = learned(s.trainer)["diffusion_coeff"]
    assert found.max() == 0.21
    assert found.min() < 0.2
    assert found.min() >= 0.0


@pytest.mark.parametrize("side", SIDES)
def test_a_diverged_solve_keeps_the_last_good_coefficient(
    config: Config, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = stage(config, "physical", Seen(side, "default", side))
    s.fit(1)
    good = learned(s.trainer)
    monkeypatch.setattr(
        s.trainer,
        "loss_and_gradients",
        lambda batch, values: (np.nan, {n: 0.0 * v for n, v in values.items()}),
    )
    (record,) = s.fit(1)
    assert record["status"] == "diverged"
    assert not record["best"]
    assert same(learned(s.trainer), good)


def physical_stage(config: Config, side: str, *overrides: str) -> Stage:
    return stage(config, "physical", Seen(side, "default", side), *overrides)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_adam_lowers_the_loss_within_bounds(config: Config, side: str, precision: str) -> None:
    learnable = "[{name: diffusion_coeff, initial_guess: 0.2, upper: 0.21}]"
    s = physical_stage(
        config,
        side,
        "trainer.physical.solve={method: adam, learning_rate: 0.004, max_iterations: 10}",
        f"trainer.physical.learnable_parameters={learnable}",
        f"trainer.precision={precision}",
    )
    (record,) = s.fit(1)
    found = learned(s.trainer)["diffusion_coeff"]
    assert record["train_loss"] < 0.98 * record["initial_loss"]
    assert (record["iterations"], record["evaluations"]) == (10, 11)
    assert np.float64(found.max()) == pytest.approx(0.21, rel=1e-6)
    assert found.min() < 0.2


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("basis", ["{name: fourier, modes: 1}", "{name: gaussians, count: 3}"])
def test_a_field_is_learned_in_its_basis_and_goes_on_from_a_file(
    config: Config, side: str, basis: str, tmp_path: Path
) -> None:
    """The truth is a wave of one period: three unknowns instead of eight come nearer to it."""
    learnable = (
        "trainer.physical.learnable_parameters="
        f"[{{name: diffusion_coeff, initial_guess: 0.25, basis: {basis}}}]"
    )
    more = "trainer.physical.solve.max_iterations=8"
    whole, half, rest = (physical_stage(config, side, learnable, more) for _ in range(3))
    expected = whole.fit(2)
    assert expected[0]["train_loss"] < 0.9 * expected[0]["initial_loss"]
    half.fit(1)
    path = tmp_path / f"state{half.trainer.suffix}"
    half.trainer.save(path)
    rest.trainer.load(path)
    found = rest.fit(1)[0]
    for key in ("train_loss", "initial_loss", "validation_loss", "regularisation", "iterations"):
        assert found[key] == expected[1][key], key
    states = whole.trainer.state(), rest.trainer.state()
    assert states[0].facts == states[1].facts
    assert {"coefficients.diffusion_coeff", "best.coefficients.diffusion_coeff"} < set(states[0].arrays)
    assert same(dict(states[0].arrays), dict(states[1].arrays))
    with pytest.raises(CheckpointError, match="was learned in the bases"):
        physical_stage(config, side).trainer.load(path)


@pytest.mark.parametrize("side", SIDES)
def test_regularisers_draw_a_field_together(config: Config, side: str) -> None:
    more = "trainer.physical.solve.max_iterations=8"
    free = physical_stage(config, side, more)
    (record,) = free.fit(1)
    assert record["regularisation"] == 0.0
    for key, weight in (("smoothness", 0.1), ("total_variation", 0.01)):
        s = physical_stage(config, side, more, f"trainer.physical.{key}={weight}")
        (record,) = s.fit(1)
        assert record["regularisation"] > 0.0
        spread = np.ptp(learned(s.trainer)["diffusion_coeff"])
        assert spread < 0.9 * np.ptp(learned(free.trainer)["diffusion_coeff"]), key


@pytest.mark.parametrize("side", SIDES)
def test_the_physical_loss_is_a_mean_over_what_is_observed(config: Config, side: str) -> None:
    s = physical_stage(config, side)
    batch = s.train.get_batch(range(4))
    initial, targets = (s.train.arrays.numpy(t) for t in (batch.initial, batch.targets))
    rollout = s.trainer.model.predict(initial, targets.shape[2])
    error = np.mean((rollout[:, :, 1:] - targets) ** 2, axis=1)
    shown = np.random.default_rng(4).random(error.shape) < 0.3
    masked = dataclasses.replace(batch, observed=shown)
    everything = dataclasses.replace(batch, observed=np.ones_like(shown))
    expected = error[shown].mean()
    values = {n: np.asarray(a, dtype=np.float64) for n, a in learned(s.trainer).items()}
    assert float(s.trainer.loss(masked)) == pytest.approx(expected, rel=1e-12)
    loss, gradients = s.trainer.loss_and_gradients(masked, values)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert float(s.trainer.loss(everything)) == pytest.approx(float(s.trainer.loss(batch)), rel=1e-13)
    plain = s.trainer.loss_and_gradients(batch, values)[1]
    for name, gradient in gradients.items():
        step = 1e-6 * np.random.default_rng(5).standard_normal(gradient.shape)
        ahead, behind = (
            s.trainer.loss_and_gradients(masked, {**values, name: values[name] + sign * step})[0]
            for sign in (1.0, -1.0)
        )
        assert float(np.sum(gradient * step)) == pytest.approx((ahead - behind) / 2, rel=1e-4)
        assert np.abs(gradient - plain[name]).max() > 1e-3 * np.abs(gradient).max()


@pytest.mark.parametrize("side", SIDES)
def test_loss_weights_decide_what_a_fit_learns_from(config: Config, side: str) -> None:
    s = physical_stage(config, side)
    targets = s.train.arrays.numpy(s.validation.get_batch([0, 1]).targets)
    data = s.train.with_generated(s.train.arrays.trajectory(np.concatenate([targets, 1.1 * targets], axis=2)))

    def fitted(weights: LossWeights) -> tuple[Record, dict[str, NDArray[Any]]]:
        one = physical_stage(config, side)
        return one.trainer.fit(data, None, epochs=1, weights=weights).records[0], learned(one.trainer)

    plain, parameters = fitted(LossWeights())
    assert plain["interaction_loss"] > 0.0
    record, found = fitted(LossWeights(interaction=0.0))
    assert (record["generated_windows"], record["interaction_loss"]) == (0, None)
    s.fit(1)
    assert same(found, learned(s.trainer))
    assert not same(found, parameters)
    record, found = fitted(LossWeights(real=0.0))
    assert (record["windows"], record["real_loss"]) == (record["generated_windows"], None)
    assert not same(found, parameters)
    record, found = fitted(LossWeights(proportional=True))
    assert record["interaction_scale"] != 1.0
    assert record["initial_loss"] < plain["initial_loss"]  # the generated windows here are the worse ones
    assert not same(found, parameters)


# ------------------------------------------------------------------------------------------------ hybrid


def hybrid(config: Config, side: str) -> tuple[Any, Any, Any]:
    """A hybrid trainer of one side, and its datasets."""
    with use_mode(side):
        factory = Factory(config)
        manager = factory.data_manager()
        train, validation = (factory.dataset(manager, s) for s in ((0,), (1,)))
        synthetic = factory.synthetic_trainer(factory.synthetic_model())
        physical = factory.physical_trainer(factory.physical_model(config.initial_parameters()))
        return factory.hybrid_trainer(synthetic, physical), train, validation


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("start", ["random", "data"])
def test_a_hybrid_trainer_goes_on_from_restored_trainers(config: Config, side: str, start: str) -> None:
    plan = [
        "trainer.synthetic.epochs=1",
        "trainer.hybrid.warmup=1",
        "trainer.physical.solve.max_iterations=2",
        f"trainer.hybrid.augmentation.initial_conditions={start}",
    ]
    config = tiny(config.data.data_dir.parent, plan)
    whole, train, validation = hybrid(config, side)
    expected = whole.fit(train, validation, cycles=2).records
    first, *_ = hybrid(config, side)
    first.fit(train, validation, cycles=1)
    second, *_ = hybrid(config, side)
    second.synthetic.restore(first.synthetic.state())
    second.physical.restore(first.physical.state())
    found = second.fit(train, validation, cycles=2).records
    assert found[-1]["cycle"] == 2
    assert_same_records(expected[5:], found)
    assert_same_state(whole.synthetic, second.synthetic)
    assert_same_state(whole.physical, second.physical)


@pytest.mark.parametrize("side", SIDES)
def test_each_model_learns_from_what_the_other_one_generates(config: Config, side: str) -> None:
    config = tiny(config.data.data_dir.parent, ["trainer.synthetic.epochs=1"])
    trainer, train, validation = hybrid(config, side)
    taught: list[Any] = []
    for part in (trainer.synthetic, trainer.physical):
        inner_fit = part.fit
        part.fit = lambda data, judge, *, fit=inner_fit, **options: (
            taught.append(data),
            fit(data, judge, **options),
        )[1]
    before = learned(trainer.physical)
    trainer.fit(train, validation, cycles=1)
    by_physics, by_surrogate = (
        d.arrays.numpy(next(d.batches(99, source="generated")).targets) for d in taught
    )
    initial = train.arrays.numpy(next(taught[0].batches(99, source="generated")).initial)[:1]
    reference, *_ = hybrid(config, side)
    reference.physical.model.assign(before)
    expected = reference.physical.model.predict(initial, by_physics.shape[2])[:, :, 1:]
    assert np.abs(by_physics[:1] - expected).max() < 1e-14
    trainer.synthetic.model.assign(learned(trainer.synthetic))
    expected = trainer.synthetic.model.predict(initial, by_surrogate.shape[2])[:, :, 1:]
    assert np.abs(by_surrogate[:1] - expected).max() < 1e-14
