"""A whole training run in a process of its own: its memory, how much of that is imports, and its cycles.

python -m benchmarks.memory CONFIG.yaml        trains it, and prints the figures as JSON
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hyco
from hyco import Config
from hyco.learning.clocks import peak_memory_mb

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """What a training run took, and what it did.

    Attributes: imports, peak: MiB after its imports, and at the most; cycles: seconds of each; work: by name,
    what both modes must have done alike; evaluations: how often the fits asked for the loss of the physics,
    which rounding may change.
    """

    imports: float
    peak: float
    cycles: list[float]
    work: dict[str, float]
    evaluations: int


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
    done = what_was_done(config.output_dir / "history.jsonl")
    print(json.dumps({"imports": imports, "peak": peak_memory_mb(), **done}))


def what_was_done(history: Path) -> dict[str, Any]:
    """`cycles`, `work` and `evaluations` of a `Run`, from the records of the run."""
    records = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    epochs, cycles = (
        [r for r in records if r["kind"] == "epoch"],
        [r for r in records if r["kind"] == "cycle"],
    )
    return {
        "cycles": [r["timing"]["seconds"] for r in cycles],
        "work": {
            "surrogate loss": [r["train_loss"] for r in epochs if r["model"] == "synthetic"][-1],
            "generated windows": cycles[-1]["generated_for_synthetic"],
        },
        "evaluations": sum(r["evaluations"] for r in epochs if r["model"] == "physical"),
    }


if __name__ == "__main__":
    main(sys.argv[1])
