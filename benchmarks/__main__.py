"""All benchmarks, and the page made of them, by one command: `python -m benchmarks`.

The sessions are processes of their own: one with all threads, one with a single thread for a few scenarios,
and one on the GPU where there is one.  Their figures stay in `.benchmarks/`, from which
`python -m benchmarks.page .benchmarks/*.json --output docs/benchmarks.md` makes the page again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.page import page
from benchmarks.scenarios import DEVICE

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
KEPT = ROOT / ".benchmarks"
SINGLE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def main() -> int:
    """Run them, write the page, and return pytest's exit status; a failed run leaves the page as it was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=PAGE, help="the page (default: docs/benchmarks.md)")
    parser.add_argument("--only", metavar="EXPRESSION", help="scenarios whose names match, as pytest's -k")
    given = parser.parse_args()
    if given.only and given.output == PAGE:
        parser.error("--only measures a part, which is no page of its own: say where to with --output.")
    chosen = ["-k", given.only] if given.only else []
    KEPT.mkdir(exist_ok=True)
    paths = []
    for name, environment, arguments in sessions():
        path = KEPT / f"{name}.json"
        status = measure(path, environment, [*arguments, *chosen])
        if status == 5 and name != "all-threads":  # of the chosen ones none is timed there
            continue
        if status != 0:
            return status
        paths.append(path)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(page(paths, given.output.parent), encoding="utf-8")
    print(f"written: {given.output}")
    return 0


def sessions() -> list[tuple[str, dict[str, str], list[str]]]:
    """(name, environment, arguments of pytest) of what is to be run here."""
    import torch

    host = {DEVICE: "cpu"}
    found = [("all-threads", host, []), ("one-thread", {**host, **SINGLE}, ["-m", "key"])]
    return [*found, ("cuda", {DEVICE: "cuda"}, [])] if torch.cuda.is_available() else found


def measure(path: Path, environment: dict[str, str], arguments: list[str]) -> int:
    """Run pytest; its exit status."""
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", f"--benchmark-json={path}"]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env={**os.environ, **environment}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
