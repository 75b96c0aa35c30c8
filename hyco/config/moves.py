"""Changes to nested settings, each of them noted."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from hyco.errors import ConfigError


@dataclass(frozen=True)
class Note:
    """One change: what stood there, and what it became or why it means nothing any more."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old} -> {self.new}"


class Moves:
    """Settings in the making: values are taken from where they were and put where they belong.

    Paths are dotted.  Blocks that are none are taken for empty ones, and left for the schema to refuse.
    """

    def __init__(self, settings: Mapping[str, Any], origin: str) -> None:
        self.settings: dict[str, Any] = copy.deepcopy(dict(settings))
        self.origin = origin
        self.notes: list[Note] = []

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a path."""
        block, key = self._place(path)
        value = block.get(key) if block is not None else None
        return default if value is None else value

    def block(self, path: str) -> dict[str, Any]:
        """The block at a path; an empty one where there is none."""
        value = self.get(path)
        return dict(value) if isinstance(value, Mapping) else {}

    def has(self, path: str) -> bool:
        """Whether there is something at a path, null included."""
        block, key = self._place(path)
        return block is not None and key in block

    def take(self, path: str) -> Any:
        """Remove what is at a path, and return it."""
        block, key = self._place(path)
        return block.pop(key, None) if block is not None else None

    def put(self, path: str, value: Any) -> None:
        """Put a value at a path, making the blocks that lead there."""
        *parts, key = path.split(".")
        block = self.settings
        for part in parts:
            inner = block.get(part)
            if not isinstance(inner, dict):
                inner = block[part] = {}
            block = inner
        block[key] = value

    def note(self, old: str, new: str) -> None:
        """Note a change."""
        self.notes.append(Note(old, new))

    def change(self, path: str, value: Any, why: str = "") -> None:
        """Put another value at a path, and note it where it is another one."""
        had, old = self.has(path), self.get(path)
        if had and old == value:
            return
        self.put(path, value)
        reason = f" ({why})" if why else ""
        self.note(f"{path}: {shown(old)}" if had else f"{path}, not given", f"{shown(value)}{reason}")

    def move(self, old: str, new: str, value: Any = None, why: str = "") -> None:
        """Take what is at `old`, if anything is, put it (or `value`) at `new`, and note it."""
        if not self.has(old):
            return
        taken = self.take(old)
        value = taken if value is None else value
        self.put(new, value)
        reason = f" ({why})" if why else ""
        self.note(f"{old}: {shown(taken)}", f"{new}: {shown(value)}{reason}")

    def drop(self, path: str, why: str) -> None:
        """Take away what means nothing any more, and note it."""
        if self.has(path):
            value = self.take(path)
            self.note(path if isinstance(value, Mapping) else f"{path}: {shown(value)}", why)

    def refuse(self, path: str, why: str) -> NoReturn:
        """Raise ConfigError for a setting that would change results, and that hyco does not have."""
        raise ConfigError(f"{self.origin}: {path}: {why}")

    def _place(self, path: str) -> tuple[dict[str, Any] | None, str]:
        *parts, key = path.split(".")
        block: Any = self.settings
        for part in parts:
            block = block.get(part) if isinstance(block, dict) else None
        return (block if isinstance(block, dict) else None), key


def number(value: Any) -> Any:
    """A number that some readers of YAML take for text, such as `1e-4`; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def is_number(value: Any) -> bool:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A value in few words, as YAML has it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
