"""A whole training run in a process of its own: how much memory it takes, and how much of that is imports.

python -m benchmarks.memory CONFIG.yaml        trains it, and prints the figures as JSON
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hyco
from hyco import Config
from hyco.learning.clocks import peak_memory_mb

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """What a training run took, and what it did: MiB after its imports, MiB at the most, facts by name."""

    imports: float
    peak: float
    work: dict[str, float]


def train_in_process(config: Config) -> Run:
    """Train as `config` says in a fresh interpreter; RuntimeError with its last words when it fails."""
    path = config.output_dir / "benchmark.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config.to_yaml(), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.memory", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def main(path: str) -> None:
    """Train, and print the figures."""
    config = hyco.load_config(path)
    side = config.migration.mode
    importlib.import_module(f"hyco.{side}")
    importlib.import_module(f"hyco.{side}.device").Compute("cpu")  # loads what is computed with
    imports = peak_memory_mb()
    hyco.train(config)
    work = work_done(config.output_dir / "history.jsonl")
    print(json.dumps({"imports": imports, "peak": peak_memory_mb(), "work": work}))


def work_done(history: Path) -> dict[str, float]:
    """The surrogate's last training loss, and how often the fits asked for the loss of the physics."""
    records = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    epochs = [r for r in records if r["kind"] == "epoch"]
    return {
        "surrogate loss": [r["train_loss"] for r in epochs if r["model"] == "synthetic"][-1],
        "evaluations": sum(r["evaluations"] for r in epochs if r["model"] == "physical"),
    }


if __name__ == "__main__":
    main(sys.argv[1])
