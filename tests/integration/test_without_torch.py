"""Phiml mode on JAX where PyTorch is not installed, and what is said where a library is missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hyco.config.loading import shipped_configs

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from hyco.cli import main
try:
    main({arguments})
except SystemExit as error:
    assert "torch" not in sys.modules
    sys.exit(error.code)
"""
SHORT = [
    "data.num_simulations=3",
    "data.trajectory_length=12",
    "trainer.train_sim=[0]",
    "trainer.val_sim=[1]",
    "trainer.rollout_steps=3",
    "trainer.synthetic.epochs=1",
    "trainer.physical.solve.max_iterations=3",
    "trainer.hybrid.cycles=1",
    "trainer.hybrid.augmentation.num_trajectories=1",
    "evaluation.test_sim=[2]",
    "evaluation.num_frames=10",
    "evaluation.horizon=5",
    "model.physical.domain.x.resolution=16",
    "model.physical.domain.y.resolution=16",
    "model.synthetic.architecture={levels: 2, filters: 4}",
]


def run(folder: Path, arguments: list[str], missing: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process in which packages are missing."""
    script = SCRIPT.format(missing=(missing,), arguments=arguments)
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("name", ["burgers", "heat", "advection"])
def test_a_run_from_generation_to_report(name: str, tmp_path: Path) -> None:
    done = run(tmp_path, ["run", name, "trainer.backend=jax", *SHORT], "torch")
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "results" / name
    summary = json.loads((folder / "metrics.json").read_text())
    assert {"synthetic", "physical"} <= set(summary.get("models", summary))
    assert (folder / "report.html").stat().st_size > 10_000
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["jax"] and environment["backend"] == "jax"


def test_a_training_goes_on_without_torch(tmp_path: Path) -> None:
    short = [*SHORT, "trainer.backend=jax", "general.mode=synthetic"]
    longer = [s for s in short if not s.startswith("trainer.synthetic.epochs")]
    assert run(tmp_path, ["run", "heat", *short], "torch").returncode == 0
    more = ["run", "heat", *longer, "trainer.synthetic.epochs=2", "--resume", "--force"]
    done = run(tmp_path, more, "torch")
    assert done.returncode == 0, done.stderr[-3000:]
    history = (tmp_path / "results" / "heat" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2]


@pytest.mark.parametrize(
    ("missing", "backend", "words"),
    [
        ("torch", "torch", r"trainer\.backend: torch needs the package 'torch'.*pip install torch.*to jax"),
        ("jax", "jax", r"trainer\.backend: jax needs the package 'jax'.*hyco\[jax\].*to torch"),
        ("equinox", "jax", r"trainer\.backend: jax needs the package 'equinox'.*hyco\[jax\].*to torch"),
        ("optax", "jax", r"trainer\.backend: jax needs the package 'optax'.*hyco\[jax\].*to torch"),
    ],
)
def test_a_missing_library(missing: str, backend: str, words: str, tmp_path: Path) -> None:
    done = run(tmp_path, ["run", "heat", f"trainer.backend={backend}", *SHORT], missing)
    assert done.returncode == 2, done.stderr[-3000:]
    assert re.search(words, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists()  # said before any work


def test_the_requirements_are_those_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [d for d in project["dependencies"] if not d.startswith("torch")]
    wanted += project["optional-dependencies"]["jax"]
    lines = (ROOT / "requirements-jax.txt").read_text().splitlines()
    assert sorted(line for line in lines if not line.startswith("#")) == sorted(wanted)


def test_the_configurations_that_are_run_ship() -> None:
    assert {"burgers", "heat", "advection"} <= set(shipped_configs())
