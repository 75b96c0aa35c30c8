"""Does a call, and every Nth time the candidate's too; compares, times, records.  Knows no component."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from hyco.config.run import Shadow as Settings
from hyco.errors import RunError
from hyco.migration.shadow.journal import Journal
from hyco.migration.shadow.tally import Entry, Tally
from hyco.testing.compare import Comparable, Difference, Mismatch, measure
from hyco.testing.tolerances import Tolerance, tolerance

log = logging.getLogger("hyco.shadow")
T = TypeVar("T")

PATIENCE = 30.0  # seconds that the shadow of a kind of call may take in any case
PACE = 10.0  # beyond these, it may take that many times what the compared calls took themselves
FAILURES = 3  # in a row, after which the candidate of a kind of call is left alone


@dataclass(frozen=True)
class Part:
    """One array of a result.

    Args:
        quantity: the row of the table of tolerances that it is judged by.
        name: which of several arrays of that quantity it is.
        values: what is compared.
        magnitude: size of the terms that the values are sums of, where these may cancel; what is allowed
            is `atol + rtol (max |values| + magnitude)`.
    """

    quantity: str
    name: str
    values: Comparable
    magnitude: float = 0.0


class Trial(Protocol):
    """One call that both sides do; made before the control does it."""

    def of_control(self, result: Any) -> Sequence[Part]:
        """What the control's result consists of."""

    def prepare(self) -> Callable[[], Sequence[Part]]:
        """Put the candidate where the control was before the call; what comes back does the call."""


class Recorder:
    """Runs controls and candidates.

    Every `every`-th call of a kind (component and method) is compared, beginning with the first one of a
    task.  Comparing a kind is given up when it took longer than PATIENCE and PACE times the control, or after
    FAILURES failures in a row.

    Args:
        settings: `migration.shadow`.
        precision: column of the table of tolerances.
        journal: where comparisons are recorded.
        clock: seconds, only differences of which count.
    """

    def __init__(
        self,
        settings: Settings,
        precision: str,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.settings = settings
        self.precision = precision
        self.journal = journal
        self.clock = clock
        self.spent = 0.0

    def run(
        self, component: str, call: str, side: str, control: Callable[[], T], begin: Callable[[], Trial]
    ) -> T:
        """The control's result, compared with the candidate's when it is the turn of this kind of call.

        Raises what the control raises, and RunError for a difference or failure with `on_mismatch: raise`.
        """
        tally = self.journal.tally(component, call, side)
        tally.calls += 1
        if tally.given_up or (tally.calls - 1) % self.settings.every:
            return control()
        return self._compared(tally, control, begin)

    def _compared(self, tally: Tally, control: Callable[[], T], begin: Callable[[], Trial]) -> T:
        entry, trial, spent, began = Entry(tally), None, self.spent, self.clock()
        try:
            trial = begin()
        except Exception as error:  # whatever the shadow does, the control goes on
            entry.fail(error)
        called, before = self.clock(), self.spent
        result = control()
        nested = self.spent - before
        own = self.clock() - called - nested
        differences: list[tuple[Part, Difference]] = []
        if trial is not None:
            try:
                differences = self._try(trial, result, entry, own)
            except Mismatch as error:
                entry.unlike(str(error))
            except Exception as error:
                entry.fail(error)
        self.journal.write(entry, differences)
        cost = self.clock() - began - own - nested
        self.spent = spent + nested + cost
        self._react(tally, entry, cost, own)
        return result

    def _try(self, trial: Trial, result: Any, entry: Entry, own: float) -> list[tuple[Part, Difference]]:
        """Let the candidate do the call; taking a result to numpy belongs to its time, on both sides."""
        began = self.clock()
        reference = trial.of_control(result)
        entry.seconds_control = own + self.clock() - began
        repeat = trial.prepare()
        began = self.clock()
        candidate = repeat()
        entry.seconds_candidate = self.clock() - began
        return self._differences(reference, candidate)

    def _differences(
        self, reference: Sequence[Part], candidate: Sequence[Part]
    ) -> list[tuple[Part, Difference]]:
        """The difference of every quantity, where it is worst."""
        expected, found = ({(p.quantity, p.name): p for p in parts} for parts in (reference, candidate))
        if expected.keys() != found.keys():
            raise Mismatch(f"expected the results {list(expected)}, found {list(found)}")
        worst: dict[str, tuple[Part, Difference]] = {}
        for key, part in expected.items():
            difference = self._measure(part, found[key])
            known = worst.get(part.quantity)
            if known is None or share(difference) > share(known[1]):
                worst[part.quantity] = part, difference
        return list(worst.values())

    def _measure(self, part: Part, candidate: Part) -> Difference:
        row, chosen = tolerance(part.quantity, self.precision), self.settings
        rtol = row.rtol if chosen.rtol is None else chosen.rtol
        atol = row.atol if chosen.atol is None else chosen.atol
        found = measure(
            part.values,
            candidate.values,
            part.quantity,
            tolerated=Tolerance(rtol, atol + rtol * part.magnitude, row.reason),
            informative=False,
        )
        return replace(found, place=f"{part.name} at {found.place}" if part.name else found.place)

    def _react(self, tally: Tally, entry: Entry, cost: float, own: float) -> None:
        """Warn, stop the run, or give this kind of call up."""
        tally.cost += cost
        tally.own += own
        if entry.passed:
            return self._give_up_if_slow(tally)
        if self.settings.on_mismatch == "raise":
            raise RunError(
                f"shadow mode stopped the run: {entry.complaint} Set migration.shadow.on_mismatch=warn to go "
                "on, or rtol and atol there to allow more."
            )
        if entry.is_first_of_its_kind:
            log.warning("shadow mode: %s Later ones of %s are only counted.", entry.complaint, tally.name)
        if tally.failures_in_a_row >= FAILURES:
            return self._give_up(tally, f"{FAILURES} failures in a row")
        return self._give_up_if_slow(tally)

    def _give_up_if_slow(self, tally: Tally) -> None:
        if not tally.given_up and tally.cost > max(PATIENCE, PACE * tally.own):
            self._give_up(tally, f"comparing took {tally.cost:.3g} s, the calls themselves {tally.own:.3g} s")

    def _give_up(self, tally: Tally, reason: str) -> None:
        log.warning("shadow mode: gives up comparing %s: %s.", tally.name, reason)
        self.journal.give_up(tally, reason)


def share(difference: Difference) -> float:
    """The error in units of what is allowed; any error where nothing is allowed is infinitely many."""
    if difference.allowed:
        return difference.error / difference.allowed
    return np.inf if difference.error else 0.0
