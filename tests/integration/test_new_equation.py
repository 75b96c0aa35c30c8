"""The worked example of docs/new-equation.md: its files, put into a copy of hyco, are a new equation."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hyco
from hyco.config import shipped_configs

PACKAGE = Path(hyco.__file__).parent
GUIDE = Path(__file__).parents[2] / "docs" / "new-equation.md"
SHORT = ["trainer.synthetic.epochs=1", "data.trajectory_length=12", "trainer.precision=float64"]

COMPARE = """
import tempfile
from pathlib import Path
from hyco.testing.matrix import CELLS, compare

cells = [c for c in CELLS if c.case.equation == "fisher_kpp" and c.precision == "float64"]
chosen = [c for c in cells if c.surrogate == "convnet" and c.case.coefficient == "mixed"][::4]
print(len(cells), len(chosen))
for cell in chosen:
    with tempfile.TemporaryDirectory() as folder:
        for difference in compare(cell, Path(folder))["torch"].values():
            assert difference.passed, (cell.name, difference)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hyco with the files of the page in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, folder / "hyco", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(shipped_configs()["burgers"].parent, folder / "configs")
    text = GUIDE.read_text(encoding="utf-8")
    files = re.findall(r"^`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [Path(name).suffix for name, _ in files] == [".py", ".py", ".py", ".yaml"]
    for name, content in files:
        assert not (folder / name).exists()
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str) -> str:
    """Python in the copy; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_experiment_of_the_page_runs_in_both_modes_and_recovers_its_parameters(copy: Path) -> None:
    found = {}
    for mode in ("legacy", "phiml"):
        results = f"general.output_dir=results/{mode}"
        run(copy, "-m", "hyco", "run", "fisher_kpp", f"migration.mode={mode}", results, *SHORT)
        found[mode] = json.loads((copy / "results" / mode / "metrics.json").read_text())
        for parameter in found[mode]["parameters"].values():
            assert parameter["ratio_to_initial"] < 0.5
    for name, parameter in found["legacy"]["parameters"].items():
        other = found["phiml"]["parameters"][name]["recovered"]["relative_l2"]
        assert other == pytest.approx(parameter["recovered"]["relative_l2"], rel=1e-6)


def test_the_matrix_knows_the_equation(copy: Path) -> None:
    out = run(copy, "-W", "ignore", "-c", COMPARE)
    cells, chosen = map(int, out.split())
    assert cells == 3 * 3 * 3 * 4  # ranks, kinds, boundaries, surrogates
    assert chosen >= 2
