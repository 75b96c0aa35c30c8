"""How a task says how far it is; the command line shows it, a library user may pass his own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hyco.interfaces import Record
from hyco.migration.factory import Choice

FILE_ONLY = {"file_only": True}
"""`extra` of log records that are for `log.txt`: a `Progress`, or the error that is raised, says the same."""


class Progress(Protocol):
    """Receives how far each kind of work is."""

    def begin(self, rows: Sequence[Choice]) -> None:
        """Which implementation each component gets, before the work starts."""

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        """`done` of `total` units of `work` (simulations, surrogate epochs, ...) are finished."""

    def detail(self, work: str, text: str) -> None:
        """What is going on within the current unit of `work`."""

    def record(self, record: Record) -> None:
        """A line of the history: an epoch, a solve or a cycle is done."""

    def say(self, text: str) -> None:
        """A line for the user."""


class Silent:
    """Says nothing."""

    def begin(self, rows: Sequence[Choice]) -> None:
        """Nothing."""

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        """Nothing."""

    def detail(self, work: str, text: str) -> None:
        """Nothing."""

    def record(self, record: Record) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
