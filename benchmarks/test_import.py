"""What it costs to begin: a fresh interpreter that imports one side, or runs up to its first step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Timed
from benchmarks.scenarios import Scenario, cases

ROOT = Path(__file__).parent.parent


@cases("import")
def test_import(timed: Timed, scenario: Scenario, mode: str) -> None:
    code = f"import hyco.{mode}"
    if scenario.variant == "ready to compute":  # phiml mode loads the library that it computes with late
        code += f"; from hyco.{mode}.device import Compute; Compute('cpu')"
    command = [sys.executable, "-c", code]
    timed(lambda: subprocess.run(command, cwd=ROOT, check=True), warmup=1, rounds=3)


@cases("start-up")
def test_start_up(timed: Timed, tmp_path: Path, scenario: Scenario, mode: str) -> None:
    """Nothing is there yet but what earlier processes compiled, so that the first step is a simulation's."""
    when = "after" if "after" in scenario.variant else "before"
    homes: Iterator[Path] = (tmp_path / str(number) for number in range(1000))

    def command() -> list[str]:
        home = next(homes)
        places = [f"data.data_dir={home / 'data'}", f"data.cache_dir={home / 'cache'}"]
        settings = [*places, f"general.output_dir={home / 'results'}", f"migration.mode={mode}"]
        start = [sys.executable, "-m", "benchmarks.startup", when]
        return [*start, "run", "burgers", *settings, "trainer.device=cpu"]

    timed(
        lambda made: subprocess.run(made, cwd=ROOT, check=True, capture_output=True),
        setup=command,
        warmup=1,
    )
