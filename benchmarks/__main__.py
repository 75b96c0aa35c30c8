"""All benchmarks, and the page made of them, by one command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.results import Results
from benchmarks.table import render

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    """Run them, write the page, and return pytest's exit status; a failed run leaves the page as it was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=PAGE, help="the page (default: docs/benchmarks.md)")
    output = parser.parse_args().output
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "benchmarks",
            "--benchmark-only",
            f"--benchmark-json={result}",
        ]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status == 0:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(render(*Results.read(result)), encoding="utf-8")
            print(f"written: {output}")
    return status


if __name__ == "__main__":
    sys.exit(main())
