"""The folder of one run: resolved configuration, environment, history, checkpoints, log."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from hyco.errors import DataError
from hyco.storage.atomic import remove_leftovers, write_json, write_text
from hyco.storage.generations import Generations
from hyco.storage.locking import locked

FRAMEWORKS = ("torch", "jax", "equinox", "optax", "phiflow", "phiml")
PACKAGES = ("hyco", "numpy", "scipy", *FRAMEWORKS, "h5py", "numexpr", "matplotlib")
Record = dict[str, Any]


@dataclass
class RunDirectory:
    """`results/<experiment>`, and what stands where in it.

    `history.jsonl` holds one object per epoch and per cycle and is rewritten whole with every record, so
    that it is complete at any moment.
    """

    path: Path
    checkpoints: Path
    history: list[Record] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)

    @property
    def generations(self) -> Generations:
        """The states of its training."""
        return Generations(self.checkpoints)

    @property
    def history_file(self) -> Path:
        """Where the history is."""
        return self.path / "history.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other process runs here, and what killed ones left half-written is gone.

        Raises InputError when another process does, before anything is changed.
        """
        inside = self.checkpoints.resolve().is_relative_to(self.path.resolve())
        with locked(self.path, *(() if inside else (self.checkpoints,))):
            for folder in (self.path, self.checkpoints, self.path / "figures", self.path / "animations"):
                remove_leftovers(folder)
            yield

    def begin(self, config_yaml: str, facts: Record) -> None:
        """Write down what is run, and on what."""
        write_text(self.path / "config.yaml", config_yaml)
        write_json(self.path / "environment.json", {**environment(), **facts})

    def record(self, record: Record) -> None:
        """Add a record to the history."""
        self.history.append(record)
        self._lines.append(_line(record))
        write_text(self.history_file, "".join(self._lines))

    def write_history(self, records: Sequence[Record]) -> None:
        """Put these records in place of the history."""
        self.history, self._lines = list(records), [_line(r) for r in records]
        write_text(self.history_file, "".join(self._lines))

    def read_history(self) -> list[Record]:
        """The history on disk; empty when there is none.  Raises DataError when it is damaged."""
        if not self.history_file.exists():
            return []
        try:
            return [json.loads(line) for line in self.history_file.read_text().splitlines()]
        except ValueError as error:
            raise DataError(
                f"{self.history_file}: not JSON lines ({error}). Put it right, or train again."
            ) from error

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Inside, everything that hyco logs goes into `log.txt` too, at least from level INFO up."""
        self.path.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("hyco")
        level = logger.level
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)
            handler.close()


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"


def environment() -> Record:
    """Versions, machine and revision: what a result depends on beside its configuration."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
        "git_revision": _git_revision(),
    }


def _git_revision() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
