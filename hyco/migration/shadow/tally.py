"""The counts of shadow mode: of every kind of call, and of one comparison on its way into the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from statistics import median
from typing import Any

KEYS = ("component", "call", "control")
Record = dict[str, Any]


@dataclass
class Tally:
    """The comparisons of one kind of call: one method of one component, done by the side `control`.

    `calls` counts those of this task, after `before` earlier ones; `cost` and `own` are the seconds that
    comparing took and that the compared calls took themselves.
    """

    component: str
    call: str
    control: str
    before: int = 0
    calls: int = 0
    compared: int = 0
    mismatches: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    worst: Record | None = None
    seconds: list[tuple[float, float]] = field(default_factory=list)
    cost: float = 0.0
    own: float = 0.0
    given_up: bool = False
    reason: str = ""

    @property
    def name(self) -> str:
        """`physical_model.step`."""
        return f"{self.component}.{self.call}"

    def add(self, records: Sequence[Record]) -> None:
        """Count the records of one call."""
        if records[0]["outcome"] == "given up":
            self.reason = records[0]["error"]
            return
        self.compared += 1
        failed = records[0]["outcome"] == "failure"
        self.failures += failed
        self.failures_in_a_row = self.failures_in_a_row + 1 if failed else 0
        self.mismatches += any(r["outcome"] == "mismatch" for r in records)
        if failed:
            return
        if records[0]["seconds_candidate"] is not None:
            self.seconds.append((records[0]["seconds_control"], records[0]["seconds_candidate"]))
        for record in records:
            if self.worst is None or _share(record) > _share(self.worst):
                self.worst = record

    def summary(self) -> Record:
        """The counts, the worst difference, and what a call took on each side."""
        control, candidate, ratio = self._speed()
        worst = self.worst and {
            **{key: self.worst[key] for key in ("quantity", "difference", "allowed", "place")},
            "share": _share(self.worst) if isfinite(_share(self.worst)) else None,
        }
        return {
            **{key: getattr(self, key) for key in KEYS},
            "compared": self.compared,
            "mismatches": self.mismatches,
            "failures": self.failures,
            "worst": worst,
            "seconds_control": control,
            "seconds_candidate": candidate,
            "speed_ratio": ratio,
            "given_up": self.reason or None,
        }

    def _speed(self) -> tuple[float | None, float | None, float | None]:
        """Medians: seconds of the control, of the candidate, and the ratio of the two.

        Where there are several comparisons the first one, in which phiml mode compiles, does not count.
        """
        taken = self.seconds[1:] or self.seconds
        if not taken:
            return None, None, None
        ratios = [control / candidate for control, candidate in taken if candidate > 0.0]
        middle = [median(side) for side in zip(*taken, strict=True)]
        return middle[0], middle[1], median(ratios) if ratios else None


def _share(record: Record) -> float:
    """The difference of a record in units of what is allowed; infinite for results not of a kind."""
    if record["difference"] is None:
        return inf
    if record["allowed"]:
        return float(record["difference"] / record["allowed"])
    return inf if record["difference"] else 0.0


@dataclass
class Entry:
    """One comparison on its way into the journal."""

    tally: Tally
    seconds_control: float | None = None
    seconds_candidate: float | None = None
    outcome: str = "passed"
    complaint: str = ""

    @property
    def number(self) -> int:
        """Which call of its kind it is."""
        return self.tally.before + self.tally.calls

    @property
    def passed(self) -> bool:
        """Whether the candidate did the same."""
        return self.outcome == "passed"

    @property
    def is_first_of_its_kind(self) -> bool:
        """Whether the same has not been complained about yet."""
        return {"mismatch": self.tally.mismatches, "failure": self.tally.failures}.get(self.outcome) == 1

    def fail(self, error: Exception) -> None:
        """The candidate raised this."""
        self.outcome = "failure"
        self.complaint = f"the candidate failed: {type(error).__name__}: {error}".rstrip(".: ") + "."

    def unlike(self, text: str) -> None:
        """The results are not of a kind."""
        self.outcome = "mismatch"
        self.complaint = f"{text}."
