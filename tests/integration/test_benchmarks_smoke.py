"""The benchmarks run, refuse unequal work, and are read as the numbers say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.measure import Outcome, Timed
from benchmarks.results import Results, Timing, memory_ratio, ratio_lines, seconds, time_ratio
from benchmarks.scenarios import SCALES, Scenario, experiment, scale, scenarios
from benchmarks.table import preparation, render
from benchmarks.targets import TARGETS, Target, read
from hyco.learning.clocks import peak_memory_mb

ROOT = Path(__file__).parents[2]
FACTS = {
    "processor": "a processor",
    "cores": 2,
    "threads": 2,
    "memory_gib": 8.0,
    "system": "Linux",
    "versions": {"torch": "2.13.0"},
    "load_before": 1.9,
    "taken": "2026-01-02T03:04:05",
}


def timing(
    mode: str, median: float, *, spread: float = 0.0, group: str = "physical fit", **more: Any
) -> Timing:
    """A timing whose quartiles are `spread` away from the median."""
    base = Timing(group, "64x64", mode, median, median - spread, median + spread, 5)
    return replace(base, **more)


def results(*timings: Timing) -> Results:
    """These timings as a run's results."""
    found = Results()
    for one in timings:
        found.add(one)
    return found


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(output, JSON) of a real run of the smallest scenarios, as a user starts it."""
    path = tmp_path_factory.mktemp("benchmarks") / "result.json"
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", f"--benchmark-json={path}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    environment |= {"HYCO_BENCHMARKS": "smoke", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-k", "test_step or test_load or test_synthetic", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout, path


def test_a_run_times_every_mode_of_every_chosen_scenario(smoke: tuple[str, Path]) -> None:
    found, facts = Results.read(smoke[1])
    chosen = {"step", "load", "synthetic training step"}
    expected = {(s.group, s.name) for s in scenarios(SCALES["smoke"]) if s.group in chosen}
    assert set(found.timings) == expected
    for (group, _), modes in found.timings.items():
        assert list(modes) == ["legacy", "phiml", *(["eager"] if group == "step" else [])]
        assert all(t.median > 0 and t.rounds >= 2 and len(t.warmup) == 1 for t in modes.values())
    assert facts["threads"] == 1
    assert facts["versions"]["torch"]


def test_a_run_ends_with_the_ratios_and_makes_a_page(smoke: tuple[str, Path]) -> None:
    output, path = smoke
    found, _ = Results.read(path)
    assert all(line in output for line in ratio_lines(found))
    page = subprocess.run(
        [sys.executable, "-m", "benchmarks.table", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert page == render(*Results.read(path))
    for (_, name), modes in found.timings.items():
        ratio = modes["phiml"].median / modes["legacy"].median
        assert any(line.startswith(f"| {name} |") and f" {ratio:.2f} |" in line for line in page.splitlines())


def test_foreign_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"machine_info": {}, "benchmarks": []}))
    with pytest.raises(ValueError, match="'hyco' is missing"):
        Results.read(path)


def test_ratios_and_the_cost_of_warming_up() -> None:
    legacy, phiml = (
        timing("legacy", 2.0, spread=0.5),
        timing("phiml", 3.0, spread=1.0, warmup=(9.0, 5.0, 3.0)),
    )
    ratio = time_ratio({"legacy": legacy, "phiml": phiml}, "phiml", "legacy")
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (1.5, 2.0 / 2.5, 4.0 / 1.5)
    assert phiml.preparation == 17.0 - 9.0
    assert time_ratio({"legacy": legacy}, "phiml", "legacy") is None


def test_memory_is_judged_by_the_median_peak() -> None:
    modes = {
        m: timing(m, 1.0, peaks=p) for m, p in {"legacy": (90.0, 100.0, 200.0), "phiml": (80.0,)}.items()
    }
    ratio = memory_ratio(modes, "phiml", "legacy")
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (0.8, 0.4, 80 / 90)
    assert memory_ratio({m: replace(t, peaks=()) for m, t in modes.items()}, "phiml", "legacy") is None


@pytest.mark.parametrize(
    ("phiml", "spread", "verdict", "row"),
    [
        (0.80, 0.0, "Training time: met.", "| 0.80 | 0.80 to 0.80 | met |"),
        (0.85, 0.0, "Training time: met.", "| met |"),
        (0.86, 0.0, "Training time: missed.", "| missed |"),
        (0.90, 0.1, "Training time: missed.", "| missed, unclear |"),
    ],
)
def test_the_reading_follows_the_numbers(phiml: float, spread: float, verdict: str, row: str) -> None:
    text = "\n".join(read(TARGETS[0], results(timing("legacy", 1.0), timing("phiml", phiml, spread=spread))))
    assert verdict in text
    assert row in text


def test_a_target_that_is_met_on_average_says_where_it_is_not() -> None:
    found = results(
        timing("legacy", 1.0),
        timing("phiml", 1.0),
        timing("legacy", 1.0, group="hybrid cycle"),
        timing("phiml", 0.25, group="hybrid cycle"),
    )
    text = "\n".join(read(TARGETS[0], found))
    assert "met on average only" in text
    assert "is 0.50 (geometric mean of 2 scenarios), 41 % below the limit of 0.85" in text
    assert "Of 2, 1 scenario reaches the goal." in text


def test_a_speedup_is_judged_from_below_and_nothing_is_read_from_nothing() -> None:
    simulation: Target = TARGETS[-1]
    assert simulation.met(10.0)
    assert not simulation.met(9.99)
    found = results(timing("phiml", 1.0, group="step"), timing("eager", 5.0, group="step"))
    assert "is 5.00, 50 % below the limit of 10" in read(simulation, found)[0]
    assert read(simulation, results()) == [f"**Simulation: not measured.** Goal: {simulation.goal}."]


def test_the_page_says_when_the_machine_was_busy_and_what_first_calls_cost() -> None:
    found = results(timing("legacy", 1.0, warmup=(1.5,)), timing("phiml", 1.0, warmup=(4.0, 1.0)))
    assert "the machine was busy" in render(found, FACTS)
    assert "the machine was busy" not in render(found, {**FACTS, "load_before": 0.4})
    assert preparation(found)[-1] == "| physical fit: 64x64 | 1.5 s | 500 ms | 4 s | 3 s |"


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.34, "12.3 s"), (0.9996, "1000 ms"), (0.0021, "2.1 ms"), (3e-7, "300 ns"), (0.0, "0")],
)
def test_durations_are_readable(value: float, text: str) -> None:
    assert seconds(value) == text


def test_unequal_work_is_refused() -> None:
    def measurement(mode: str) -> Timed:
        benchmark = SimpleNamespace(extra_info={}, group=None)
        return Timed(benchmark, scenario, mode, outcomes, SCALES["smoke"])  # type: ignore[arg-type]

    scenario = Scenario("step", "", 16, 1)
    outcomes: dict[Scenario, dict[str, Outcome]] = {}
    measurement("legacy").compare({"state": np.array([1.0, -2.0])})
    measurement("phiml").compare({"state": np.array([1.0, -2.019])})
    with pytest.raises(AssertionError, match="eager and legacy did different work: state differs"):
        measurement("eager").compare({"state": np.array([1.0, -2.021])})
    outcomes.clear()
    measurement("legacy").compare({"state": np.zeros(2)})
    with pytest.raises(AssertionError, match="state of legacy says nothing"):
        measurement("phiml").compare({"state": np.zeros(2)})


def test_scenarios_have_names_of_their_own_and_share_their_data(tmp_path: Path) -> None:
    for size in SCALES.values():
        every = list(scenarios(size))
        assert len({(s.group, s.name) for s in every}) == len(every)
    legacy, phiml = (experiment(tmp_path, 16, mode=mode) for mode in ("legacy", "phiml"))
    assert legacy.data.data_dir == phiml.data.data_dir
    assert legacy.data.cache_dir != phiml.data.cache_dir
    assert legacy.trainer == phiml.trainer


def test_an_unknown_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYCO_BENCHMARKS", "tiny")
    with pytest.raises(pytest.UsageError, match="expected one of full, smoke"):
        scale()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel keeps no such mark here")
def test_the_peak_of_a_process_is_not_that_of_its_parent() -> None:
    held = bytearray(256 << 20)
    code = "from hyco.learning.clocks import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert peak_memory_mb() > len(held) / 2**20 > float(done.stdout)
