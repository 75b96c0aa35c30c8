"""A surrogate's training that is stopped after any update, and goes on from a file, is as if it had not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.compat.checkpoints import convert_checkpoint
from hyco.config import Config
from hyco.errors import CheckpointError, RunError
from hyco.interfaces import LossWeights, Record
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.testing import assert_equivalent
from hyco.testing.experiments import write_data
from tests.experiments import tiny
from tests.sides import OTHER, SIDES

COMMON = [
    "general.mode=synthetic",
    "trainer.batch_size=2",
    "trainer.synthetic.epochs=6",
    "trainer.synthetic.input_noise={scale: 0.01}",
    "trainer.synthetic.curriculum={start: 2, end: 3}",
    "trainer.synthetic.early_stopping={patience: 1, min_delta: 0.9}",
    "trainer.synthetic.gradient_clipping=0.5",
    "trainer.synthetic.scheduler={name: step, every: 2}",
]
CASES = {
    "adam": ["trainer.synthetic.optimizer=adam", "model.synthetic.architecture.batch_norm=true"],
    "sgd": ["trainer.synthetic.optimizer=sgd", "trainer.synthetic.weight_decay=0.01"],
}
PHASES = (3, 6)
WEIGHTS = LossWeights(1.0, 0.5, proportional=True)


class Stop(Exception):
    """What a pulse raises when the training is to end."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data are."""
    folder = tmp_path_factory.mktemp("stopped")
    write_data(tiny(folder, COMMON), noise=0.02)
    return folder


class Training:
    """Warm-up and cycle of one surrogate; what a restored trainer has done is not repeated."""

    def __init__(self, config: Config, side: str, stop_after: int = 0) -> None:
        self.records: list[Record] = []
        self.updates = 0
        self._stop_after = stop_after
        with use_mode(side):
            factory = Factory(config, self.records.append, pulse=self._pulse)
            self.trainer: Any = factory.synthetic_trainer(factory.synthetic_model())
            manager = factory.data_manager()
            self.train, self.validation = (factory.dataset(manager, s) for s in ((0,), (1,)))
        arrays = self.train.arrays
        frames = arrays.numpy(self.validation.with_rollout_steps(5).get_batch([0]).targets)
        self.taught = self.train.with_generated(arrays.trajectory(1.1 * frames))

    def run(self) -> None:
        """Train what is left."""
        for end, data, weights in zip(PHASES, (self.train, self.taught), (None, WEIGHTS), strict=True):
            left = max(0, end - self.trainer.epochs_done)
            self.trainer.fit(data, self.validation, epochs=left, weights=weights)

    def _pulse(self) -> None:
        self.updates += 1
        if self.updates == self._stop_after:
            raise Stop


def without_clocks(records: list[Record]) -> list[Record]:
    return [{k: v for k, v in r.items() if k != "timing"} for r in records]


def assert_same_training(expected: Any, found: Any) -> None:
    """The same state to the last bit."""
    one, two = expected.state(), found.state()
    assert one.facts == two.facts
    assert one.arrays.keys() == two.arrays.keys()
    for name, array in one.arrays.items():
        assert np.array_equal(array, two.arrays[name]), name


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("side", SIDES)
def test_a_training_goes_on_from_any_update(folder: Path, side: str, name: str, tmp_path: Path) -> None:
    config = tiny(folder, [*COMMON, *CASES[name]])
    whole = Training(config, side)
    whole.run()
    records = whole.records
    assert [r["epoch"] for r in records] == [1, 2, 4, 5]
    assert [r.get("stopped_early") for r in records] == [None, 1, None, 1]
    assert [r["rollout_steps"] for r in records] == [2, 2, 3, 3]
    assert [r["generated_windows"] > 0 for r in records] == [False, False, True, True]
    assert records[-1]["interaction_scale"] not in (None, 1.0)
    assert whole.trainer.generated_seen == records[-1]["generated_windows"]
    for stop in range(1, whole.updates + 1):
        first = Training(config, side, stop)
        with pytest.raises(Stop):
            first.run()
        path = tmp_path / f"state{first.trainer.suffix}"
        first.trainer.save(path)
        second = Training(config, side)
        second.trainer.load(path)
        assert_same_training(first.trainer, second.trainer)
        second.run()
        assert first.updates + second.updates == whole.updates
        assert without_clocks(first.records + second.records) == without_clocks(records), stop
        assert_same_training(whole.trainer, second.trainer)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("side", SIDES)
def test_a_stopped_training_goes_on_on_the_other_side(
    folder: Path, side: str, name: str, tmp_path: Path
) -> None:
    """Through a converted file, from within an epoch that has generated windows."""
    config = tiny(folder, [*COMMON, *CASES[name]])
    whole, first, second = Training(config, side), Training(config, side, 8), Training(config, OTHER[side])
    whole.run()
    with pytest.raises(Stop):
        first.run()
    assert first.trainer.state().facts["batch"] == 2
    paths = [tmp_path / f"state{t.trainer.suffix}" for t in (first, second)]
    first.trainer.save(paths[0])
    convert_checkpoint(*paths)
    second.trainer.load(paths[1])
    second.run()
    found = first.records + second.records
    for key in ("train_loss", "validation_loss", "gradient_norm"):
        columns = [np.array([r[key] for r in rs]) for rs in (whole.records, found)]
        assert_equivalent(*columns, "losses of a synthetic fit")
    assert [r["epoch"] for r in found] == [1, 2, 4, 5]
    row = "updated weights with normalisation" if name == "adam" else "weights of an optimiser"
    assert_equivalent(whole.trainer.weights(), second.trainer.weights(), row)


@pytest.mark.parametrize("side", SIDES)
def test_a_training_in_bf16_goes_on_too(folder: Path, side: str) -> None:
    config = tiny(folder, [*COMMON, "trainer.precision=float32", "trainer.synthetic.amp=bf16"])
    whole, first, second = Training(config, side), Training(config, side, 5), Training(config, side)
    whole.run()
    with pytest.raises(Stop):
        first.run()
    second.trainer.restore(first.trainer.state())
    second.run()
    assert without_clocks(first.records + second.records) == without_clocks(whole.records)
    assert_same_training(whole.trainer, second.trainer)
    full = Training(tiny(folder, [*COMMON, "trainer.precision=float32"]), side)
    full.run()
    assert full.records[0]["train_loss"] != whole.records[0]["train_loss"]


@pytest.mark.parametrize("side", SIDES)
def test_a_training_that_diverged_within_an_epoch_is_not_saved(
    folder: Path, side: str, tmp_path: Path
) -> None:
    """The state of the last complete epoch stays what it was."""
    one = Training(tiny(folder, [*COMMON, "trainer.synthetic.gradient_clipping=null"]), side, 5)
    path = tmp_path / f"state{one.trainer.suffix}"
    observe: Callable[[Record], None] = lambda record: one.trainer.save(path)  # noqa: E731
    one.trainer._loop.observe = observe
    one.trainer._loop.schedule = lambda epoch: 0.01 if epoch == 0 else 1e300
    with pytest.raises((Stop, RunError)):
        one.run()
    good = path.read_bytes()
    with pytest.raises(RunError, match=r"in epoch 2 .*(not finite|is nan|is inf).*learning_rate"):
        one.trainer.save(path)
    assert path.read_bytes() == good
    fresh = Training(tiny(folder, COMMON), side)
    fresh.trainer.load(path)
    assert fresh.trainer.epochs_done == 1


@pytest.mark.parametrize("side", SIDES)
def test_a_state_that_contradicts_itself_is_refused_whole(folder: Path, side: str) -> None:
    one, two = (Training(tiny(folder, COMMON), side, stop) for stop in (2, 0))
    with pytest.raises(Stop):
        one.run()
    state = one.trainer.state()
    assert (state.facts["epoch"], state.facts["batch"]) == (0, 2)
    with pytest.raises(CheckpointError, match="3 batches with 2 losses"):
        two.trainer.restore(replace(state, facts={**state.facts, "batch": 3}))
    assert two.trainer.moments() == {}
