"""What it costs to begin: a fresh interpreter that imports one side."""

from __future__ import annotations

import subprocess
import sys
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
    timed(lambda: subprocess.run(command, cwd=ROOT, check=True), warmup=1)
