"""The benchmarks run, refuse unequal work, and are read as the numbers say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.experiments import experiment, shipped
from benchmarks.measure import Outcome, Timed
from benchmarks.results import Results, ratio_lines
from benchmarks.scenarios import SCALES, Scenario, scale, scenarios
from benchmarks.sessions import Session
from benchmarks.startup import WAYS
from hyco import load_config
from hyco.interfaces import PhysicalModel
from hyco.learning.clocks import peak_memory_mb

ROOT = Path(__file__).parents[2]
CHOSEN = "roofs or test_step or test_load or (forward and heat) or (synthetic and update) or start_up"
GROUPS = {"roofs", "step", "load", "forward and backward", "start-up", "synthetic training"}
COLUMNS = {
    "roofs": ["machine"],
    "step": ["legacy", "phiml", "phiflow", "eager"],
    "forward and backward": ["legacy", "phiml", "phiflow"],
    "synthetic training": ["legacy", "phiml", "bare"],
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest on the smallest scenarios, as a user starts it."""
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", "-p", "no:cacheprovider"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env={**clean, "HYCO_BENCHMARKS": "smoke", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(output, JSON) of a real run."""
    path = tmp_path_factory.mktemp("benchmarks") / "result.json"
    done = run(f"--benchmark-json={path}", "-k", CHOSEN)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout, path


def test_a_run_times_every_mode_of_every_chosen_scenario(smoke: tuple[str, Path]) -> None:
    found, facts = Results.read(smoke[1])
    partly = {"synthetic training": "update", "forward and backward": "heat"}
    expected = {
        (s.group, s.name)
        for s in scenarios(SCALES["smoke"])
        if s.group in GROUPS and partly.get(s.group, "") in s.name
    }
    assert set(found.timings) == expected
    for (group, _), modes in found.timings.items():
        assert list(modes) == COLUMNS.get(group, ["legacy", "phiml"])
        assert all(t.median > 0 and t.rounds >= 2 and len(t.warmup) == 1 for t in modes.values())
    assert facts["threads"] == 1
    assert facts["device"] == "cpu"
    assert facts["versions"]["torch"]


def test_a_run_ends_with_the_ratios_and_makes_a_page(smoke: tuple[str, Path], tmp_path: Path) -> None:
    output, path = smoke
    found = Session.read(path).results
    assert all(line in output for line in ratio_lines(found))
    written = tmp_path / "docs" / "benchmarks.md"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.page", str(path), "--output", str(written)], cwd=ROOT, check=True
    )
    page = written.read_text()
    for (group, name), modes in found.timings.items():
        if group != "roofs":
            ratio = modes["phiml"].median / modes["legacy"].median
            rows = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
            assert any(f" {ratio:.2f} |" in row for row in rows)
    assert "there was no CUDA device" in page


def test_without_a_gpu_everything_is_skipped_with_the_reason() -> None:
    done = run("-k", "test_step", "-rs", HYCO_BENCHMARKS_DEVICE="cuda", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "cuda: PyTorch sees no CUDA device here" in done.stdout
    assert "passed" not in done.stdout


def test_foreign_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"machine_info": {}, "benchmarks": []}))
    with pytest.raises(ValueError, match="'hyco' is missing"):
        Results.read(path)


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
    modes = "legacy", "phiml", "phiflow"
    legacy, phiml, phiflow = (experiment(tmp_path, 16, mode=mode) for mode in modes)
    assert legacy.data.data_dir == phiml.data.data_dir == phiflow.data.data_dir
    assert legacy.data.cache_dir != phiml.data.cache_dir
    assert legacy.trainer == phiml.trainer
    assert phiflow.trainer.model_copy(update={"kernels": "auto"}) == phiml.trainer
    assert phiflow.trainer.kernels == "phiflow"


def test_the_shipped_experiment_is_changed_in_its_places_only(tmp_path: Path) -> None:
    scenario = next(s for s in scenarios(SCALES["full"]) if s.group == "training run")
    found = shipped(tmp_path, scenario, mode="phiml", size=SCALES["full"])
    own = load_config("burgers", ["trainer.device=cpu"])
    assert (found.trainer, found.model, found.cache) == (own.trainer, own.model, own.cache)
    assert found.data.num_simulations == own.data.num_simulations
    assert found.data.data_dir.is_relative_to(tmp_path)


@pytest.mark.parametrize("equation", ["burgers", "heat", "advection"])
def test_a_cell_is_the_same_work_on_every_grid(equation: str, tmp_path: Path) -> None:
    coarse, fine = (experiment(tmp_path, n, equation=equation) for n in (32, 64))
    for name, value in coarse.true_parameters().items():
        times = [c.model.physical.dt / c.grid.spacing[0] for c in (coarse, fine)]
        assert times[0] == pytest.approx(times[1])  # CFL number of a unit of velocity
        numbers = [
            np.mean(c.true_parameters()[name]) * c.model.physical.dt / c.grid.spacing[0] ** 2
            for c in (coarse, fine)
        ]
        if equation != "advection":
            assert numbers[0] == pytest.approx(numbers[1], rel=0.01)
        assert np.ptp(value) > 0


def test_start_up_watches_every_way_to_take_a_step() -> None:
    assert all(callable(getattr(PhysicalModel, way)) for way in WAYS)


def test_start_up_is_not_timed_where_no_step_was_taken() -> None:
    command = [sys.executable, "-m", "benchmarks.startup", "before", "configs"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 3


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
