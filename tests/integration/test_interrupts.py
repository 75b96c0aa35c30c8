"""Ctrl-C: the state is saved, the message says how to go on, and going on changes nothing in the result."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.storage.run_directory import RunDirectory
from tests.integration.conftest import Here, Project

EPOCHS = 40
LONG = (f"trainer.synthetic.epochs={EPOCHS}", "general.tasks=[train]")
TOTAL = 2 * (EPOCHS + 1) + 1
LINES = {"legacy": 3, "phiml": EPOCHS + 5}  # of history before Ctrl-C: in the warm-up, in the cycle


def wait_for(history: Path, lines: int, process: subprocess.Popen[str]) -> None:
    """Until a history has so many lines."""
    deadline = time.monotonic() + 120
    while not history.exists() or history.read_text().count("\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the training did not get that far"
        time.sleep(0.005)


def states(checkpoints: Path, side: str) -> dict[str, NDArray[Any]]:
    """Every array of both trainers' last states and both best models."""
    read = import_module(f"hyco.{side}.checkpoints").read_checkpoint
    kinds = {
        "physical": "physical training state",
        "synthetic": "synthetic training state",
        "physical_best": "burgers physical model",
        "synthetic_best": "unet network",
    }
    newest = max(checkpoints.glob("last-*"))
    paths = sorted(p for p in (*checkpoints.iterdir(), *newest.iterdir()) if p.stem in kinds)
    assert sorted(kinds) == sorted(path.stem for path in paths)
    return {f"{p.stem} {name}": a for p in paths for name, a in read(p, kinds[p.stem])[0].items()}


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    project: Project, hyco_here: Here, side: str
) -> None:
    lines = LINES[side]
    mode = f"migration.mode={side}"
    assert hyco_here("generate", "tiny.yaml", mode).status == 0
    assert project.hyco("run", "tiny.yaml", mode, *LONG, "general.output_dir=whole").status == 0

    typed = ["run", "tiny.yaml", mode, *LONG, "general.output_dir=cut"]
    process = project.popen(sys.executable, "-m", "hyco", *typed)
    wait_for(project.folder / "cut" / "history.jsonl", lines, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert lines <= len(project.history("cut")) < TOTAL
    assert project.temporaries() == []

    message, newest = err.splitlines()[-1], project.newest("cut").name
    assert "Traceback" not in err
    assert message.startswith(f"hyco: interrupted; the state is saved in cut/checkpoints/{newest}. ")
    command = shlex.split(message.partition("Go on with: ")[2])
    assert command == ["python", "-m", "hyco", *typed, "--resume"]
    resumed = project.python(*command[1:])
    assert resumed.status == 0, resumed.err

    assert len(project.history("whole")) == TOTAL
    assert project.history("cut") == project.history("whole")
    cut, whole = (states(project.folder / run / "checkpoints", side) for run in ("cut", "whole"))
    assert cut.keys() == whole.keys()
    for name, expected in whole.items():
        np.testing.assert_array_equal(cut[name], expected, err_msg=name)


@pytest.mark.parametrize("moment", ["before 2", "after 4", "before 5", "judging"])
def test_no_moment_of_an_interrupt_loses_a_record(
    project: Project, hyco_here: Here, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    assert hyco_here("generate", "tiny.yaml").status == 0
    assert hyco_here("train", "tiny.yaml", "general.output_dir=whole").status == 0
    write = RunDirectory.record

    def record(directory: RunDirectory, entry: dict[str, Any]) -> None:
        if moment == f"before {len(directory.history) + 1}":
            raise KeyboardInterrupt
        write(directory, entry)
        if moment == f"after {len(directory.history)}":
            raise KeyboardInterrupt

    def judge(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "record", record)
        if moment == "judging":
            patch.setattr("hyco.learning.cooperation._cycle_record", judge)
        assert hyco_here("train", "tiny.yaml", "general.output_dir=cut").status == 130
    assert hyco_here("train", "tiny.yaml", "general.output_dir=cut", "--resume").status == 0
    assert len(project.history("whole")) == 5
    assert project.history("cut") == project.history("whole")


def test_an_interrupt_before_the_training_has_nothing_to_resume(project: Project) -> None:
    process = project.popen(sys.executable, "-m", "hyco", "run", "tiny.yaml", "data.num_simulations=2000")
    data = project.folder / "data" / "tiny"
    deadline = time.monotonic() + 60
    while not (data / "sim_000002.h5").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "hyco: interrupted; what was finished stays in data/tiny, results/tiny. "
        "Go on with: python -m hyco run tiny.yaml data.num_simulations=2000"
    )
    assert project.temporaries() == []
