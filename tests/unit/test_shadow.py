"""Shadow mode without components: what is compared when, what reaches the run, what is written down."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.config.run import Shadow as Settings
from hyco.errors import RunError
from hyco.migration.shadow.cases import Learning
from hyco.migration.shadow.journal import Journal
from hyco.migration.shadow.recorder import FAILURES, PACE, PATIENCE, Part, Recorder
from hyco.migration.shadow.rounding import Slopes
from hyco.report.shadow import shadow_lines, shadow_rows
from hyco.testing import tolerance

STATE = np.linspace(-1.0, 2.0, 12).reshape(3, 4)


@dataclass
class Clock:
    """A clock that stands still until it is told to go on."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float, result: Any = None) -> Callable[[], Any]:
        """A call that takes so long."""

        def call() -> Any:
            self.now += seconds
            return result

        return call


@dataclass
class Trial:
    """A candidate that gives `answer`, or raises it; `quantity` is what it is judged by."""

    answer: Any
    quantity: str = "step"
    calls: list[str] = field(default_factory=list)

    def of_control(self, result: Any) -> Sequence[Part]:
        return [Part(self.quantity, "", np.asarray(result))]

    def prepare(self) -> Callable[[], Sequence[Part]]:
        self.calls.append("prepare")
        return self.repeat

    def repeat(self) -> Sequence[Part]:
        self.calls.append("repeat")
        answer = self.answer() if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return [Part(self.quantity, "", np.asarray(answer))]


@dataclass
class Bench:
    """A recorder in a folder, with a clock that stands still."""

    folder: Path
    settings: dict[str, Any]
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder)
        self.journal.task = "train"
        settings = Settings(enabled=True, **{"every": 1, **self.settings})
        self.recorder = Recorder(settings, "float64", self.journal, clock=self.clock)

    def run(self, answer: Any, control: Any = STATE, call: str = "step", **trial: Any) -> Any:
        """One call: what the control gives (or does), and what the candidate does."""
        made = Trial(answer, **trial)
        act = control if callable(control) else lambda: control
        return self.recorder.run("physical_model", call, "legacy", act, lambda: made)

    @property
    def records(self) -> list[dict[str, Any]]:
        lines = (self.folder / "shadow.jsonl").read_text().splitlines()
        return [json.loads(line, parse_constant=pytest.fail) for line in lines]


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda **settings: Bench(tmp_path, settings)


Benches = Callable[..., Bench]
OFF = STATE + np.where(np.arange(12).reshape(3, 4) == 6, 1e-6, 0.0)


# ------------------------------------------------------------------------------------ what is compared when


@pytest.mark.parametrize(("every", "numbers"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 4, 7]), (10, [1])])
def test_the_first_call_and_every_nth_are_compared(bench: Benches, every: int, numbers: list[int]) -> None:
    on = bench(every=every)
    for _ in range(7):
        on.run(STATE)
        on.run(STATE, call="rollout")
    for call in ("step", "rollout"):
        assert [r["number"] for r in on.records if r["call"] == call] == numbers


def test_calls_that_are_not_compared_prepare_nothing(bench: Benches) -> None:
    on = bench(every=2)
    on.run(STATE)
    assert on.recorder.run("physical_model", "step", "legacy", lambda: 7, lambda: pytest.fail("begun")) == 7


def test_a_comparison_is_written_down(bench: Benches) -> None:
    on = bench()
    on.run(on.clock.takes(2.0, OFF), on.clock.takes(0.5, STATE))
    (record,) = on.records
    assert record == {
        "task": "train",
        "component": "physical_model",
        "call": "step",
        "control": "legacy",
        "number": 1,
        "quantity": "step",
        "difference": pytest.approx(1e-6),
        "place": "dim 0=1, dim 1=2",
        "allowed": 2.0 * tolerance("step", "float64").rtol,
        "outcome": "mismatch",
        "passed": False,
        "seconds_control": 0.5,
        "seconds_candidate": 2.0,
        "error": None,
    }


# ------------------------------------------------------------------------------------- what reaches the run


@pytest.mark.parametrize("answer", [STATE, OFF, STATE[:2], ValueError("no"), np.full((3, 4), np.nan)])
def test_the_result_is_the_controls_own_object(bench: Benches, answer: Any) -> None:
    result = STATE.copy()
    assert bench().run(answer, result) is result
    assert np.array_equal(result, STATE)


def test_what_the_control_raises_is_raised_and_the_candidate_is_left_out(bench: Benches) -> None:
    on, trial = bench(), Trial(STATE)

    def control() -> Any:
        raise RunError("diverged")

    with pytest.raises(RunError, match=r"^diverged$"):
        on.recorder.run("physical_model", "step", "legacy", control, lambda: trial)
    assert trial.calls == []
    assert on.records == []


@pytest.mark.parametrize("where", ["begin", "of_control", "prepare", "repeat"])
def test_a_failing_candidate_harms_nothing(bench: Benches, where: str, caplog: Any) -> None:
    on, trial = bench(), Trial(STATE)

    def fail(*_: Any) -> Any:
        raise MemoryError("too large")

    def begin() -> Trial:
        return fail() if where == "begin" else trial

    if where != "begin":
        setattr(trial, where, fail)
    for _ in range(2):
        assert on.recorder.run("physical_model", "step", "legacy", lambda: 5, begin) == 5
    assert [r["outcome"] for r in on.records] == ["failure", "failure"]
    text = "physical_model.step, call 1: the candidate failed: MemoryError: too large."
    assert on.records[0]["error"] == text.partition(": ")[2]
    assert [text in line for line in caplog.messages] == [True]
    assert on.journal.summary()[0]["failures"] == 2


def test_an_interrupt_is_no_failure_of_the_candidate(bench: Benches) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench().run(KeyboardInterrupt())


def test_a_mismatch_warns_once_and_is_counted(bench: Benches, caplog: Any) -> None:
    on = bench()
    for answer in (STATE, OFF, OFF, STATE, OFF):
        on.run(answer)
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "physical_model.step, call 2: step differs by 1e-06 at dim 0=1, dim 1=2, allowed are 6e-14" in line
    (counts,) = on.journal.summary()
    assert (counts["compared"], counts["mismatches"], counts["failures"]) == (5, 3, 0)
    assert counts["worst"]["share"] == pytest.approx(1e-6 / (2 * tolerance("step", "float64").rtol))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (OFF, r"step, call 1: step differs by 1e-06 at dim 0=1, dim 1=2"),
        (STATE[:2], r"expected shape \(3, 4\), found \(2, 4\)"),
        (ValueError("no"), "the candidate failed: ValueError: no"),
    ],
)
def test_on_mismatch_raise_stops_the_run_once_it_is_on_record(bench: Benches, answer: Any, says: str) -> None:
    on = bench(on_mismatch="raise")
    on.run(STATE)
    with pytest.raises(RunError, match=says.replace("call 1", "call 2")) as caught:
        on.run(answer)
    assert "migration.shadow.on_mismatch=warn" in str(caught.value)
    assert [r["passed"] for r in on.records] == [True, False]


# ------------------------------------------------------------------------------------------- slow candidates


@pytest.mark.parametrize(
    ("control", "candidate", "compared"),
    [
        (1.0, PATIENCE + 1, 1),  # over both limits at once
        (0.0, PATIENCE / 3 + 1, 3),  # the third call exhausts the patience
        (10.0, PACE * 10 - 1, 6),  # slow, but within pace
        (0.001, 0.1, 6),  # a hundred times as slow, but within patience
    ],
)
def test_a_slow_candidate_is_given_up(
    bench: Benches, control: float, candidate: float, compared: int, caplog: Any
) -> None:
    on = bench()
    for _ in range(6):
        assert on.run(on.clock.takes(candidate, STATE), on.clock.takes(control, STATE)) is STATE
        on.run(STATE, call="rollout")
    records = [r for r in on.records if r["call"] == "step"]
    assert sum(r["passed"] for r in records) == compared
    assert [r["outcome"] for r in records[compared:]] == ["given up"] * (compared < 6)
    assert len(caplog.messages) == (compared < 6)
    step, rollout = on.journal.summary()
    assert ("comparing took" in (step["given_up"] or "")) == (compared < 6)
    assert (rollout["compared"], rollout["given_up"]) == (6, None)


def test_a_candidate_that_only_fails_is_given_up(bench: Benches) -> None:
    on, failure = bench(), ValueError("no")
    for answer in [failure, failure, STATE, *[failure] * (FAILURES + 2)]:
        on.run(answer)
    outcomes = ["failure"] * 2 + ["passed"] + ["failure"] * FAILURES + ["given up"]
    assert [r["outcome"] for r in on.records] == outcomes
    assert on.journal.summary()[0]["given_up"] == f"{FAILURES} failures in a row"


def test_the_time_of_a_call_is_that_without_shadows(bench: Benches) -> None:
    """A rollout of 2 s that makes a step of 1 s, both compared with candidates of 5 s."""
    on = bench()

    def rollout() -> Any:
        on.clock.now += 1.0
        return on.run(on.clock.takes(5.0, STATE), on.clock.takes(1.0, STATE))

    on.run(on.clock.takes(5.0, STATE), rollout, call="rollout")
    assert {r["call"]: (r["seconds_control"], r["seconds_candidate"]) for r in on.records} == {
        "step": (1.0, 5.0),
        "rollout": (2.0, 5.0),
    }
    assert on.recorder.spent == 10.0
    assert on.clock.now == 12.0


# ------------------------------------------------------------------------------------------ how it is judged


def test_tolerances_may_be_given(bench: Benches, tmp_path: Path) -> None:
    passed = {}
    for name, given in {"rtol": {"rtol": 1e-6}, "atol": {"atol": 2e-6}, "less": {"rtol": 1e-7}}.items():
        (tmp_path / name).mkdir()
        on = Bench(tmp_path / name, given)
        on.run(OFF)
        passed[name] = on.records[0]["passed"]
    assert passed == {"rtol": True, "atol": True, "less": False}


@pytest.mark.parametrize(
    ("control", "candidate", "passed"),
    [
        (np.zeros(3), np.zeros(3), True),
        (np.zeros(3), np.array([0.0, 1e-300, 0.0]), False),
        (np.array([1.0, np.nan, -np.inf]), np.array([1.0, np.nan, -np.inf]), True),
        (np.array([1.0, np.inf, 2.0]), np.array([1.0, -np.inf, 2.0]), False),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), False),
        (np.array([1.0, np.nan]), np.array([1.1, np.nan]), False),
    ],
)
def test_constant_and_broken_values_are_judged_too(
    bench: Benches, control: Any, candidate: Any, passed: bool
) -> None:
    on = bench()
    on.run(candidate, control)
    assert on.records[0]["passed"] is passed
    shadow = {
        "overhead_seconds": 1.0,
        "overhead_per_cent": 2.0,
        "compared": 1,
        "mismatches": 1,
        "failures": 0,
    }
    lines = shadow_lines({**shadow, "calls": on.journal.summary()})
    assert ("more than what is allowed" in lines[1]) == (not passed and control[0] == candidate[0])


def learning(loss: float, gradient: float, size: float = 2.0) -> tuple[list[Part], Learning]:
    """A control's loss and gradient, on states of that size."""
    state = np.full((1, 1, 4), size)
    parts = [Part("fit loss in a run", "", np.float64(loss)), Part("fit gradient in a run", "c", gradient)]
    return parts, Learning(state, state, 1, 0, {}, {})


def test_losses_and_gradients_are_judged_by_the_terms_they_are_sums_of() -> None:
    slopes = Slopes()
    loss, gradient = slopes.weigh(*learning(1e-4, 3e-2))
    assert loss.magnitude == pytest.approx(2 * 1e-2 * 2)
    assert gradient.magnitude == pytest.approx(3e-2 / 1e-2 * 2)
    near, flat = slopes.weigh(*learning(1e-16, 1e-12))  # a good fit: the slope of before is remembered
    assert near.magnitude == pytest.approx(2 * 1e-8 * 2)
    assert flat.magnitude == pytest.approx(3.0 * 2)
    none, _ = slopes.weigh(*learning(0.0, 0.0))  # a perfect one: rounding alone
    assert 0 < none.magnitude < 1e-12
    assert [p.magnitude for p in slopes.weigh(*learning(np.nan, 1.0))] == [0.0, 0.0]


# ------------------------------------------------------------------------------------------------ the record


def test_earlier_tasks_stay_on_record_and_those_done_again_do_not(bench: Benches, tmp_path: Path) -> None:
    on = bench(every=2)
    for task in ("generate", "train", "evaluate"):
        on.journal.begin(task)
        for _ in range(4):
            on.run(OFF if task == "train" else STATE)
    assert [r["number"] for r in on.records] == [1, 3, 5, 7, 9, 11]
    again = Journal(tmp_path, renewed=["train"])
    again.begin("train")
    assert [r["task"] for r in on.records] == ["generate"] * 2 + ["evaluate"] * 2
    assert [(c["compared"], c["mismatches"]) for c in again.summary()] == [(4, 0)]
    Recorder(on.recorder.settings, "float64", again).run(
        "physical_model", "step", "legacy", lambda: STATE, lambda: Trial(STATE)
    )
    assert [r["number"] for r in on.records] == [1, 3, 9, 11, 12]


@pytest.mark.parametrize("text", ["{", '{"task": 1}\n', "[1]\n", "\x00"])
def test_a_damaged_record_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "shadow.jsonl").write_text(text)
    assert Journal(tmp_path).summary() == []
    assert (tmp_path / "shadow.jsonl").read_text() == ""


def test_a_record_that_cannot_be_written_does_not_stop_the_run(bench: Benches, caplog: Any) -> None:
    on = bench()
    on.journal.path.unlink()
    on.journal.path.mkdir()
    for _ in range(2):
        assert on.run(OFF) is STATE
    assert sum("cannot be written" in line for line in caplog.messages) == 1
    assert on.journal.summary()[0]["mismatches"] == 2


def test_the_first_comparison_does_not_count_in_the_speed(bench: Benches) -> None:
    on = bench()
    for seconds in (20.0, 0.5, 0.25, 1.0):
        on.run(on.clock.takes(seconds, STATE), on.clock.takes(1.0, STATE))
    (counts,) = on.journal.summary()
    assert (counts["seconds_control"], counts["seconds_candidate"], counts["speed_ratio"]) == (1.0, 0.5, 2.0)
    (row,) = shadow_rows({"calls": [counts]})
    assert row == [
        "physical_model",
        "step",
        "legacy",
        "4",
        "0",
        "0",
        "0",
        "step",
        "dim 0=0, dim 1=0",
        "2",
        "",
    ]


def test_a_trace_that_failed_leaves_phiml_able_to_compile() -> None:
    from phiml import math

    from hyco.phiml.device import Compiled, Compute

    compute, broken = Compute("cpu", "float64"), True

    def twice(x: Any) -> Any:
        if broken:
            raise RuntimeError("not yet")
        return 2.0 * x

    first, second = Compiled(twice, compute), Compiled(lambda x: 3.0 * x, compute)
    with compute.scope():
        x = math.wrap([1.0, 2.0], math.spatial("x"))
    with pytest.raises(RuntimeError, match="not yet"):
        first(compute.place(x))
    broken = False
    for compiled, expected in ((second, [3.0, 6.0]), (first, [2.0, 4.0])):
        assert compiled(compute.place(x)).numpy("x").tolist() == expected
        assert compiled.traces == 1
