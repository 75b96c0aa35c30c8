"""`--json-logs`: what a run says, one JSON object per line on stderr, for programs that follow it."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from hyco.errors import Interrupted

if TYPE_CHECKING:
    from hyco.interfaces import Record
    from hyco.migration.factory import Choice

OPTION = "--json-logs"


def write_line(event: str, *, level: str = "info", logger: str = "hyco.run", **facts: Any) -> None:
    """Write one object: `time` (ISO 8601 with its zone), `level`, `logger`, `event`, and the facts.

    Strictly JSON: a number that is not finite becomes null.  A reader that went away ends nothing.
    """
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    head = {"time": now, "level": level, "logger": logger, "event": event}
    text = json.dumps(_strict({**head, **facts}), allow_nan=False, default=str)
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def write_error(error: Exception, status: int, line: str, *, debug: bool) -> None:
    """The line that says how a command failed, or that it was interrupted; with `debug` and its traceback."""
    facts: dict[str, Any] = {
        "status": status,
        "error": type(error).__name__,
        "message": line.removeprefix("error: "),
    }
    if debug:
        facts["traceback"] = "".join(traceback.format_exception(error))
    level = "warning" if isinstance(error, Interrupted) else "error"
    write_line("error", level=level, logger="hyco.cli", **facts)


@dataclass
class JsonLines:
    """A progress whose every word is a line; `quiet`: the headlines alone.

    What goes on within an epoch or a solve is left out: a record follows when it is done.
    """

    quiet: bool = False
    said: list[str] = field(default_factory=list)
    _last: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def begin(self, rows: Sequence[Choice]) -> None:
        """`modes`: which implementation each component gets, and who chose it."""
        self._write("modes", modes=[vars(row) for row in rows])

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        """`progress`, where it is another than last time."""
        within = work in ("batches", "iterations")
        now = done, total, text
        if not within and self._last.get(work) != now:
            self._last[work] = now
            self._write("progress", work=work, done=done, total=total, text=text)

    def detail(self, work: str, text: str) -> None:
        """Nothing: a record follows."""

    def record(self, record: Record) -> None:
        """`record`: a line of the history."""
        self._write("record", logger="hyco.train", record=record)

    def say(self, text: str) -> None:
        """`result`: a headline, which is printed on stdout too when all is done."""
        self.said.append(text)
        write_line("result", text=text)

    def _write(self, event: str, **facts: Any) -> None:
        if not self.quiet:
            write_line(event, **facts)


class JsonHandler(logging.Handler):
    """Writes log records as `log` events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, with its traceback when it has one."""
        try:
            facts: dict[str, Any] = {"message": record.getMessage()}
            if record.exc_info:
                facts["traceback"] = "".join(traceback.format_exception(*record.exc_info))
            write_line("log", level=record.levelname.lower(), logger=record.name, **facts)
        except Exception:
            self.handleError(record)


@contextmanager
def foreign_logs() -> Iterator[None]:
    """Inside, warnings and what other packages log, from level WARNING up, become lines too."""
    root, handler = logging.getLogger(), JsonHandler(logging.WARNING)
    handler.addFilter(lambda record: record.name.partition(".")[0] != "hyco")
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)


def _strict(value: Any) -> Any:
    """The same in Python's own types, and None for every number that JSON cannot write."""
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    return _strict(value.tolist()) if hasattr(value, "tolist") else value
