"""Sparse and noisy observations of both sides: the same windows, masks and noise, and the same trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.config import Config
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.migration.shadow import Shadow
from hyco.testing import assert_equivalent
from hyco.testing.experiments import train, write_data
from tests.experiments import LINE, PLANE, tiny
from tests.sides import SIDES

BOX = {
    "x": {"size": 8, "resolution": 8},
    "y": {"size": 9, "resolution": 4},
    "z": {"size": 4, "resolution": 4},
}
OBSERVATIONS = (
    "observations={space: {mask: random_points, count: 7}, time: {mask: uniform, stride: 2}, "
    "noise: {snr_db: 26}, synthetic: {space: {mask: center, fraction: 0.6}, noise: {level: 0.1}}}"
)


@pytest.fixture(scope="module", params=[LINE, PLANE, BOX], ids=["1-D", "2-D", "3-D"])
def config(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Config:
    made = tiny(
        tmp_path_factory.mktemp("observed"), ["data.num_simulations=4", OBSERVATIONS], domain=request.param
    )
    write_data(made)
    return made


def dataset(config: Config, side: str, folder: Path, precision: str = "float64") -> Any:
    settings = config.model_copy(
        update={
            "trainer": config.trainer.model_copy(update={"precision": precision}),
            "data": config.data.model_copy(update={"cache_dir": folder / side}),
        }
    )
    with use_mode(side):
        factory = Factory(settings)
        return factory.dataset(factory.data_manager(), (0, 2, 3))


@pytest.mark.parametrize("model", ["physical", "synthetic"])
def test_noisy_windows_and_masks_are_the_same_bits(
    config: Config, model: str, tmp_path: Path, precision: str
) -> None:
    sides = [dataset(config, side, tmp_path, precision).seen_by(model) for side in SIDES]
    clean = dataset(config, "legacy", tmp_path, precision)
    shape = (2, len(config.layout.components), config.trainer.rollout_steps + 1, *config.grid.resolution)
    generated = np.random.default_rng(0).standard_normal(shape)
    points = np.random.default_rng(1).random(config.grid.resolution) < 0.5
    sides = [d.with_generated(d.arrays.trajectory(generated), alpha=0.7, points=points) for d in sides]
    passes = [list(d.batches(3, rng=np.random.default_rng(4))) for d in sides]
    assert len(sides[0]) == len(sides[1]) and len(passes[0]) > 1
    for a, b in zip(*passes, strict=True):
        assert (a.size, a.generated) == (b.size, b.generated)
        assert a.observed is not None and np.array_equal(a.observed, b.observed)
        for field in ("initial", "targets"):
            one, other = (d.arrays.numpy(getattr(x, field)) for d, x in zip(sides, (a, b), strict=True))
            assert one.dtype == other.dtype == precision
            assert np.array_equal(one, other)
    noisy = sides[0].get_batch([0])
    first = clean.arrays.numpy(clean.get_batch([0]).initial)
    size = np.abs(sides[0].arrays.numpy(noisy.initial) - first).max()
    assert size > 1e-3 * np.abs(first).max()


MIXTURES = {
    "phiml": {"mode": "phiml"},
    "data in phiml": {"mode": "hybrid", "components": {"data_manager": "phiml", "dataset": "phiml"}},
    "learning in phiml": {
        "mode": "hybrid",
        "components": {"synthetic_trainer": "phiml", "physical_trainer": "phiml", "hybrid_trainer": "phiml"},
    },
}


@pytest.mark.parametrize("training", ["hybrid", "synthetic", "physical"])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_trainings_on_them_are_the_same(training: str, mixture: str, tmp_path: Path) -> None:
    overrides = [
        "data.num_simulations=4",
        "trainer.train_sim=[0,1,2]",
        "trainer.val_sim=[3]",
        "evaluation.test_sim=[3]",
        "trainer.batch_size=5",
        "trainer.synthetic.epochs=2",
        "trainer.hybrid.augmentation.points=9",
        f"general.mode={training}",
        OBSERVATIONS,
    ]
    config = tiny(tmp_path, overrides, domain=PLANE)
    write_data(config)
    with use_mode("legacy"):
        expected = train(config)
    with use_mode(**MIXTURES[mixture]):
        found = train(config)
    assert expected.counts() == found.counts()
    kind = f"a {training} {'run' if training == 'hybrid' else 'fit'}"
    assert_equivalent(expected.losses(), found.losses(), f"losses of {kind}")
    if expected.weights:
        assert_equivalent(expected.weights, found.weights, f"weights of {kind}")
    if expected.parameters:
        assert_equivalent(expected.parameters, found.parameters, f"parameters of {kind}")


@pytest.mark.parametrize("side", SIDES)
def test_shadow_mode_compares_what_is_observed_with_the_weights_it_has(side: str, tmp_path: Path) -> None:
    """Datasets that are seen by a model, taught, or cut anew are watched; masks and weights go along."""
    overrides = [
        OBSERVATIONS,
        "trainer.hybrid.augmentation.points=9",
        "trainer.hybrid.loss_scaling.synthetic.interaction_weight=0.5",
        "trainer.synthetic.curriculum={start: 3, end: 4}",
        "trainer.synthetic.epochs=2",
        "migration.shadow={enabled: true, every: 1}",
    ]
    config = tiny(tmp_path, overrides, domain=PLANE)
    write_data(config)
    shadow = Shadow(config, tmp_path)
    shadow.begin("train")
    with use_mode(side):
        factory = Factory(config, shadow=shadow)
        manager = factory.data_manager()
        data = [factory.dataset(manager, s) for s in (config.trainer.train_sim, config.trainer.val_sim)]
        synthetic = factory.synthetic_trainer(factory.synthetic_model())
        physical = factory.physical_trainer(factory.physical_model(config.initial_parameters()))
        factory.hybrid_trainer(synthetic, physical).fit(*data, cycles=1)
    summary = shadow.summary()
    assert (summary["mismatches"], summary["failures"]) == (0, 0)
    compared = {(c["component"], c["call"]): c["compared"] for c in summary["calls"]}
    assert compared["dataset", "get_batch"] > 5
    assert compared["synthetic_trainer", "update"] > 1
    assert compared["physical_trainer", "loss_and_gradients"] > 1


def test_shadow_mode_notices_another_mask(tmp_path: Path) -> None:
    config = tiny(tmp_path, [OBSERVATIONS, "migration.shadow={enabled: true, every: 1}"], domain=PLANE)
    write_data(config)
    shadow = Shadow(config, tmp_path)
    shadow.begin("train")
    with use_mode("legacy"):
        factory = Factory(config, shadow=shadow)
        dataset = factory.dataset(factory.data_manager(), (0,)).seen_by("physical")
    other = dataset._windows.space.copy()
    other[np.nonzero(other)[0][0]] = False
    dataset._windows = replace(dataset._windows, space=other)
    dataset.get_batch([0])
    assert shadow.summary()["mismatches"] == 1
