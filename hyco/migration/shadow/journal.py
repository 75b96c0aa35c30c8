"""What shadow mode found: `shadow.jsonl`, one object per comparison, and the counts of every kind of call."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf, isfinite
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from hyco.storage.atomic import write_text

if TYPE_CHECKING:
    from hyco.migration.shadow.recorder import Part
    from hyco.testing.compare import Difference

log = logging.getLogger("hyco.shadow")
FILE = "shadow.jsonl"
KEYS = ("component", "call", "control")
Record = dict[str, Any]


@dataclass
class Tally:
    """The comparisons of one kind of call: one method of one component, done by the side `control`.

    `calls` counts those of this process, `before` is the number of the last one on record; `cost` and `own`
    are the seconds that comparing took and that the compared calls took themselves.
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


class Journal:
    """Writes comparisons down as they are made.

    Args:
        folder: of the run; the file is `shadow.jsonl` there.
        renewed: the tasks whose records of earlier runs are dropped, since they are done again.
    """

    def __init__(self, folder: Path, renewed: Collection[str] = ()) -> None:
        self.path = folder / FILE
        self.task = ""
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._writes = True
        kept = [r for r in _read(self.path) if r["task"] not in renewed]
        write_text(self.path, "".join(_line(r) for r in kept))
        for (component, call, control, number, _), records in groupby(kept, _same_call):
            tally = self.tally(component, call, control)
            tally.before = max(tally.before, number)
            tally.add(list(records))
        for tally in self._tallies.values():
            tally.failures_in_a_row = 0

    def tally(self, component: str, call: str, control: str) -> Tally:
        """The counts of one kind of call."""
        key = component, call, control
        if key not in self._tallies:
            self._tallies[key] = Tally(*key)
        return self._tallies[key]

    def write(self, entry: Entry, differences: Iterable[tuple[Part, Difference]]) -> None:
        """Record one comparison: an object for every quantity, or for what went wrong."""
        records = []
        for part, found in differences:
            if not found.passed:
                entry.outcome = "mismatch"
                entry.complaint += f"{part.quantity} differs by {found.error:.3g} at {found.place}, allowed "
                entry.complaint += f"are {found.allowed:.3g}. "
            finite = found.error if isfinite(found.error) else None
            place = found.place if finite is not None else f"{found.place}, not finite"
            values = {"difference": finite, "place": place, "allowed": found.allowed}
            outcome = "passed" if found.passed else "mismatch"
            records.append(self._record(entry, outcome, quantity=part.quantity, **values))
        if not records:
            what = "error" if entry.outcome == "failure" else "place"
            records.append(self._record(entry, entry.outcome, **{what: entry.complaint}))
        entry.complaint = f"{entry.tally.name}, call {entry.number}: {entry.complaint.strip()}"
        self._append(records)
        entry.tally.add(records)

    def give_up(self, tally: Tally, reason: str) -> None:
        """Record that a kind of call is not compared any more."""
        tally.given_up = True
        records = [self._record(Entry(tally), "given up", error=reason)]
        self._append(records)
        tally.add(records)

    def summary(self) -> list[Record]:
        """Of every kind of call that was compared."""
        return [tally.summary() for tally in self._tallies.values() if tally.compared]

    def _record(self, entry: Entry, outcome: str, **found: Any) -> Record:
        return {
            "task": self.task,
            **{key: getattr(entry.tally, key) for key in KEYS},
            "number": entry.number,
            **dict.fromkeys(("quantity", "difference", "place", "allowed")),
            "outcome": outcome,
            "passed": outcome == "passed",
            "seconds_control": entry.seconds_control,
            "seconds_candidate": entry.seconds_candidate,
            "error": None,
            **found,
        }

    def _append(self, records: Sequence[Record]) -> None:
        """Add lines to the file; the run goes on when that does not work any more."""
        try:
            if self._writes:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("".join(_line(r) for r in records))
        except OSError as error:
            self._writes = False
            log.warning("%s cannot be written (%s); comparisons are only counted", self.path, error.strerror)


def _same_call(record: Record) -> tuple[Any, ...]:
    return (*(record[key] for key in KEYS), record["number"], record["outcome"] == "given up")


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _read(path: Path) -> list[Record]:
    """The records of earlier runs; none where the file is missing or damaged."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [record for line in lines if _is_record(record := json.loads(line))]
    except (OSError, ValueError):
        return []


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and {"task", "number", "outcome", *KEYS} <= value.keys()
