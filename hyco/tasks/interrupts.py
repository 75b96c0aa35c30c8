"""Ctrl-C that is not lost: some libraries swallow the exception that it raises within their callbacks."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Inside, SIGINT raises KeyboardInterrupt as ever, and is remembered.

    Gives a function that raises KeyboardInterrupt again when one was swallowed; to be called between units
    of work.  Where SIGINT is handled otherwise, or outside of the main thread, nothing is changed.
    """
    caught = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        caught.set()
        signal.default_int_handler(number, frame)

    def check() -> None:
        if caught.is_set():
            raise KeyboardInterrupt

    def quiet(swallowed: sys.UnraisableHookArgs) -> None:
        if not issubclass(swallowed.exc_type, KeyboardInterrupt):
            loud(swallowed)

    loud = sys.unraisablehook
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, remember)
        sys.unraisablehook = quiet  # Python itself swallows, and prints, what is raised while an object goes
    try:
        yield check
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = loud
