"""Fixtures of the benchmarks, and the table of ratios at the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import hyco
from benchmarks import machine
from benchmarks.experiments import experiment, shipped, side
from benchmarks.measure import Outcome, Timed
from benchmarks.results import Results, ratio_lines
from benchmarks.scenarios import Scale, Scenario, device, scale
from hyco import Config
from hyco.migration.factory import Factory

RESULTS = pytest.StashKey[Results]()
LOAD = pytest.StashKey[float | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Note how busy the machine is before anything is timed."""
    config.stash[RESULTS] = Results()
    config.stash[LOAD] = machine.load()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything where the device that was asked for is not there."""
    if device() != "cpu" and not torch.cuda.is_available():
        for item in items:
            item.add_marker(pytest.mark.skip(f"{device()}: PyTorch sees no CUDA device here"))


@pytest.fixture(scope="session")
def size() -> Scale:
    """How large, and how often."""
    return scale()


@pytest.fixture(scope="session")
def outcomes() -> dict[Scenario, dict[str, Outcome]]:
    """What each mode computed, by scenario."""
    return {}


@pytest.fixture
def timed(
    request: pytest.FixtureRequest,
    benchmark: BenchmarkFixture,
    scenario: Scenario,
    mode: str,
    outcomes: dict[Scenario, dict[str, Outcome]],
    size: Scale,
) -> Iterator[Timed]:
    """Times a function; what it found goes into the summary."""
    yield Timed(benchmark, scenario, mode, outcomes, size)
    if benchmark.stats is not None and benchmark.stats.stats.data:
        stats = benchmark.stats.stats
        found = {name: getattr(stats, name) for name in ("median", "q1", "q3", "rounds")}
        request.config.stash[RESULTS].note(found, benchmark.extra_info)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Makes an experiment whose simulations are on disk: one set of files, which all modes read."""
    folder = tmp_path_factory.mktemp("experiments")

    def prepare(resolution: int, **settings: Any) -> Config:
        hyco.generate(experiment(folder, resolution, **{**settings, "mode": "legacy"}))
        return experiment(folder, resolution, **settings)

    return prepare


@pytest.fixture(scope="session")
def prepared_shipped(tmp_path_factory: pytest.TempPathFactory, size: Scale) -> Callable[..., Config]:
    """The same of the shipped experiment."""
    folder = tmp_path_factory.mktemp("shipped")

    def prepare(scenario: Scenario, mode: str) -> Config:
        hyco.generate(shipped(folder, scenario, mode="legacy", size=size))
        return shipped(folder, scenario, mode=mode, size=size)

    return prepare


@pytest.fixture
def factory(mode: str) -> Iterator[Callable[[Config], Factory]]:
    """Makes a factory for an experiment, in the mode of the benchmark."""
    torch.manual_seed(0)
    with hyco.use_mode(side(mode)):
        yield Factory


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for every mode."""
    return np.random.default_rng(0)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Say what the table needs to know of the machine."""
    processor = machine_info.get("cpu", {}).get("brand_raw")
    machine_info["hyco"] = {**machine.describe(processor, device()), "load_before": config.stash[LOAD]}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the ratio of the modes, scenario by scenario."""
    lines = ratio_lines(config.stash[RESULTS])
    if lines:
        terminalreporter.section("phiml against legacy, medians")
        for line in lines:
            terminalreporter.write_line(line)
