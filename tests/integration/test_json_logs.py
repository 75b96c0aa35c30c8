"""`--json-logs`: every line on stderr is an object of strict JSON, whatever happens."""

from __future__ import annotations

import json
import logging
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.cli.display import display
from hyco.cli.json_lines import JsonLines, write_line
from hyco.cli.logs import shown_logs
from hyco.cli.outcome import exit_status
from hyco.errors import Interrupted, RunError
from hyco.migration.factory import Choice
from tests.integration.conftest import Here, Outcome, Project


def refused(constant: str) -> None:
    """For what Python's reader takes, and JSON does not have."""
    raise ValueError(f"{constant} is not JSON")


def lines(text: str) -> list[dict[str, Any]]:
    """The objects of a stream, each with its head in order."""
    found = [json.loads(line, parse_constant=refused) for line in text.splitlines()]
    for line in found:
        assert list(line)[:4] == ["time", "level", "logger", "event"], line
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
        assert line["level"] in ("debug", "info", "warning", "error")
    return found


def of(found: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """The lines of one event."""
    return [line for line in found if line["event"] == event]


def test_a_whole_run_is_told_in_lines(project: Project) -> None:
    done = project.hyco("run", "tiny.yaml", "--json-logs", "migration.mode=phiml")
    assert done.status == 0, done.err
    found = lines(done.err)
    assert {line["event"] for line in found} == {"modes", "progress", "log", "record", "result"}
    modes = of(found, "modes")[0]["modes"]
    assert {"component": "dataset", "mode": "phiml"}.items() <= modes[1].items()
    records = [{k: v for k, v in line["record"].items() if k != "timing"} for line in of(found, "record")]
    assert records == project.history()
    simulated = [(p["done"], p["total"]) for p in of(found, "progress") if p["work"] == "simulations"]
    assert simulated == [(n, 4) for n in range(5)]
    assert [line["text"] for line in of(found, "result")] == done.out.splitlines()
    assert not any("{" in line for line in done.out.splitlines())


def test_bad_input_is_one_line(hyco_here: Here) -> None:
    def only(done: Outcome) -> dict[str, Any]:
        assert done.out == ""
        return lines(done.err)[0]

    unknown = hyco_here("train", "tiny.yaml", "--json-logs", "trainer.batchsize=3")
    assert unknown.status == 2 and len(unknown.err.splitlines()) == 1
    line = only(unknown)
    assert (line["event"], line["level"], line["status"], line["error"]) == (
        "error",
        "error",
        2,
        "ConfigError",
    )
    assert "Did you mean 'batch_size'?" in line["message"] and not line["message"].startswith("error")
    assert "traceback" not in line
    with_trace = only(hyco_here("train", "tiny.yaml", "--json-logs", "trainer.batchsize=3", "--debug"))
    assert with_trace["traceback"].startswith("Traceback") and "ConfigError" in with_trace["traceback"]
    assert only(hyco_here("evaluate", "tiny.yaml", "--json-logs", "--nonsense"))["status"] == 2
    assert "--json-logs" not in hyco_here("modes", "tiny.yaml").err


@pytest.mark.parametrize(
    ("error", "status", "level"),
    [
        (Interrupted("interrupted", resumable=True), 130, "warning"),
        (RunError("it broke"), 1, "error"),
        (ZeroDivisionError("no"), 1, "error"),
    ],
)
def test_every_ending_is_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, status: int, level: str
) -> None:
    def action() -> None:
        raise error

    assert exit_status(action, typed="hyco run x", debug=False, json=True) == status
    (line,) = lines(capsys.readouterr().err)
    assert line["status"] == status and line["level"] == level
    assert ("Go on with: hyco run x --resume" in line["message"]) == isinstance(error, Interrupted)


def test_what_json_cannot_write_becomes_null(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {
        "loss": float("nan"),
        "far": [np.float32("inf"), np.int64(3)],
        "where": Path("a"),
        1: (True, None),
    }
    write_line("record", record=facts)
    (line,) = lines(capsys.readouterr().err)
    assert line["record"] == {"loss": None, "far": [None, 3], "where": "a", "1": [True, None]}


def test_logs_and_warnings_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    foreign, ours = logging.getLogger("some.package"), logging.getLogger("hyco.train")
    with (
        display(quiet=False, json=True) as (progress, console),
        shown_logs(console, quiet=False, debug=True, json=True),
    ):
        ours.info("with a number: %d", 3)
        ours.info("for the file alone", extra={"file_only": True})
        ours.warning("careful\nwith two lines")
        foreign.info("nothing")
        foreign.warning("something of others")
        warnings.warn("an old function", stacklevel=1)
        try:
            raise ValueError("a cause")
        except ValueError:
            ours.exception("it failed")
        progress.detail("physical solves", "step 3")
    foreign.warning("after the end")
    found = lines(capsys.readouterr().err.replace("after the end\n", ""))
    assert [(line["logger"], line["level"], line["message"]) for line in found[:3]] == [
        ("hyco.train", "info", "with a number: 3"),
        ("hyco.train", "warning", "careful\nwith two lines"),
        ("some.package", "warning", "something of others"),
    ]
    assert found[3]["logger"] == "py.warnings" and "an old function" in found[3]["message"]
    assert "ValueError: a cause" in found[4]["traceback"]
    assert len(found) == 5


def test_quiet_leaves_warnings_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("hyco.train")
    with (
        display(quiet=True, json=True) as (progress, console),
        shown_logs(console, quiet=True, debug=False, json=True),
    ):
        progress.begin([Choice("dataset", "dataset", "phiml", "me")])
        progress.update("simulations", 1, 4)
        progress.record({"kind": "cycle", "cycle": 1})
        log.info("on the way")
        log.warning("careful")
        progress.say("the score")
    shown = capsys.readouterr()
    assert [line["event"] for line in lines(shown.err)] == ["log", "result"]
    assert shown.out == "the score\n"


def test_batches_and_repetitions_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    progress = JsonLines()
    for _ in range(2):
        progress.update("surrogate epochs", 1, 2, "loss 1")
        progress.update("batches", 3, 9)
        progress.update("iterations", 3, 9)
    progress.update("surrogate epochs", 2, 2, "loss 1")
    found = lines(capsys.readouterr().err)
    assert [(line["work"], line["done"]) for line in found] == [
        ("surrogate epochs", 1),
        ("surrogate epochs", 2),
    ]


def test_a_reader_that_went_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sys.stderr", Gone())
    write_line("log", message="to nobody")
