"""What is not observed never reaches a loss or a gradient, whatever stands there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.interfaces import Batch, LossWeights
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.testing.experiments import write_data
from tests.experiments import PLANE, tiny

SPARSE = "observations={space: {mask: random_points, count: 40}, time: {mask: endpoints, start: 0.4}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hidden")


def parts(folder: Path, side: str) -> tuple[Any, Any, Any]:
    """A dataset with generated windows, and the two trainers."""
    config = tiny(folder / side, [SPARSE], domain=PLANE)
    write_data(config)
    with use_mode(side):
        factory = Factory(config)
        dataset = factory.dataset(factory.data_manager(), (0, 1))
        synthetic = factory.synthetic_trainer(factory.synthetic_model())
        physical = factory.physical_trainer(factory.physical_model(config.initial_parameters()))
    shape = (2, len(config.layout.components), 4, *config.grid.resolution)
    generated = 0.1 * np.random.default_rng(0).standard_normal(shape)
    points = np.random.default_rng(1).random(config.grid.resolution) < 0.3
    return dataset.with_generated(dataset.arrays.trajectory(generated), points=points), synthetic, physical


def with_hidden(dataset: Any, batch: Batch, value: float) -> Batch:
    """The batch with another value wherever nothing is observed."""
    assert batch.observed is not None
    targets = dataset.arrays.numpy(batch.targets)
    changed = np.where(batch.observed[:, np.newaxis], targets, value)
    assert 0.0 < batch.observed.mean() < 1.0 and not np.array_equal(changed, targets)
    return replace(batch, targets=dataset.arrays.trajectory(changed))


@pytest.mark.parametrize("kind", ["real", "generated", "both"])
def test_hidden_values_change_no_loss_and_no_gradient(folder: Path, side: str, kind: str) -> None:
    dataset, synthetic, physical = parts(folder, side)
    for model, trainer in (("synthetic", synthetic), ("physical", physical)):
        shown = dataset.seen_by(model)
        indices = {"real": [0, 1, 2], "generated": [-1, -2], "both": [0, 2, -1]}[kind]
        batch = shown.get_batch(sorted(i % len(shown) for i in indices))
        hidden = with_hidden(shown, batch, 1e6)
        assert float(trainer.loss(hidden)) == float(trainer.loss(batch))
    values = {"diffusion_coeff": np.full(dataset.grid.resolution, 0.2)}
    loss, slopes = physical.loss_and_gradients(batch, values)
    again, same = physical.loss_and_gradients(hidden, values)
    assert loss == again
    assert np.array_equal(slopes["diffusion_coeff"], same["diffusion_coeff"])
    assert np.any(slopes["diffusion_coeff"] != 0.0)


@pytest.mark.parametrize("weights", [None, LossWeights(0.5, 2.0)])
def test_hidden_values_change_no_update(folder: Path, side: str, weights: LossWeights | None) -> None:
    found = []
    for value in (None, 1e6):
        dataset, synthetic, _ = parts(folder, side)
        shown = dataset.seen_by("synthetic")
        batch = shown.get_batch([0, 1, len(shown) - 1])
        batch = batch if value is None else with_hidden(shown, batch, value)
        losses = [float(synthetic.update(batch, *(() if weights is None else (weights,)))) for _ in range(3)]
        found.append((losses, synthetic.model.weights()))
    assert found[0][0] == found[1][0]
    for name, weight in found[0][1].items():
        assert np.array_equal(weight, found[1][1][name]), name


def test_observed_values_do(folder: Path, side: str) -> None:
    dataset, synthetic, physical = parts(folder, side)
    batch = dataset.seen_by("physical").get_batch([0, 1])
    targets = dataset.arrays.numpy(batch.targets) + 0.1
    other = replace(batch, targets=dataset.arrays.trajectory(targets))
    for trainer in (synthetic, physical):
        assert float(trainer.loss(other)) != float(trainer.loss(batch))
