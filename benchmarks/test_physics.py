"""What the physical model costs: a step, a rollout, and the gradient of the loss of a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Timed
from benchmarks.scenarios import EAGER, ROLLOUT_STEPS, TRAIN, Scale, Scenario, cases, experiment
from hyco import Config
from hyco.migration.factory import Factory

Prepare = Callable[..., Config]
Build = Callable[[Config], Factory]


@cases("step", EAGER)
def test_step(
    timed: Timed, tmp_path: Path, factory: Build, scenario: Scenario, mode: str, rng: np.random.Generator
) -> None:
    model: Any = factory(experiment(tmp_path, scenario.resolution)).physical_model()
    state = model.initial_state(scenario.batch, rng=rng)

    def eager() -> Any:
        with model.arrays.compute.scope():
            return model.advance(state, model.parameters)

    step = eager if mode == EAGER else lambda: model.step(state)
    timed(step, outcome=lambda after: {"state": model.arrays.numpy(after)})


@cases("rollout")
def test_rollout(
    timed: Timed, tmp_path: Path, factory: Build, scenario: Scenario, rng: np.random.Generator
) -> None:
    model = factory(experiment(tmp_path, scenario.resolution)).physical_model()
    state = model.initial_state(scenario.batch, rng=rng)
    timed(
        lambda: model.rollout(state, ROLLOUT_STEPS),
        outcome=lambda frames: {"frames": model.arrays.numpy(frames)},
    )


@cases("gradient")
def test_gradient(
    timed: Timed, prepared: Prepare, factory: Build, scenario: Scenario, mode: str, size: Scale
) -> None:
    config = prepared(scenario.resolution, frames=size.frames, mode=mode)
    build = factory(config)
    values = {name: np.asarray(v, dtype=np.float64) for name, v in config.initial_parameters().items()}
    trainer: Any = build.physical_trainer(build.physical_model(config.initial_parameters()))
    batch = build.dataset(build.data_manager(), tuple(TRAIN)).get_batch(range(scenario.batch))
    timed(
        lambda: trainer.loss_and_gradients(batch, values),
        outcome=lambda found: {"loss": found[0], **found[1]},
    )
