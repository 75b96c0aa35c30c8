"""What asks a run to stop: Ctrl-C, SIGTERM and SIGUSR1 from a scheduler, a time limit.

A stop raises KeyboardInterrupt, which no `except Exception` takes for a failure of its own; `Stops.asked`
tells why.  Some libraries swallow it all the same within their callbacks, so it is remembered.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hyco.tasks.limits import TimeLimit

CTRL_C = "Ctrl-C"
HINT = b"\nstopping at the next batch, to save; Ctrl-C once more stops at once\n"
_ASKING = {
    signal.SIGINT: CTRL_C,
    **{getattr(signal, name): name for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)},
}


class Stops:
    """Whether, and why, a run is to stop.

    Between units of work `check` is called, which raises KeyboardInterrupt once a stop was asked for.
    Outside of `patiently` the signal raises it too, wherever it strikes; inside, it is left to `check`, so
    that the state is whole when it is saved, except for a second Ctrl-C.

    Attributes: asked, by what, or None; limit, the time that the run may take, or None.
    """

    def __init__(self, limit: TimeLimit | None = None) -> None:
        self.limit = limit
        self.asked: str | None = None
        self._patient = False
        self._heard = time.monotonic()
        self._longest_wait = 0.0
        self._longest_save = 0.0

    def check(self) -> None:
        """Raise KeyboardInterrupt when the run is to stop."""
        if self.due():
            raise KeyboardInterrupt

    def due(self) -> bool:
        """Whether the run is to stop now.

        It is some time before the limit: as long as saving took, and as it took from one call to the next.
        """
        now = time.monotonic()
        self._longest_wait = max(self._longest_wait, now - self._heard)
        self._heard = now
        if self.asked is None and self.limit is not None and self.limit.left <= self._reserve(self.limit):
            self.asked = _reached(self.limit)
        return self.asked is not None

    def saved(self, seconds: float) -> None:
        """Take note of how long a state took to be saved."""
        self._longest_save = max(self._longest_save, seconds)

    def listen(self) -> None:
        """Count the time from one call to the next from now on."""
        self._heard, self._longest_wait = time.monotonic(), 0.0

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Inside, a stop waits for `check`."""
        self.listen()
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """The handler of all signals that ask for a stop."""
        again = self.asked == CTRL_C and number == signal.SIGINT
        if self.asked is None:
            self.asked = _ASKING.get(signal.Signals(number)) or (_reached(self.limit) if self.limit else None)
        if not self._patient or again:
            raise KeyboardInterrupt
        if number == signal.SIGINT and sys.stderr.isatty():
            os.write(2, HINT)  # a stream may be in the middle of a write of its own

    def _reserve(self, limit: TimeLimit) -> float:
        return min(limit.seconds / 2, 1.0 + 2.0 * self._longest_save + self._longest_wait)


@contextmanager
def heard(stops: Stops) -> Iterator[Stops]:
    """Inside, signals that ask for a stop, and the time limit, reach `stops`.

    A signal that somebody else handles is left to him, and outside of the main thread all are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return
    alarm = {signal.SIGALRM: ""} if stops.limit is not None and hasattr(signal, "SIGALRM") else {}
    before = {s: signal.getsignal(s) for s in (*_ASKING, *alarm)}
    ours = [s for s, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    loud = sys.unraisablehook
    for number in ours:
        signal.signal(number, stops.ask)
    if signal.SIGINT in ours:
        sys.unraisablehook = _quiet(
            loud
        )  # Python itself swallows, and prints, what is raised while an object goes
    if stops.limit is not None and any(s in ours for s in alarm):
        signal.setitimer(signal.ITIMER_REAL, max(1e-3, stops.limit.left - min(1.0, stops.limit.seconds / 10)))
    try:
        yield stops
    finally:
        if stops.limit is not None and any(s in ours for s in alarm):
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number in ours:
            signal.signal(number, before[number])
        sys.unraisablehook = loud


def _quiet(loud: Any) -> Any:
    """An unraisable hook that prints everything but interrupts."""

    def hook(swallowed: sys.UnraisableHookArgs) -> None:
        if not issubclass(swallowed.exc_type, KeyboardInterrupt):
            loud(swallowed)

    return hook


def _reached(limit: TimeLimit) -> str:
    return f"the time limit of {limit.text}"
