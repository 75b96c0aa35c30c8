"""Generations of a training's state: folders `last-000012`, each of which is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyco.errors import CheckpointError
from hyco.storage.atomic import atomic_folder, remove_folder, write_json

log = logging.getLogger("hyco.train")
FACTS = "run.json"
FORMAT = "hyco-generation-1"
_NAME = re.compile(r"last-(\d{6,})")


@dataclass(frozen=True)
class Generation:
    """The state of a training at one moment: a file per trainer, and what `run.json` says of them.

    `facts` is empty where there is no `run.json`, as in a folder that somebody filled with converted files.
    """

    path: Path
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records of the history it counts."""
        return int(self.facts.get("records", 0))

    @property
    def finished(self) -> bool:
        """Whether the training had come to its end."""
        return bool(self.facts.get("finished", False))


@dataclass(frozen=True)
class Generations:
    """The generations in a folder of checkpoints."""

    folder: Path

    def paths(self) -> list[Path]:
        """All of them, damaged or not, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [p for p in self.folder.iterdir() if _NAME.fullmatch(p.name) and p.is_dir()]
        return sorted(found, key=_number, reverse=True)

    def save(
        self, write: Callable[[Path], None], facts: Mapping[str, Any], *, keep: int, alone: bool = False
    ) -> Path:
        """Make a new generation of the files that `write` puts into a folder; the newest `keep` stay.

        `alone`: none of the earlier ones does, since they are of another training.
        Raises StorageError when it cannot be written; then the earlier ones are all there.
        """
        earlier = self.paths()
        number = _number(earlier[0]) + 1 if earlier else 1
        target = self.folder / f"last-{number:06d}"
        with atomic_folder(target) as folder:
            write(folder)
            digests = {path.name: _digest(path) for path in sorted(folder.iterdir())}
            write_json(folder / FACTS, {"format": FORMAT, **facts, "files": digests})
        for path in earlier if alone else earlier[keep - 1 :]:
            try:
                remove_folder(path)
            except OSError as error:
                log.warning("%s: cannot be removed (%s); it stays", path, error.strerror)
        return target


def read_generation(path: Path) -> Generation:
    """A generation whose files are all as they were written.

    A file may have been replaced by what it was converted to, which has the same stem and another ending.
    Raises CheckpointError that says what is damaged.
    """
    try:
        return _read(path)
    except OSError as error:
        raise CheckpointError(f"{error.filename or path}: cannot be read ({error.strerror})") from error


def _read(path: Path) -> Generation:
    facts = _read_facts(path)
    for name, digest in facts.get("files", {}).items():
        file = path / name
        if file.is_file():
            if _digest(file) != digest:
                raise CheckpointError(f"{file}: damaged, it is not what was written")
        elif not [p for p in path.glob(f"{file.stem}.*") if p.name != FACTS and p.is_file()]:
            raise CheckpointError(f"{file}: missing")
    return Generation(path, facts)


def _read_facts(path: Path) -> dict[str, Any]:
    file = path / FACTS
    if not file.exists():
        return {}
    try:
        facts = dict(json.loads(file.read_text(encoding="utf-8")))
        if facts.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT!r}, found {facts.get('format')!r}")
        checked = {"files": dict(facts["files"]), "records": int(facts["records"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{file}: not readable ({error})") from error
    return {**facts, **checked}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found
    return int(found[1])
