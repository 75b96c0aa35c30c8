"""What learning costs: updates of the surrogate, a fit of the physics, a cycle of both, a whole run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.experiments import TRAIN, VALIDATION
from benchmarks.measure import Outcome, Timed
from benchmarks.memory import Run, train_in_process
from benchmarks.scenarios import BARE, PHIFLOW, Scenario, cases
from hyco import Config
from hyco.interfaces import History
from hyco.migration.factory import Factory

Prepare = Callable[..., Config]
Build = Callable[..., Factory]
SAME_LOSS = 0.05  # of the loss at the start: where a fit ends
WHOLE_RUN = 0.1  # by how much the losses of the modes may differ after a whole run, as a share


@cases("synthetic training", BARE)
def test_synthetic_training(
    timed: Timed, prepared_shipped: Prepare, factory: Build, scenario: Scenario, mode: str
) -> None:
    build = factory(prepared_shipped(scenario, mode))
    dataset = build.dataset(build.data_manager(), (0,))
    trainer: Any = build.synthetic_trainer(build.synthetic_model())
    whole = "epoch" in scenario.variant
    batches = list(dataset.batches(scenario.batch))[: None if whole else 1]
    if mode == BARE:
        arrays = trainer.model.arrays
        pairs = [(arrays.place(b.initial), arrays.place(b.targets)) for b in batches]
        trainer.model.training(True)
        timed(lambda: _bare(trainer.model.network, pairs), outcome=None if whole else _loss)
    elif whole:
        timed(lambda: trainer.fit(dataset, epochs=1))
    else:
        timed(lambda: trainer.update(batches[0]), outcome=lambda loss: {"loss": float(loss)})


def _bare(network: Any, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The gradients of every batch's loss, and nothing else; the loss of the last one."""
    for initial, targets in batches:
        frames = [initial]
        for _ in range(targets.shape[2]):
            frames.append(frames[-1] + network(frames[-1]))
        loss = torch.mean((torch.stack(frames[1:], dim=2) - targets) ** 2)
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
    return loss


def _loss(loss: torch.Tensor) -> Outcome:
    return {"loss": float(loss.detach())}


@cases("physical fit", PHIFLOW)
def test_physical_fit(
    timed: Timed,
    benchmark: BenchmarkFixture,
    prepared: Prepare,
    factory: Build,
    scenario: Scenario,
    mode: str,
) -> None:
    """Ends where the loss is a twentieth of what it was, however many iterations that takes."""
    config = prepared(
        scenario.resolution, equation=scenario.equation, frames=16, batch=scenario.batch, mode=mode
    )
    first: list[float] = []

    def stop(iteration: int, loss: float) -> None:
        if loss <= SAME_LOSS * first[0]:
            raise StopIteration  # which SciPy takes for the end

    build = factory(config, progress=stop)
    trainer: Any = build.physical_trainer(build.physical_model(config.initial_parameters()))
    train = build.dataset(build.data_manager(), tuple(TRAIN))
    start = trainer.state()
    first.append(trainer.evaluate(train))

    def outcome(history: History) -> Outcome:
        (record,) = history.records
        benchmark.extra_info["evaluations"] = record["evaluations"]
        assert record["train_loss"] <= SAME_LOSS * first[0], f"did not get there: {record}"
        return {"initial loss": record["initial_loss"]}

    timed(
        lambda _: trainer.fit(train, epochs=1),
        setup=lambda: trainer.restore(start),
        outcome=outcome,
        warmup=2,
    )


@cases("hybrid cycle")
def test_hybrid_cycle(timed: Timed, prepared: Prepare, factory: Build, scenario: Scenario, mode: str) -> None:
    solve = {"abs_tol": 0.0, "rel_tol": 0.0, "max_iterations": 5}
    guess = [{"name": "diffusion_coeff", "initial_guess": 0.01}]
    config = prepared(
        scenario.resolution,
        batch=scenario.batch,
        mode=mode,
        physical={"learnable_parameters": guess, "solve": solve},
    )
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
    timed: Timed, benchmark: BenchmarkFixture, prepared_shipped: Prepare, scenario: Scenario, mode: str
) -> None:
    """One run of the configuration as it ships: its cycles are timed within it."""
    config = prepared_shipped(scenario, mode)
    runs: list[Run] = []
    timed(lambda: runs.append(train_in_process(config)), warmup=0, rounds=1)
    # a hundred updates in float32, after each of which rounding is learned from too
    timed.compare(runs[-1].work, agreement=WHOLE_RUN)
    benchmark.extra_info["peaks"] = [run.peak for run in runs]
    benchmark.extra_info["imports"] = [run.imports for run in runs]
    benchmark.extra_info["cycles"] = [seconds for run in runs for seconds in run.cycles]
    benchmark.extra_info["evaluations"] = runs[-1].evaluations
