"""What shadow mode found: `shadow.jsonl`, one object per comparison."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyco.migration.shadow.tally import KEYS, Entry, Record, Tally
from hyco.storage.atomic import write_text

if TYPE_CHECKING:
    from hyco.migration.shadow.recorder import Part
    from hyco.testing.compare import Difference

log = logging.getLogger("hyco.shadow")
FILE = "shadow.jsonl"


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

    def begin(self, task: str) -> None:
        """What follows belongs to this task, of which the first call of every kind is compared."""
        self.task = task
        for tally in self._tallies.values():
            tally.before, tally.calls = tally.before + tally.calls, 0

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
