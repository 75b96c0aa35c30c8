"""Ctrl-C that a library swallowed is raised at the next opportunity; other handlers are left alone."""

from __future__ import annotations

import signal
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
