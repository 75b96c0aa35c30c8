"""`hyco watch`: follow runs in the terminal, from their files alone; nothing is written."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyco.cli.parts import Debug

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hyco.report.standing import Progress
    from hyco.storage.glance import Watched

EXAMPLES = (
    "hyco watch results/burgers",
    "hyco watch results/burgers --once",
    "hyco watch results",
)
SECONDS = 1.0
PATIENCE = 15.0
"""Seconds in which the next of several runs may begin, when one has ended."""
FIRST_LINES = 10


def watch(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The output folder of a run, or a folder of several."),
    ],
    once: Annotated[bool, typer.Option("--once", help="Print how far it is now, and exit.")] = False,
    debug: Debug = False,
) -> None:
    """Follow a running or a finished run: losses, best, parameters, time left, scores.

    It ends with the run. Without a terminal there is a plain line per record.
    """
    from rich.console import Console

    from hyco.cli.tables import width

    try:
        following = Following(folder)
        console = Console(highlight=False, width=width(sys.stdout))
        if once:
            console.print(following.view(console))
        elif console.is_terminal and not console.is_dumb_terminal:
            _live(following, console)
        else:
            _lines(following)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:  # `| head` has seen enough; nothing more can be written, not even at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass
class Following:
    """The runs of a folder, looked at again and again; those that begin meanwhile are among them."""

    root: Path
    _watched: dict[Path, Watched] = field(default_factory=dict)
    _busy: float | None = None

    def look(self) -> list[Progress]:
        """How far each run is now.  Raises InputError when there is none."""
        from hyco.report.standing import Progress
        from hyco.storage.glance import Watched, runs_in

        folders = runs_in(self.root)
        for path in folders:
            self._watched.setdefault(path, Watched(path))
        return [Progress.of(self._watched[path].look()) for path in folders]

    def view(self, console: Console, runs: list[Progress] | None = None) -> RenderableType:
        """The picture of them all."""
        from hyco.cli.watch_view import one_run, several_runs

        runs = self.look() if runs is None else runs
        alone = len(runs) == 1 and runs[0].glance.folder == self.root
        return one_run(runs[0], console) if alone else several_runs(runs, self.root, console)

    def ended(self, runs: list[Progress]) -> bool:
        """Whether nothing is at work here any more; of several runs the next may be about to begin."""
        from hyco.storage.glance import holder_of

        now = time.monotonic()
        if holder_of(self.root) or any(p.state == "running" for p in runs):
            self._busy = now
            return False
        alone = len(runs) == 1 and runs[0].glance.folder == self.root
        return alone or self._busy is None or now - self._busy > PATIENCE


def _live(following: Following, console: Console) -> None:
    """A picture that is renewed every second."""
    from rich.live import Live

    runs = following.look()
    with Live(following.view(console, runs), console=console, auto_refresh=False) as live:
        while not following.ended(runs):
            time.sleep(SECONDS)
            runs = following.look()
            live.update(following.view(console, runs), refresh=True)


def _lines(following: Following) -> None:
    """A line per record, as they come; at the end how each run stands, and its scores."""
    from hyco.cli.watch_view import closing_line, run_name, score_lines

    tails: dict[Path, Tail] = {}
    while True:
        runs = following.look()
        over = following.ended(runs)
        several = len(runs) > 1 or runs[0].glance.folder != following.root
        for progress in runs:
            folder = progress.glance.folder
            label = f"{run_name(folder, following.root)}: " if several else ""
            lines = tails.setdefault(folder, Tail()).new(progress.glance.history)
            if over:
                lines += [closing_line(progress), *score_lines(progress)]
            for text in lines:
                print(f"{label}{text}", flush=True)
        if over:
            return
        time.sleep(SECONDS)


@dataclass
class Tail:
    """What of a history has been printed."""

    seen: tuple[Mapping[str, Any], ...] | None = None

    def new(self, history: tuple[Mapping[str, Any], ...]) -> list[str]:
        """The lines of what came since; at first the last few, and a word when the run went back."""
        from hyco.cli.watch_view import record_line

        if self.seen is None:
            start = max(0, len(history) - FIRST_LINES)
            words = f"... {start} earlier records" if start else ""
        else:
            start = self._same(history)
            back = start < len(self.seen)
            words = (f"... goes on after record {start}" if start else "... begins anew") if back else ""
        self.seen = history
        return ([words] if words else []) + [record_line(record) for record in history[start:]]

    def _same(self, history: tuple[Mapping[str, Any], ...]) -> int:
        """How many of the first records are as they were."""
        seen = self.seen or ()
        if seen and history[: len(seen)] == seen:
            return len(seen)
        pairs = enumerate(zip(seen, history, strict=False))
        return next((i for i, (a, b) in pairs if a != b), min(len(seen), len(history)))
