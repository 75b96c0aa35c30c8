"""A tiny experiment in a folder of its own, and the command line as a user types it there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).resolve().parents[2]
CONFIG = """
general: {experiment_name: tiny, mode: hybrid, seed: 3}
migration: {mode: legacy}
data: {num_simulations: 4, trajectory_length: 8}
cache: {workers: 0}
model:
  physical:
    name: burgers
    domain: {x: {size: 16, resolution: 16}}
    dt: 0.2
    parameters: {diffusion_coeff: {type: field, value: "0.1 + 0.2*x/size_x"}}
  synthetic: {architecture: {levels: 2, filters: 4}}
trainer:
  device: cpu
  precision: float64
  batch_size: 4
  rollout_steps: 3
  synthetic: {epochs: 1}
  physical:
    learnable_parameters: [{name: diffusion_coeff, initial_guess: 0.1}]
    solve: {max_iterations: 3}
  hybrid: {cycles: 1, warmup: 1, augmentation: {num_trajectories: 1, trajectory_length: 4}}
evaluation: {visualization: {dpi: 30}}
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what was wrong: the last of stderr, and the only one of its kind."""
        lines = self.err.splitlines()
        assert [line for line in lines if "error" in line] == lines[-1:], self.err
        assert "Traceback" not in self.err + self.out
        return lines[-1]


@dataclass(frozen=True)
class Project:
    """A folder with `tiny.yaml` in it."""

    folder: Path

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """A command started in the folder; Ctrl-C reaches it even where the tests run in the background."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell does so for `&`; children inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        env = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        env.pop("HYCO_MODE", None)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=env, text=True, **pipes, **options)  # type: ignore[call-overload, no-any-return]

    def python(self, *arguments: str, **options: Any) -> Outcome:
        """Python with these arguments, to its end."""
        process = self.popen(sys.executable, *arguments, **options)
        out, err = process.communicate(timeout=240)
        return Outcome(process.returncode, out, err)

    def hyco(self, *arguments: str, **options: Any) -> Outcome:
        """`hyco ARGUMENTS` in a process of its own."""
        return self.python("-m", "hyco", *arguments, **options)

    def history(self, run: str = "results/tiny") -> list[dict[str, Any]]:
        """The history of a run, without what a clock or a memory gauge says."""
        lines = (self.folder / run / "history.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "timing"} for line in lines]

    def newest(self, run: str = "results/tiny") -> Path:
        """The folder of a run's newest state."""
        return max((self.folder / run / "checkpoints").glob("last-*"))

    def temporaries(self) -> list[Path]:
        """Files and folders that a write in progress would have left behind."""
        return list(self.folder.rglob(".*"))


@dataclass(frozen=True)
class Here:
    """The command line in this process, which spares the import of the frameworks."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Outcome:
        """`hyco ARGUMENTS`."""
        from hyco.cli import main

        self.capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = self.capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, out, err)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A tiny experiment in a new folder."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return Project(tmp_path)


@pytest.fixture
def hyco_here(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process, inside the project's folder."""
    monkeypatch.chdir(project.folder)
    return Here(capsys)
