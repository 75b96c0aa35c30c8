"""Settings from the command line, such as `trainer.synthetic.epochs=2`, put in before anything is parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hyco.config.yaml_text import parse_yaml
from hyco.errors import ConfigError


def apply_override(settings: dict[str, Any], override: str) -> str:
    """Put one `a.b.c=VALUE` into `settings`, VALUE read as YAML, and return the path `a.b.c`.

    A part of the path that is a number chooses an entry of a list.  Raises ConfigError when the text is no
    override, or when its path leads through something that is neither a block nor a list.
    """
    path, equals, value = override.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"override {override!r}: expected KEY=VALUE, such as trainer.synthetic.epochs=2.")
    place: Any = settings
    for depth, part in enumerate(parts[:-1]):
        place = _entered(place, part, parts[:depth], override)
    _entry(place, parts[-1], parts[:-1], override)
    place[_key(place, parts[-1])] = parse_yaml(value, f"override {override!r}")
    return ".".join(parts)


def _entered(place: Any, part: str, above: Sequence[str], override: str) -> Any:
    """What stands at `part`; a missing or empty one becomes a block."""
    inside = _entry(place, part, above, override)
    if inside is None:
        inside = place[_key(place, part)] = {}
    return inside


def _entry(place: Any, part: str, above: Sequence[str], override: str) -> Any:
    where = ".".join(above)
    if isinstance(place, list):
        if not part.isdecimal() or int(part) >= len(place):
            raise ConfigError(f"override {override!r}: {where} is a list of {len(place)}; no entry {part!r}.")
        return place[int(part)]
    if not isinstance(place, dict):
        raise ConfigError(f"override {override!r}: {where} is {place!r}, which has no {part!r} inside.")
    if part.isdecimal() and not place:
        raise ConfigError(f"override {override!r}: {where} has no entry {part} that could be changed.")
    return place.get(part)


def _key(place: Any, part: str) -> str | int:
    return int(part) if isinstance(place, list) else part
