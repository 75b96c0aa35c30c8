"""Tables for the terminal; piped, they have no frames and are never cut."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from hyco.migration.factory import Choice
    from hyco.migration.road import Step

WIDE = 1000
MODE_STYLES = {"legacy": "yellow", "phiml": "green"}


def width(stream: TextIO) -> int | None:
    """The width of the console on a stream: the terminal's own, or wide enough for any line."""
    return None if stream.isatty() else WIDE


def show_modes(rows: Sequence[Choice], console: Console | None = None) -> None:
    """Which implementation each component gets, in which mode, and who chose it."""
    target = console or Console(width=width(sys.stdout))
    table = new_table(target, "component", "implementation", "mode", "chosen by")
    for row in rows:
        style = MODE_STYLES.get(row.mode, "")
        table.add_row(
            row.component, row.implementation, f"[{style}]{row.mode}[/]" if style else row.mode, row.chosen_by
        )
    target.print(table, highlight=False)


def show_next(step: Step | None, config: str, overrides: Sequence[str], checkpoints: Path) -> None:
    """What to move next, how to prove it, and how to put it in force; short lines for the terminal."""
    from hyco.migration.road import conversion
    from hyco.storage.generations import Generations

    if step is None:
        print(f"{config}: every component is phiml; nothing is left to move.")
        return
    print(f"next: {step.component} (step {step.number} of {step.of})")
    print(f"prove it: {step.command(config, overrides)}")
    print(f"put it in force: {step.block}")
    newest = Generations(checkpoints).paths()[:1]
    if step.checkpoint is not None and (newest or "{last}" not in step.checkpoint):
        path = checkpoints / step.checkpoint.format(last=newest[0].name if newest else "")
        print(f"for a run that goes on: {conversion(path, 'phiml')}")


def show_configs(configs: Mapping[str, Path]) -> None:
    """The names of configurations, each with the sentence that its file begins with."""
    console = Console(width=width(sys.stdout))
    table = new_table(console, "config", "what it is")
    for name, path in configs.items():
        table.add_row(name, _first_sentence(path))
    console.print(table, highlight=False)


def _first_sentence(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def new_table(console: Console, *columns: str) -> Table:
    """A table with these columns, framed on a terminal alone."""
    frame = box.SIMPLE_HEAD if console.is_terminal else None
    table = Table(box=frame, pad_edge=console.is_terminal, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
