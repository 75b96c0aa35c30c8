"""Whole runs through the real command line: what they leave, and that all modes do the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.conftest import SOURCES, Outcome, Project

MIXTURE = "{dataset: phiml, synthetic_model: phiml, hybrid_trainer: phiml}"
MODES = {
    "legacy": ["migration.mode=legacy"],
    "phiml": ["migration.mode=phiml"],
    "mixture": ["migration.mode=hybrid", f"migration.components={MIXTURE}"],
}
SUFFIXES = {"legacy": (".pth", ".pth"), "phiml": (".phiml", ".phiml"), "mixture": (".phiml", ".pth")}
LOSSES = (
    "train_loss",
    "validation_loss",
    "initial_loss",
    "learning_rate",
    "synthetic_loss",
    "physical_loss",
)


def check_files(run: Path, best: tuple[str, str]) -> None:
    """Everything that a run directory holds."""
    for name in ("config.yaml", "environment.json", "history.jsonl", "metrics.json", "log.txt"):
        assert (run / name).stat().st_size > 0, name
    for model, suffix in zip(("synthetic", "physical"), best, strict=True):
        assert (run / "checkpoints" / f"{model}_best{suffix}").is_file()
        assert len(list((run / "checkpoints").glob(f"last-*/{model}.*"))) == 3  # checkpoint.keep
    newest = max((run / "checkpoints").glob("last-*"))
    state = json.loads((newest / "run.json").read_text())
    assert state["epochs"] == {"synthetic": 2, "physical": 2}
    assert (state["records"], state["finished"]) == (5, True)
    assert len(list((run / "figures").glob("*.png"))) >= 4
    animations = sorted(path.name for path in (run / "animations").iterdir())
    assert animations == ["parameters_diffusion_coeff.gif", "sim_3.gif"]
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4
    assert page.count("data:image/gif;base64,") == len(animations)
    assert 'src="http' not in page
    assert "<link" not in page
    facts = json.loads((run / "environment.json").read_text())
    assert facts["packages"]["torch"]
    assert len(facts["modes"]) == 7
    log = (run / "log.txt").read_text()
    assert log.count("hybrid_trainer") == 1
    assert "cycle 1:" in log
    assert "ERROR" not in log


def check_output(done: Outcome, run: str) -> None:
    """The table of modes and progress on stderr, the headlines and the report on stdout, nothing else."""
    assert done.status == 0, done.err
    headlines = done.out.splitlines()
    assert len(headlines) == 4
    assert headlines[-1] == f"report: {run}/report.html"
    assert "nRMSE" in headlines[0]
    assert "diffusion_coeff, relative L2 error" in headlines[2]
    lines = done.err.splitlines()
    assert lines[0].split() == ["component", "implementation", "mode", "chosen", "by"]
    assert sum(line.startswith("synthetic_model ") for line in lines) == 1
    for expected in (
        "\nsimulations 4/4 (",
        "\nwarm-up, surrogate epoch 1: loss ",
        "\ncycle 1, surrogate epoch 2: loss ",
        "\ncycle 1, physics solve 2: loss ",
        "\ncycle 1: surrogate ",
        "\ntest simulations 1/1 (",
    ):
        assert done.err.count(expected) == 1, expected
    assert "Warning" not in done.err
    assert "Initializing backend" not in done.err + done.out


def test_every_mode_makes_the_same_run(project: Project) -> None:
    histories: dict[str, list[dict[str, Any]]] = {}
    for name, overrides in MODES.items():
        folders = [
            f"general.output_dir=out/{name}",
            f"data.data_dir=data/{name}",
            f"data.cache_dir=cache/{name}",
        ]
        done = project.hyco("run", "tiny.yaml", *overrides, *folders)
        check_output(done, f"out/{name}")
        check_files(project.folder / "out" / name, SUFFIXES[name])
        histories[name] = project.history(f"out/{name}")
    reference = histories["legacy"]
    assert [(r["kind"], r.get("model"), r["cycle"]) for r in reference] == [
        ("epoch", "synthetic", 0),
        ("epoch", "physical", 0),
        ("epoch", "synthetic", 1),
        ("epoch", "physical", 1),
        ("cycle", None, 1),
    ]
    for history in histories.values():
        assert [list(r) for r in history] == [list(r) for r in reference]
        for record, expected in zip(history, reference, strict=True):
            for key in [k for k in LOSSES if k in expected]:
                np.testing.assert_allclose(record[key], expected[key], rtol=1e-8, atol=0, err_msg=key)
    assert project.temporaries() == []


def test_a_second_run_uses_what_is_there_and_says_so(project: Project) -> None:
    first = project.python(str(SOURCES / "run.py"), "--config-name=tiny.yaml", "cache.workers=2")
    assert first.status == 0
    assert "caching 3 trajectories in data/cache/tiny" in first.err
    files = sorted(project.folder.glob("data/**/*.*"))
    before = {path: path.stat().st_mtime_ns for path in files}
    assert len(before) == 8
    second = project.hyco("train", "tiny.yaml")
    assert second.status == 0
    assert "3 of 3 trajectories are loaded from the cache in data/cache/tiny" in second.err
    assert {path: path.stat().st_mtime_ns for path in files} == before
    quiet = project.hyco("evaluate", "tiny.yaml", "--quiet")
    assert (quiet.status, quiet.err, quiet.out) == (0, "", first.out)


def test_a_legacy_training_loads_neither_phi_nor_phiml(project: Project) -> None:
    script = (
        "import sys\n"
        "from hyco.cli import main\n"
        "try:\n"
        "    main(['run', 'tiny.yaml', '-q', 'general.tasks=[generate, train]'])\n"
        "except SystemExit as ended:\n"
        "    print(ended.code, *sorted({'torch', 'phi', 'phiml', 'jax', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = project.python("-c", script)
    assert done.out == "0 torch\n", done.err
    assert len(project.history()) == 5


def test_phiml_data_in_numpy_need_no_torch(project: Project) -> None:
    assert project.hyco("generate", "tiny.yaml", "-q").status == 0
    script = (
        "import sys\n"
        "from hyco.config import load_config\n"
        "from hyco.migration.factory import Factory, mode_from\n"
        "config = load_config('tiny.yaml', ['migration.mode=phiml', 'cache.backend=numpy'])\n"
        "with mode_from(config):\n"
        "    factory = Factory(config)\n"
        "    data = factory.dataset(factory.data_manager(), (0, 1))\n"
        "    batch = data.get_batch([0, 5])\n"
        "print(len(data), batch.initial.dtype.bits, 'torch' in sys.modules)\n"
    )
    done = project.python("-c", script)
    windows, bits, torch = done.out.split()
    assert (windows, bits, torch) == ("12", "64", "False")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals here")
def test_bars_on_a_terminal_go_through_all_phases(project: Project) -> None:
    """Nested, one line each, until the end; several epochs and solves, so that every bar begins anew."""
    ours, theirs = os.openpty()
    shown = bytearray()

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while data := os.read(ours, 4096):
                shown.extend(data)

    more = ["general.tasks=[generate, train]", "trainer.synthetic.epochs=3", "trainer.physical.epochs=2"]
    running = subprocess.Popen(
        [sys.executable, "-m", "hyco", "run", "tiny.yaml", *more],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "COLUMNS": "60", "LINES": "40", "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    assert running.wait(120) == 0, bytes(shown)
    reader.join(60)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    last = [line.split("━")[0].rstrip() for line in text.splitlines() if "━" in line][-6:]
    assert last == [
        "simulations",
        "rounds",
        "└ surrogate epochs",
        "└ physical solves",
        "  └ batches",
        "  └ iterations",
    ]
