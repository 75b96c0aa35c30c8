"""What can be read of a run from outside, while it is at work or long after; nothing is written or locked.

Files that are missing, half-written or of another version count as far as they can be read.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from hyco.errors import InputError
from hyco.storage.locking import HOLDER

DEEP = 2
MODELS = ("synthetic", "physical")
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Holder:
    """The process that is at work in a folder."""

    pid: int
    host: str
    started: str


@dataclass(frozen=True)
class Glance:
    """What the files of a run said at one moment; `metrics` are those of the training that the history is of.

    `age`: seconds since the history was written last; None where there is none.
    """

    folder: Path
    holder: Holder | None
    config: Facts
    environment: Facts
    history: tuple[dict[str, Any], ...]
    metrics: Facts
    age: float | None

    def setting(self, path: str, default: Any = None) -> Any:
        """The setting at a dotted path."""
        value: Any = self.config
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        return value


@dataclass
class Watched:
    """A folder that is looked at again and again: a file is read again where it has changed."""

    folder: Path
    _read: dict[str, tuple[tuple[int, int, int], Any]] = field(default_factory=dict)

    def look(self) -> Glance:
        """What there is now; the holder first, so that after an end the rest is final."""
        holder = holder_of(self.folder)
        history = self._file("history.jsonl", _records, ())
        metrics = self._file("metrics.json", _mapping, {})
        written, scored = (self._changed(name) for name in ("history.jsonl", "metrics.json"))
        stale = written is not None and scored is not None and scored < written
        return Glance(
            self.folder,
            holder,
            self._file("config.yaml", _settings, {}),
            self._file("environment.json", _mapping, {}),
            history,
            {} if stale else metrics,
            None if written is None else max(0.0, datetime.now().timestamp() - written),
        )

    def _file(self, name: str, parse: Callable[[str], Any], nothing: Any) -> Any:
        try:
            status = (self.folder / name).stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if name not in self._read or self._read[name][0] != stamp:
                text = (self.folder / name).read_text(encoding="utf-8", errors="replace")
                self._read[name] = stamp, parse(text)
            return self._read[name][1]
        except OSError:
            return nothing

    def _changed(self, name: str) -> float | None:
        try:
            return (self.folder / name).stat().st_mtime
        except OSError:
            return None


def runs_in(folder: Path) -> list[Path]:
    """The run that a folder holds, or those of its sub-folders (of seeds, of modes), in order.

    Raises InputError when there is none.
    """
    if (folder / "history.jsonl").is_file():
        return [folder]
    found: list[Path] = []
    for depth in range(1, DEEP + 1):
        with suppress(OSError):
            found += [p for p in folder.glob("/".join("*" * depth)) if _is_run(p)]
    if found:
        return sorted(found, key=_in_order)
    if _is_run(folder):
        return [folder]
    what = "no run is in it" if folder.is_dir() else "there is no such folder"
    raise InputError(f"{folder}: {what}. Name the output folder of a run, such as results/burgers.")


def holder_of(folder: Path) -> Holder | None:
    """The process that is at work in a folder; None when there is none, as after a kill.

    Of a process on another machine it cannot be told whether it is still there; then it counts as being so.
    """
    facts = {}
    with suppress(OSError):
        facts = _mapping((folder / HOLDER).read_text(encoding="utf-8", errors="replace"))
    pid, host, started = (facts.get(key) for key in ("pid", "host", "started"))
    if not isinstance(pid, int) or pid <= 0:
        return None
    if host == socket.gethostname() and not _alive(pid, str(started)):
        return None
    return Holder(pid, str(host), str(started))


def number_of(record: Facts, key: str) -> float | None:
    """A number of a record, or None."""
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _is_run(folder: Path) -> bool:
    files = {name: (folder / name).is_file() for name in ("history.jsonl", "config.yaml", "environment.json")}
    return files["history.jsonl"] or (files["config.yaml"] and files["environment.json"])


def _in_order(path: Path) -> list[Any]:
    """Numbers within names by their size: seed_2 before seed_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _records(text: str) -> tuple[dict[str, Any], ...]:
    """The lines of a history that are records of an epoch, a solve or a cycle."""
    return tuple(record for line in text.splitlines() if _is_record(record := _mapping(line)))


def _is_record(record: Facts) -> bool:
    if record.get("kind") == "epoch":
        return record.get("model") in MODELS and _counts(record.get("epoch"))
    return record.get("kind") == "cycle" and _counts(record.get("cycle"))


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _settings(text: str) -> Facts:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _alive(pid: int, locked: str) -> bool:
    """Whether a process of this machine is there, and is not a later one that got the same number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        pass
    state, born = _process(pid)
    try:
        since = datetime.fromisoformat(locked).timestamp()
    except ValueError:
        since = None
    return state != "Z" and (born is None or since is None or born <= since + 2.0)


def _process(pid: int) -> tuple[str, float | None]:
    """State and start, in seconds since the epoch, of a process, as far as the system tells."""
    try:
        rest = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()
            if line.startswith("btime")
        )
        return rest[0], boot + int(rest[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return "", None
