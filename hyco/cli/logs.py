"""What hyco logs, shown to the user; what others print without being asked, kept away."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.text import Text

from hyco.cli.json_lines import JsonHandler, foreign_logs

PREFIXES = ((logging.ERROR, "error: ", "red"), (logging.WARNING, "warning: ", "yellow"))
PHIML = "Φ-ML"


@contextmanager
def shown_logs(console: Console, *, quiet: bool, debug: bool, json: bool = False) -> Iterator[None]:
    """Inside, log lines of hyco go to `console`: with `debug` all, with `quiet` warnings and errors.

    With `json` they are written as JSON lines instead, and so is what other packages log as a warning.
    Warnings of other packages are left out, unless `debug` or Python's own switches ask for them.
    """
    logger, phiml = logging.getLogger("hyco"), logging.getLogger(PHIML)
    level, raising = logger.level, logging.raiseExceptions
    handler = JsonHandler() if json else ConsoleHandler(console)
    handler.addFilter(lambda record: not getattr(record, "file_only", False))
    handler.setLevel(logging.WARNING if quiet else logging.NOTSET)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.addHandler(handler)
    logging.raiseExceptions = debug  # a log.txt on a full disk must not print tracebacks
    phiml.addFilter(_take_over)
    try:
        with warnings.catch_warnings(), foreign_logs() if json else nullcontext():
            if not (debug or sys.warnoptions):
                warnings.simplefilter("ignore")
                os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of the workers that load data
            yield
    finally:
        phiml.removeFilter(_take_over)
        logger.removeHandler(handler)
        logger.setLevel(level)
        logging.raiseExceptions = raising


class ConsoleHandler(logging.Handler):
    """Writes to a rich console, above the bars that it may show."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, with its level when that is a warning or worse."""
        prefix, style = next(((p, s) for level, p, s in PREFIXES if record.levelno >= level), ("", ""))
        line = Text.assemble((prefix, style), record.getMessage())
        try:
            self.console.print(line, soft_wrap=True)
        except OSError:
            self.handleError(record)


def _take_over(record: logging.LogRecord) -> bool:
    """Pass PhiML's warnings on as ours, and nothing to the handler on stdout that PhiML brings along."""
    if record.levelno >= logging.WARNING:
        logging.getLogger("hyco.phiml").handle(record)
    return False
