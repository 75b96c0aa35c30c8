"""What it costs to get at the data: trajectories by the data manager, batches by the dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.experiments import TRAIN
from benchmarks.measure import Outcome, Timed
from benchmarks.scenarios import Scale, Scenario, cases
from hyco import Config
from hyco.interfaces import Batch, DataManager
from hyco.migration.factory import Factory

Prepare = Callable[..., Config]
Build = Callable[[Config], Factory]


@cases("load")
def test_load(
    timed: Timed, prepared: Prepare, factory: Build, scenario: Scenario, mode: str, size: Scale
) -> None:
    config = prepared(scenario.resolution, frames=size.frames, mode=mode)
    build = factory(config)
    kept = build.data_manager()
    kept.load(0)

    def outcome(trajectory: Any) -> Outcome:
        return {"trajectory": kept.arrays.numpy(trajectory)}

    def forgotten() -> DataManager:
        for path in config.data.cache_dir.iterdir():
            path.unlink()
        return build.data_manager()

    if scenario.variant == "in memory":
        timed(lambda: kept.load(0), outcome=outcome)
        return
    setup = forgotten if scenario.variant.startswith("cold") else build.data_manager
    timed(lambda manager: manager.load(0), setup=setup, outcome=outcome)


@cases("batches")
def test_batches(
    timed: Timed, prepared: Prepare, factory: Build, scenario: Scenario, mode: str, size: Scale
) -> None:
    build = factory(prepared(scenario.resolution, frames=size.frames, mode=mode))
    dataset = build.dataset(build.data_manager(), tuple(TRAIN))

    def epoch() -> Batch:
        for batch in dataset.batches(scenario.batch, rng=np.random.default_rng(0)):
            last = batch
        return last

    def outcome(batch: Batch) -> Outcome:
        return {"targets": dataset.arrays.numpy(batch.targets), "windows": batch.size}

    timed(epoch, outcome=outcome)
