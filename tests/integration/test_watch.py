"""`hyco watch`: running, finished, killed and damaged runs, alone and several."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hyco.report.standing import sparkline
from hyco.storage.glance import holder_of, runs_in
from hyco.storage.locking import HOLDER, locked
from tests.integration.conftest import Here, Project

CONFIG = """
general: {experiment_name: tiny, mode: hybrid, tasks: [generate, train, evaluate]}
trainer: {synthetic: {epochs: 2}, physical: {epochs: 1}, hybrid: {cycles: 2, warmup: 1}}
"""
MODES = [{"component": c, "mode": "phiml"} for c in ("dataset", "physical_model")]
SCORES = {"steps": 7, "nrmse": 0.25, "baseline_nrmse": 0.5, "ratio_to_baseline": 0.5}
METRICS = {
    "baseline": {"horizon": SCORES},
    "models": {"synthetic": {"horizon": SCORES}},
    "parameters": {},
}


def epoch(number: int, **more: Any) -> dict[str, Any]:
    """The record of the surrogate's epoch `number`, two of which are in each round."""
    cycle = (number - 1) // 2
    return {
        "kind": "epoch",
        "model": "synthetic",
        "phase": "cycle" if cycle else "warmup",
        "cycle": cycle,
        "epoch": number,
        "train_loss": 0.1**number,
        "validation_loss": 2 * 0.1**number,
        "learning_rate": 1e-3,
        "rollout_steps": 4,
        "best": True,
        "timing": {"seconds": 2.0, "peak_memory_mb": 100.0},
        **more,
    }


def solve(number: int, **more: Any) -> dict[str, Any]:
    """The record of a solve, one of which is in each round."""
    return {
        "kind": "epoch",
        "model": "physical",
        "phase": "cycle" if number > 1 else "warmup",
        "cycle": number - 1,
        "epoch": number,
        "train_loss": 0.5,
        "validation_loss": None,
        "iterations": 9,
        "status": "converged",
        "best": number == 1,
        "parameters": {"nu": {"mean": 0.125, "min": 0.0625, "max": 0.25}},
        "timing": {"seconds": 4.0, "peak_memory_mb": 100.0},
        **more,
    }


def cycle(number: int) -> dict[str, Any]:
    """The record of a cycle that took 2 seconds beside its epochs and its solve."""
    return {
        "kind": "cycle",
        "cycle": number,
        "synthetic_loss": 0.1,
        "physical_loss": 0.2,
        "generated_for_synthetic": 5,
        "generated_for_physical": 5,
        "timing": {"seconds": 10.0, "peak_memory_mb": 100.0},
    }


WARM_UP = [epoch(1), epoch(2), solve(1)]
ROUNDS = [WARM_UP, [epoch(3), epoch(4), solve(2), cycle(1)], [epoch(5), epoch(6), solve(3), cycle(2)]]
ALL = [record for part in ROUNDS for record in part]


def text_of(records: list[dict[str, Any]]) -> str:
    """Records as a history holds them."""
    return "".join(json.dumps(record) + "\n" for record in records)


def replace_file(path: Path, text: str) -> None:
    """Put a file in place as a run does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def make_run(
    folder: Path, records: list[dict[str, Any]], *, config: str = CONFIG, scored: bool = False
) -> Path:
    """The folder of a run that is not at work."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config)
    (folder / "environment.json").write_text(json.dumps({"device": "cpu", "modes": MODES}))
    (folder / "history.jsonl").write_text(text_of(records))
    if scored:
        (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files with their times and contents."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


# -- the state of one run ----------------------------------------------------------------------------------


def test_a_finished_run_shows_its_losses_parameters_and_scores(hyco_here: Here, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ALL, scored=True)
    before = snapshot(tmp_path)
    shown = hyco_here("watch", str(run), "--once")
    assert (shown.status, shown.err) == (0, "")
    words = " ".join(shown.out.split())
    assert f"tiny hybrid, phiml, device cpu {run}" in words
    assert "done: evaluated, last record 0:0" in words
    assert re.search(r"surrogate 6/6 1\.00e-06 2\.00e-06 2\.00e-06 \(epoch 6\) █▇▅▄▂▁ 2 s", words)
    assert "learning rate 0.001, windows of 4 frames" in words
    assert "physics 3/3 5.00e-01 5.00e-01 (solve 1)" in words and "9 iterations, converged" in words
    assert "nu: mean 0.125, min 0.0625, max 0.25" in words
    assert "Surrogate, nRMSE over 7 steps: 0.25 (0.5 times the 'nothing changes' baseline's 0.5)" in words
    assert snapshot(tmp_path) == before


def test_a_running_one_shows_its_process_and_the_time_left(hyco_here: Here, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ROUNDS[0] + ROUNDS[1])
    with locked(run):
        words = " ".join(hyco_here("watch", str(run), "--once").out.split())
    # two epochs of 2 s, one solve of 4 s, and the 2 s that the last cycle took beside its epochs and solve
    assert f"running: cycle 1 of 2, process {os.getpid()} on {socket.gethostname()}" in words
    assert "about 0:10 left" in words
    assert "surrogate 4/6" in words and "physics 2/3" in words


@pytest.mark.parametrize(
    ("records", "phase"),
    [
        ([], "preparing"),
        (WARM_UP[:1], "warm-up"),
        (ROUNDS[0] + ROUNDS[1][:1], "cycle 1 of 2"),
        (ALL, "evaluating"),
    ],
)
def test_the_phase_is_named(hyco_here: Here, tmp_path: Path, records: list[Any], phase: str) -> None:
    run = make_run(tmp_path / "run", records)
    with locked(run):
        assert f"running: {phase}," in hyco_here("watch", str(run), "--once").out


def test_a_killed_one_says_how_to_go_on(hyco_here: Here, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", WARM_UP)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    facts = {
        "pid": gone.pid,
        "host": socket.gethostname(),
        "started": datetime.now().isoformat(" ", "seconds"),
    }
    (run / HOLDER).write_text(json.dumps(facts))
    shown = hyco_here("watch", str(run))
    assert shown.status == 0
    assert shown.out.splitlines()[-1] == (
        "stopped: warm-up, surrogate 2/6, physics 1/3; --resume goes on with it"
    )


def test_a_process_that_got_the_number_of_a_dead_one_is_another(tmp_path: Path) -> None:
    def held(started: datetime, host: str = socket.gethostname()) -> bool:
        facts = {"pid": os.getpid(), "host": host, "started": started.isoformat(" ", "seconds")}
        (tmp_path / HOLDER).write_text(json.dumps(facts))
        return holder_of(tmp_path) is not None

    assert held(datetime.now())
    assert held(datetime.now() - timedelta(days=400), "another machine")
    if Path("/proc/self/stat").exists():
        assert not held(datetime.now() - timedelta(days=400))


def test_scores_of_an_earlier_training_are_not_shown(hyco_here: Here, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ALL, scored=True)
    later = time.time() + 100
    os.utime(run / "history.jsonl", (later, later))
    shown = hyco_here("watch", str(run), "--once").out
    assert "nRMSE" not in shown and "stopped: trained" in shown


def test_a_training_that_was_to_be_no_more_is_done(hyco_here: Here, tmp_path: Path) -> None:
    """`hyco train` of a configuration whose tasks are all three."""
    run = make_run(tmp_path / "run", ALL)
    (run / "environment.json").write_text(json.dumps({"tasks": ["train"], "modes": MODES}))
    assert "done: trained" in hyco_here("watch", str(run), "--once").out
    (run / "history.jsonl").write_text(text_of(WARM_UP))
    assert "stopped: warm-up" in hyco_here("watch", str(run), "--once").out


def test_troubles_are_counted(hyco_here: Here, tmp_path: Path) -> None:
    bad = [*WARM_UP, epoch(3), solve(2, status="diverged"), {**cycle(1), "reverted": ["physical"]}]
    shown = hyco_here("watch", str(make_run(tmp_path / "run", bad)), "--once").out
    assert "diverged solves: 1 (2)" in shown
    assert "physics went back to an earlier state 1 times" in shown


def test_epochs_left_out_by_early_stopping_count_as_done(hyco_here: Here, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [epoch(1, stopped_early=1), solve(1)])
    assert "surrogate  2/6" in hyco_here("watch", str(run), "--once").out


# -- what is wrong with the folder -------------------------------------------------------------------------


def test_a_folder_without_a_run_is_bad_input(hyco_here: Here, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, why in (("empty", "no run is in it"), ("nowhere", "there is no such folder")):
        shown = hyco_here("watch", str(tmp_path / folder))
        assert shown.status == 2
        assert f"{folder}: {why}. Name the output folder of a run" in shown.error


DAMAGE: dict[str, Callable[[str], str]] = {
    "half a line": lambda text: text[:-40],
    "no line at all": lambda text: "",
    "not JSON": lambda text: f"}}{{\n\n[1]\n3\nnull\n\x00\n{text}",
    "records without their parts": lambda text: (
        text
        + '{"kind": "cycle", "cycle": 2}\n'
        + '{"kind": "epoch", "model": "physical", "epoch": 3, "parameters": 3}\n'
    ),
    "values of other types": lambda text: (
        text
        + json.dumps(epoch(5, train_loss="much", timing=[], best=None, learning_rate=[], stopped_early="x"))
        + "\n"
    ),
    "not finite": lambda text: (
        text + json.dumps(epoch(5, train_loss=float("nan"), validation_loss=float("inf")))
    ),
    "strange kinds": lambda text: text + '{"kind": "epoch", "model": "third", "epoch": 1}\n{"kind": 3}\n',
    "deep": lambda text: text + "[" * 100_000 + "\n",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_history_is_read_as_far_as_it_goes(
    hyco_here: Here, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    run = make_run(tmp_path / "run", ROUNDS[0] + ROUNDS[1])
    (run / "history.jsonl").write_text(damage(text_of(ROUNDS[0] + ROUNDS[1])))
    for options in ([], ["--once"]):
        shown = hyco_here("watch", str(run), *options)
        assert (shown.status, shown.err) == (0, ""), shown.err
        assert "stopped: " in shown.out


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.json", HOLDER])
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "a: [b", '{"modes": 3, "pid": "x", "models": 3}', "\x00"]
)
def test_other_damaged_files_are_left_aside(hyco_here: Here, tmp_path: Path, name: str, text: str) -> None:
    run = make_run(tmp_path / "run", ALL, scored=True)
    (run / name).write_text(text)
    shown = hyco_here("watch", str(run), "--once")
    assert (shown.status, shown.err) == (0, ""), shown.err
    assert "surrogate" in shown.out and "6/" in shown.out


def test_missing_files_are_left_aside(hyco_here: Here, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ALL)
    for name in ("config.yaml", "environment.json"):
        (run / name).unlink()
    assert "6/?" in hyco_here("watch", str(run), "--once").out


# -- following ---------------------------------------------------------------------------------------------


def test_records_are_printed_as_they_come_until_the_run_ends(project: Project, tmp_path: Path) -> None:
    """The run is this process: it holds the lock, writes its history, goes back once, and ends."""
    run = make_run(tmp_path / "run", [])
    with locked(run):
        watching = project.popen(sys.executable, "-m", "hyco", "watch", str(run))
        assert watching.stdout is not None
        lines: list[str] = []
        stream = watching.stdout
        reader = threading.Thread(target=lambda: lines.extend(stream))
        reader.start()

        def wait_for(count: int) -> None:
            deadline = time.monotonic() + 60
            while len(lines) < count:
                assert time.monotonic() < deadline and watching.poll() is None, lines
                time.sleep(0.05)

        not_finite = epoch(
            3, train_loss=float("nan")
        )  # differs from itself, and is printed once all the same
        replace_file(run / "history.jsonl", text_of([*WARM_UP, not_finite]))
        wait_for(4)
        replace_file(run / "history.jsonl", text_of([*WARM_UP, not_finite, solve(2)]))
        wait_for(5)
        replace_file(run / "history.jsonl", text_of([*WARM_UP[:2], solve(1, status="diverged")]))
        wait_for(7)
    watching.wait(60)
    reader.join(60)
    assert watching.returncode == 0
    said = [line.strip() for line in lines]
    assert [re.split(r"[:,] ", line)[:2] for line in said[:3]] == [
        ["warm-up", "surrogate epoch 1"],
        ["warm-up", "surrogate epoch 2"],
        ["warm-up", "physics solve 1"],
    ]
    assert said[3].startswith("cycle 1, surrogate epoch 3: loss nan")
    assert said[4].startswith("cycle 1, physics solve 2")
    assert said[5] == "... goes on after record 2" and "diverged" in said[6]
    assert said[7] == "stopped: warm-up, surrogate 2/6, physics 1/3; --resume goes on with it"
    assert len(said) == 8


def test_of_a_long_history_the_last_records_are_printed(hyco_here: Here, tmp_path: Path) -> None:
    shown = hyco_here("watch", str(make_run(tmp_path / "run", ALL * 3)))
    assert shown.out.splitlines()[0] == "... 23 earlier records"
    assert len(shown.out.splitlines()) == 12


def test_ctrl_c_ends_it_quietly(project: Project, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", WARM_UP)
    with locked(run):
        watching = project.popen(sys.executable, "-m", "hyco", "watch", str(run))
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("warm-up")
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=60)
    assert (watching.returncode, err) == (130, "")


def test_a_reader_that_has_seen_enough_ends_it_quietly(project: Project, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ALL)
    command = f"({sys.executable} -m hyco watch {run}; echo status $? >&2) | true"
    shown = project.popen("sh", "-c", command)
    assert shown.communicate(timeout=60) == ("", "status 0\n")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals here")
def test_on_a_terminal_the_picture_is_renewed_until_the_run_ends(project: Project, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", WARM_UP)
    ours, theirs = os.openpty()
    shown = bytearray()

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while data := os.read(ours, 4096):
                shown.extend(data)

    with locked(run):
        watching = subprocess.Popen(
            [sys.executable, "-m", "hyco", "watch", str(run)],
            cwd=project.folder,
            env={**os.environ, "COLUMNS": "160", "LINES": "40", "TERM": "xterm"},
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        deadline = time.monotonic() + 60
        for wanted, records in ((b"2/6", ALL), (b"6/6", None)):
            while wanted not in shown:
                assert time.monotonic() < deadline and watching.poll() is None, bytes(shown)
                time.sleep(0.05)
            if records:
                replace_file(run / "history.jsonl", text_of(records))
    assert watching.wait(60) == 0
    reader.join(60)
    os.close(ours)
    assert b"running" in shown and b"stopped" in shown
    assert b"Traceback" not in shown


# -- several runs ------------------------------------------------------------------------------------------


def test_of_several_runs_each_has_a_line(hyco_here: Here, tmp_path: Path) -> None:
    for seed in (10, 2):
        make_run(tmp_path / f"all/seed_{seed}", ALL if seed == 2 else WARM_UP, scored=seed == 2)
    alone = "general: {mode: physical, tasks: [train]}\ntrainer: {physical: {epochs: 1}}\n"
    make_run(tmp_path / "all/more/physical", [solve(1)], config=alone)
    with locked(tmp_path / "all/seed_10"):
        shown = hyco_here("watch", str(tmp_path / "all"), "--once")
    rows = [re.split(r"\s{2,}", line.strip()) for line in shown.out.splitlines()[1:]]
    assert [row[:4] for row in rows] == [
        ["more/physical", "physical", "done", "trained"],
        ["seed_2", "hybrid", "done", "evaluated"],
        ["seed_10", "hybrid", "running", "warm-up"],
    ]
    assert rows[1][4:7] == ["6/6", "3/3", "2.00e-06, 5.00e-01"]
    assert rows[2][-1] == "0:16"  # four epochs of 2 s and two solves of 4 s
    lines = hyco_here("watch", str(tmp_path / "all")).out.splitlines()
    assert "seed_2: done: evaluated, surrogate 6/6, physics 3/3" in lines
    assert sum(line.startswith("seed_10: ") for line in lines) == 4


def test_a_run_is_not_looked_for_within_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ALL)
    make_run(run / "checkpoints/old", ALL)
    assert runs_in(run) == [run]


def test_curves_in_a_line() -> None:
    assert sparkline([1.0, 0.1, 0.01]) == "█▅▁"
    assert sparkline([-1.0, 0.0, 1.0], unicode=False) == "_+#"
    assert sparkline([]) == "" and sparkline([float("nan")]) == "" and sparkline([2.0]) == "▁"
    assert len(sparkline([float(n) for n in range(1, 100)], 10)) == 10
    assert sparkline([1.0] * 99 + [0.1], 2) == "█▁"
