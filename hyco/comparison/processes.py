"""A training in a process of its own: what it takes from start to end, and how much memory at the most."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

from hyco.config import Config, load_config
from hyco.errors import RunError
from hyco.learning.clocks import peak_memory_mb
from hyco.migration.factory import choices, mode_from
from hyco.storage.atomic import write_text

Cost = dict[str, float]


def train_in_process(config: Config) -> Cost:
    """Train as `config` says in a fresh interpreter.

    Returns `seconds` of the training, compilation included and imports not; `memory_mb`, the most that the
    process held; `imports_mb`, what of it was there before the training.
    Raises RunError with its last words when it fails.
    """
    path = config.output_dir / "compare.yaml"
    write_text(path, config.to_yaml())
    command = [sys.executable, "-m", "hyco.comparison", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise RunError(
            f"the training in {config.output_dir} failed (exit status {done.returncode}): {last[0]}"
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def train_here(path: Path) -> Cost:
    """Train in this process, and say what it took."""
    from hyco.tasks import train

    config = load_config(path)
    with mode_from(config):
        for side in {row.mode for row in choices(config)}:
            importlib.import_module(f"hyco.{side}.device").Compute("cpu")  # loads what is computed with
    imports, began = peak_memory_mb(), time.perf_counter()
    train(config)
    return {
        "seconds": time.perf_counter() - began,
        "memory_mb": peak_memory_mb(),
        "imports_mb": imports,
    }
