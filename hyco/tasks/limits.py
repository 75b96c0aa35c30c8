"""How long a run may take: `23h50m`, `90m`, `3600`, `1:30:00`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from hyco.errors import ConfigError

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"\d+(?:\.\d+)?"
_PARTS = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNITS))
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d)")


def parse_duration(text: str) -> float:
    """The seconds of a duration; raises ConfigError for anything but the spellings above, and for zero."""
    given = text.strip()
    seconds = 0.0
    if re.fullmatch(_NUMBER, given):
        seconds = float(given)
    elif clock := _CLOCK.fullmatch(given):
        hours, minutes, rest = map(int, clock.groups())
        seconds = 3600.0 * hours + 60.0 * minutes + rest
    elif parts := _PARTS.fullmatch(given):
        seconds = sum(_UNITS[unit] * float(value) for unit, value in parts.groupdict().items() if value)
    if seconds <= 0.0:
        raise ConfigError(
            f"--time-limit: expected a duration such as 23h50m, 90m, 3600 (seconds) or 1:30:00, got {text!r}."
        )
    return seconds


@dataclass(frozen=True)
class TimeLimit:
    """The time that a run may take, counted from `began` (by `time.monotonic`); `text` is as it was given."""

    seconds: float
    text: str
    began: float = field(default_factory=time.monotonic)

    @staticmethod
    def of(given: TimeLimit | str | float) -> TimeLimit:
        """A limit from seconds or text, counted from now; one that is a limit already stays."""
        if isinstance(given, TimeLimit):
            return given
        text = given if isinstance(given, str) else f"{given:g}s"
        return TimeLimit(parse_duration(text), text)

    @property
    def left(self) -> float:
        """Seconds until it is reached; negative once it was."""
        return self.began + self.seconds - time.monotonic()
