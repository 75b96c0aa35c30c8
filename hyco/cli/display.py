"""How far the work is: bars on a terminal, plain lines elsewhere, both on stderr; results go to stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from hyco.cli.json_lines import JsonLines
from hyco.cli.tables import show_modes, width
from hyco.report.wording import line

if TYPE_CHECKING:
    from hyco.interfaces import Record
    from hyco.migration.factory import Choice
    from hyco.tasks import Progress

LINES_PER_WORK = 10
NARROW = 100
SPARSE = {"simulations", "test simulations"}
DEPTHS = {
    "rounds": 0,
    "surrogate epochs": 1,
    "physical solves": 1,
    "batches": 2,
    "iterations": 2,
}
"""How deep a bar is nested: rounds (warm-up and cycles) > phase of a model > within an epoch or a solve."""


@contextmanager
def display(*, quiet: bool, json: bool = False) -> Iterator[tuple[Progress, Console]]:
    """The progress of a task, and the console that other lines must go through meanwhile.

    With `json` every line on stderr is an object, and nothing is written to the console.
    """
    console = Console(stderr=True, highlight=False, width=width(sys.stderr))
    shown: Terminal | Lines | Headlines | JsonLines
    if json:
        shown = JsonLines(quiet)
    elif quiet:
        shown = Headlines()
    elif sys.stderr.isatty() and not console.is_dumb_terminal:
        shown = Terminal(console)
    else:
        shown = Lines(console)
    try:
        with shown.bars if isinstance(shown, Terminal) else nullcontext():
            yield shown, console
    finally:
        for text in shown.said:
            print(text, flush=True)


@dataclass
class Pace:
    """How long one kind of work takes, counted from the first word of it."""

    first: int
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    changed: float = 0.0
    total: int = 0

    def reach(self, done: int) -> bool:
        """Take note of what is done; whether that is more than before."""
        more = done > max(self.done, self.first)
        self.done, self.changed = done, time.monotonic()
        return more

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self.began

    def left(self, total: int) -> float | None:
        """Seconds to go at the mean pace so far; None where that says nothing (yet, or any more)."""
        units = self.done - self.first
        if units <= 0:
            return None
        whole = (self.changed - self.began) * (total - self.first) / units
        left = whole - self.elapsed
        return left if left >= 0.5 else None


@dataclass
class Headlines:
    """Keeps the lines for the user until all bars are gone; shows nothing else."""

    said: list[str] = field(default_factory=list)

    def begin(self, rows: Sequence[Choice]) -> None:
        """Nothing."""

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        """Nothing."""

    def detail(self, work: str, text: str) -> None:
        """Nothing."""

    def record(self, record: Record) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Keep a line."""
        self.said.append(text)


@dataclass
class Lines:
    """One line per epoch, solve and cycle, and of simulations every few."""

    console: Console
    said: list[str] = field(default_factory=list)
    paces: dict[str, Pace] = field(default_factory=dict)

    def begin(self, rows: Sequence[Choice]) -> None:
        """The table of modes."""
        show_modes(rows, self.console)

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        """A line when something was finished, of simulations every few; training is told by its records."""
        pace = self.paces.get(work)
        if pace is None or done < pace.done:
            pace = self.paces[work] = Pace(done)
        pace.total = total
        step = -(-total // LINES_PER_WORK) if work in SPARSE else 1
        if pace.reach(done) and work not in DEPTHS and (done == total or done % step == 0):
            said = f": {text}" if text else ""
            times = _times(pace, total, done == total)
            self.console.print(f"{work} {done}/{total}{said} ({times})", soft_wrap=True)

    def detail(self, work: str, text: str) -> None:
        """Nothing: lines are for what is finished."""

    def record(self, record: Record) -> None:
        """The record in a line, and the time left of the whole training where that can be told."""
        works = [w for w in DEPTHS if w in self.paces]
        pace = self.paces[works[0]] if works else None
        left = pace.left(pace.total) if pace is not None else None
        rest = "" if left is None else f", {clock(left)} left"
        self.console.print(f"{line(record)}{rest}", soft_wrap=True)

    def say(self, text: str) -> None:
        """Keep a line for the end."""
        self.said.append(text)


class Terminal:
    """One bar per kind of work, nested as the work is."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.said: list[str] = []
        narrow = console.width < NARROW
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=8 if narrow else 24),
            MofNCompleteColumn(),
            Clock(brief=narrow),
            TextColumn(
                "{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
            ),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def begin(self, rows: Sequence[Choice]) -> None:
        """The table of modes, above the bars."""
        show_modes(rows, self.console)

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        """Move a bar, which is made when its work is first heard of."""
        if work not in self._tasks:
            depth = DEPTHS.get(work, 0)
            label = "  " * (depth - 1) + "└ " * (depth > 0) + work
            self._tasks[work] = self.bars.add_task(label, total=total, text="", pace=Pace(done))
        task = self.bars.tasks[self._tasks[work]]
        if done < task.fields["pace"].done:  # the next phase, epoch or solve begins
            self.bars.reset(task.id, total=total, text=text, pace=Pace(done))  # replaces all fields
        task.fields["pace"].reach(done)
        self.bars.update(task.id, completed=done, total=total)
        if text:
            self.bars.update(task.id, text=text)

    def detail(self, work: str, text: str) -> None:
        """Show what goes on beside the bar of its work."""
        if work in self._tasks:
            self.bars.update(self._tasks[work], text=text)

    def record(self, record: Record) -> None:
        """What the bars cannot say stays above them: what went wrong, and how a cycle ended."""
        unusual = record.get("status") == "diverged" or record.get("stopped_early") or record.get("reverted")
        if record["kind"] == "cycle" or unusual:
            self.console.print(line(record), soft_wrap=True)

    def say(self, text: str) -> None:
        """Keep a line for when the bars are gone."""
        self.said.append(text)


class Clock(ProgressColumn):
    """Time taken and an estimate of the time left, `1:12, 0:45 left`; `brief` leaves the former out."""

    def __init__(self, *, brief: bool) -> None:
        super().__init__(Column(no_wrap=True))
        self.brief = brief

    def render(self, task: Task) -> Text:
        """What the clock shows for one bar."""
        pace: Pace = task.fields["pace"]
        if task.finished:
            return Text(clock(pace.changed - pace.began), style="progress.elapsed")
        times = _times(pace, int(task.total or 0), False)
        return Text(times.split(", ")[-1] if self.brief else times, style="progress.elapsed")


def _times(pace: Pace, total: int, finished: bool) -> str:
    left = None if finished else pace.left(total)
    taken = clock(pace.elapsed)
    return taken if left is None else f"{taken}, {clock(left)} left"


def clock(seconds: float) -> str:
    """`0:07`, `1:12`, `2:03:40`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
