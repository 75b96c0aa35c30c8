"""When the state of a training is saved, and what it consists of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hyco.config import Config
from hyco.errors import CheckpointError, StorageError
from hyco.interfaces import HybridTrainer, PhysicalTrainer, Record, SyntheticTrainer
from hyco.migration.road import conversion
from hyco.storage.generations import Generation
from hyco.storage.run_directory import RunDirectory
from hyco.storage.states import SUFFIX, read_state, write_state

log = logging.getLogger("hyco.train")
Trainer = SyntheticTrainer | PhysicalTrainer
HYBRID = f"hybrid{SUFFIX}"


@dataclass
class Cadence:
    """`checkpoint.every`: counts what was done since the last state was saved."""

    epochs: int | None
    cycles: int | None
    minutes: float | None
    clock: Callable[[], float] = time.monotonic
    done: dict[str, int] = field(default_factory=dict)
    since: float = 0.0

    def __post_init__(self) -> None:
        self.restart()

    def count(self, kind: str) -> None:
        """An `epoch` or a `cycle` is done."""
        self.done[kind] = self.done.get(kind, 0) + 1

    def due(self) -> str | None:
        """Which of the limits is reached; None: none of them."""
        limits = {"epoch": self.epochs, "cycle": self.cycles}
        reached = [kind for kind, limit in limits.items() if limit and self.done.get(kind, 0) >= limit]
        if self.minutes is not None and self.clock() - self.since >= 60.0 * self.minutes:
            reached.append("minutes")
        return reached[0] if reached else None

    def restart(self) -> None:
        """A state was saved."""
        self.done, self.since = {}, self.clock()


@dataclass
class Saver:
    """Saves the whole state of a training as one generation, and puts it back.

    Attributes: trainers by model, and the hybrid trainer where there is one; data, what the trajectories say
    they were made from; changed, whether anything happened since the last state; path, of that state.
    """

    config: Config
    directory: RunDirectory
    trainers: Mapping[str, Trainer]
    hybrid: HybridTrainer | None
    data: Mapping[str, str]
    timed: Callable[[float], None] = lambda seconds: None
    changed: bool = True
    path: Path | None = None

    def __post_init__(self) -> None:
        every = self.config.checkpoint.every
        self.cadence = Cadence(every.epochs, every.cycles, every.minutes)

    def count(self, record: Record) -> None:
        """Take note of a record that is in the history."""
        self.changed = True
        self.cadence.count(record["kind"])

    def save_if_due(self) -> None:
        """Save when `checkpoint.every` says so."""
        reason = self.cadence.due() if self.changed else None
        if reason is not None:
            self.save(reason)

    def save(self, reason: str, *, alone: bool = False, finished: bool = False) -> None:
        """Save, unless nothing has changed; `alone`: in place of all earlier states.

        Raises StorageError when that cannot be done; the earlier states are all there then.
        """
        if not (self.changed or finished):
            return
        began = time.perf_counter()
        facts = {
            "when": datetime.now().isoformat(" ", "seconds"),
            "reason": reason,
            "finished": finished,
            "epochs": {name: trainer.epochs_done for name, trainer in self.trainers.items()},
            "records": len(self.directory.history),
            "config": self.config.model_dump(mode="json"),
            "data": dict(self.data),
        }
        try:
            self.path = self.directory.generations.save(
                self._write, facts, keep=self.config.checkpoint.keep, alone=alone
            )
        except StorageError as error:
            earlier = self.directory.generations.paths()
            if not earlier:
                raise
            raise StorageError(f"{error} The state saved last is in {earlier[0]}.") from error
        self.changed = False
        self.cadence.restart()
        self.timed(time.perf_counter() - began)

    def _write(self, folder: Path) -> None:
        for name, trainer in self.trainers.items():
            trainer.save(folder / f"{name}{trainer.suffix}")
        if self.hybrid is not None:
            write_state(folder / HYBRID, self.hybrid.state())

    def check_modes(self, generation: Generation) -> None:
        """Raise CheckpointError when a file is there for the other mode alone, and say how to convert it."""
        for name, trainer in self.trainers.items():
            path = generation.path / f"{name}{trainer.suffix}"
            if not path.is_file() and list(generation.path.glob(f"{name}.*")):
                raise CheckpointError(
                    f"{path}: nothing to resume from. There is one of the other mode: "
                    f"`{conversion(path.with_suffix(''), trainer.mode)}` makes it one of this mode."
                )

    def load(self, generation: Generation) -> None:
        """Put a state in force; raises CheckpointError when it is damaged or does not fit."""
        for name, trainer in self.trainers.items():
            trainer.load(generation.path / f"{name}{trainer.suffix}")
        if self.hybrid is not None and (generation.path / HYBRID).is_file():
            self.hybrid.restore(read_state(generation.path / HYBRID))
        elif self.hybrid is not None and generation.facts:
            raise CheckpointError(f"{generation.path / HYBRID}: missing")
        self.path, self.changed = generation.path, False
        self.cadence.restart()


def config_of(generation: Generation) -> Mapping[str, Any] | None:
    """The settings that a state was made with; None where that is not known."""
    found = generation.facts.get("config")
    return found if isinstance(found, Mapping) else None
