"""What the physical model costs: a step, a rollout, and the loss of a batch with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments import experiment
from benchmarks.measure import Timed
from benchmarks.roofline import rollout_work
from benchmarks.scenarios import EAGER, PHIFLOW, ROLLOUT_STEPS, WINDOW_STEPS, Scenario, cases
from hyco import Config
from hyco.interfaces import Batch
from hyco.migration.factory import Factory

Build = Callable[[Config], Factory]


@cases("step", PHIFLOW, EAGER)
def test_step(
    timed: Timed, tmp_path: Path, factory: Build, scenario: Scenario, mode: str, rng: np.random.Generator
) -> None:
    model: Any = factory(_experiment(tmp_path, scenario, mode)).physical_model()
    state = model.initial_state(scenario.batch, rng=rng)

    def eager() -> Any:
        with model.arrays.compute.scope():
            return model.advance(state, model.parameters)

    step = eager if mode == EAGER else lambda: model.step(state)
    timed(step, outcome=lambda after: {"state": model.arrays.numpy(after)})


@cases("rollout", PHIFLOW)
def test_rollout(
    timed: Timed, tmp_path: Path, factory: Build, scenario: Scenario, mode: str, rng: np.random.Generator
) -> None:
    model = factory(_experiment(tmp_path, scenario, mode)).physical_model()
    state = model.initial_state(scenario.batch, rng=rng)
    timed(
        lambda: model.rollout(state, ROLLOUT_STEPS),
        outcome=lambda frames: {"last frame": model.arrays.numpy(frames)[:, :, -1]},
        work=rollout_work(scenario.equation, scenario.resolution, scenario.batch, ROLLOUT_STEPS),
    )


@cases("forward and backward", PHIFLOW)
def test_forward_and_backward(
    timed: Timed, tmp_path: Path, factory: Build, scenario: Scenario, mode: str, rng: np.random.Generator
) -> None:
    config = _experiment(tmp_path, scenario, mode)
    build = factory(config)
    truth, model = build.physical_model(), build.physical_model(config.initial_parameters())
    state = truth.initial_state(scenario.batch, rng=rng)
    frames = truth.predict(truth.arrays.numpy(state), WINDOW_STEPS)[:, :, 1:]
    batch = Batch(state, truth.arrays.trajectory(frames), scenario.batch)
    trainer: Any = build.physical_trainer(model)
    values = {n: np.asarray(v, dtype=np.float64) for n, v in config.initial_parameters().items()}
    timed(
        lambda: trainer.loss_and_gradients(batch, values),
        outcome=lambda found: {"loss": found[0], **found[1]},
        work=rollout_work(
            scenario.equation, scenario.resolution, scenario.batch, WINDOW_STEPS, gradients=True
        ),
    )


def _experiment(folder: Path, scenario: Scenario, mode: str) -> Config:
    return experiment(folder, scenario.resolution, equation=scenario.equation, mode=mode)
