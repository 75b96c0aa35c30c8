"""What learning costs: an update of the surrogate, a fit of the physics, a cycle of both, a whole run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measure import Outcome, Timed
from benchmarks.memory import Run, train_in_process
from benchmarks.scenarios import (
    TRAIN,
    VALIDATION,
    Scale,
    Scenario,
    cases,
    hybrid_block,
    physical_block,
)
from hyco import Config
from hyco.interfaces import History
from hyco.migration.factory import Factory

Prepare = Callable[..., Config]
Build = Callable[[Config], Factory]


@cases("synthetic training step")
def test_synthetic_training_step(
    timed: Timed, prepared: Prepare, factory: Build, scenario: Scenario, mode: str, size: Scale
) -> None:
    build = factory(prepared(scenario.resolution, frames=size.frames, mode=mode))
    trainer: Any = build.synthetic_trainer(build.synthetic_model())
    batch = build.dataset(build.data_manager(), tuple(TRAIN)).get_batch(range(scenario.batch))
    timed(lambda: trainer.update(batch), outcome=lambda loss: {"loss": float(loss)})


@cases("physical fit")
def test_physical_fit(timed: Timed, prepared: Prepare, factory: Build, scenario: Scenario, mode: str) -> None:
    config = prepared(scenario.resolution, batch=scenario.batch, mode=mode)
    build = factory(config)
    trainer = build.physical_trainer(build.physical_model(config.initial_parameters()))
    train = build.dataset(build.data_manager(), tuple(TRAIN))
    start = trainer.state()

    def outcome(history: History) -> Outcome:
        (record,) = history.records
        return {name: record[name] for name in ("initial_loss", "train_loss", "iterations", "evaluations")}

    timed(
        lambda _: trainer.fit(train, epochs=1),
        setup=lambda: trainer.restore(start),
        outcome=outcome,
        warmup=2,
    )


@cases("hybrid cycle")
def test_hybrid_cycle(timed: Timed, prepared: Prepare, factory: Build, scenario: Scenario, mode: str) -> None:
    config = prepared(scenario.resolution, batch=scenario.batch, mode=mode)
    build = factory(config)
    synthetic = build.synthetic_trainer(build.synthetic_model())
    physical = build.physical_trainer(build.physical_model(config.initial_parameters()))
    hybrid = build.hybrid_trainer(synthetic, physical)
    manager = build.data_manager()
    train, validation = (build.dataset(manager, tuple(s)) for s in (TRAIN, VALIDATION))
    start = synthetic.state(), physical.state()

    def rewind() -> None:
        synthetic.restore(start[0])
        physical.restore(start[1])

    def outcome(history: History) -> Outcome:
        cycle = history.records[-1]
        return {name: cycle[name] for name in ("synthetic_loss", "physical_loss", "generated_for_synthetic")}

    timed(lambda _: hybrid.fit(train, validation, cycles=1), setup=rewind, outcome=outcome, warmup=2)


@cases("training run")
def test_training_run(
    timed: Timed,
    benchmark: BenchmarkFixture,
    prepared: Prepare,
    scenario: Scenario,
    mode: str,
    size: Scale,
) -> None:
    config = prepared(
        scenario.resolution,
        frames=size.frames // 2,
        batch=scenario.batch,
        mode=mode,
        physical=physical_block(iterations=5, window_stride=4),
        hybrid=hybrid_block(warmup=1, num_trajectories=4),
    )
    runs: list[Run] = []
    timed(lambda: runs.append(train_in_process(config)), warmup=0, rounds=min(3, size.rounds))
    timed.compare(runs[-1].work)
    benchmark.extra_info["peaks"] = [run.peak for run in runs]
    benchmark.extra_info["imports"] = [run.imports for run in runs]
