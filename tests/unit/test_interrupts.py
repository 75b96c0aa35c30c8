"""Ctrl-C that a library swallowed is raised at the next opportunity; other handlers are left alone."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress

import pytest

from hyco.tasks.interrupts import remembered_interrupts


@pytest.fixture(autouse=True)
def _default_handler() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_swallowed_interrupt_is_raised_again() -> None:
    with remembered_interrupts() as check:
        check()
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), remembered_interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_handler_stays() -> None:
    seen: list[int] = []

    def mine(number: int, frame: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, mine)
    with remembered_interrupts() as check:
        signal.raise_signal(signal.SIGINT)
        check()
    assert seen == [signal.SIGINT]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_another_thread_changes_nothing() -> None:
    handlers: list[object] = []

    def work() -> None:
        with remembered_interrupts() as check:
            check()
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


class Interrupting:
    """An object that is interrupted while it goes, where Python can raise nothing."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Failing:
    """An object that fails while it goes, which is not ours to hide."""

    def __del__(self) -> None:
        raise ValueError("broken")


def test_an_interrupt_that_python_itself_swallows_is_remembered_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: printed.append(told.exc_type.__name__))
    hook = sys.unraisablehook
    with remembered_interrupts() as check:
        things: list[object] = [Interrupting()]
        things.clear()
        with pytest.raises(KeyboardInterrupt):
            check()
        things = [Failing()]
        things.clear()
    assert printed == ["ValueError"]
    assert sys.unraisablehook is hook
