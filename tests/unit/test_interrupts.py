"""What asks a run to stop is heard at the next opportunity; handlers of others are left alone."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

from hyco.errors import ConfigError
from hyco.tasks.interrupts import CTRL_C, Stops, heard
from hyco.tasks.limits import TimeLimit, parse_duration


@pytest.fixture(autouse=True)
def _default_handler() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_swallowed_interrupt_is_raised_again() -> None:
    with heard(Stops()) as stops:
        stops.check()
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stops.check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), heard(Stops()):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_handler_stays() -> None:
    seen: list[int] = []

    def mine(number: int, frame: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, mine)
    with heard(Stops()) as stops:
        signal.raise_signal(signal.SIGINT)
        stops.check()
    assert seen == [signal.SIGINT]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_another_thread_changes_nothing() -> None:
    handlers: list[object] = []

    def work() -> None:
        with heard(Stops()) as stops:
            stops.check()
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
    with heard(Stops()) as stops:
        things: list[object] = [Interrupting()]
        things.clear()
        with pytest.raises(KeyboardInterrupt):
            stops.check()
        things = [Failing()]
        things.clear()
    assert printed == ["ValueError"]
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_what_schedulers_send_stops_like_an_interrupt_and_says_what_it_was(name: str) -> None:
    number = getattr(signal, name)
    stops = Stops()
    with pytest.raises(KeyboardInterrupt), heard(stops):
        signal.raise_signal(number)
    assert stops.asked == name
    assert signal.getsignal(number) is signal.SIG_DFL


def test_in_the_middle_of_work_a_stop_waits_for_the_check() -> None:
    with heard(Stops()) as stops, stops.patiently():
        for number in (
            signal.SIGTERM,
            signal.SIGTERM,
            signal.SIGINT,
        ):  # a scheduler may send it to all, and again
            signal.raise_signal(number)
        assert stops.due() and stops.asked == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            stops.check()


def test_a_second_interrupt_waits_for_nothing() -> None:
    with heard(Stops()) as stops, stops.patiently():
        signal.raise_signal(signal.SIGINT)
        assert stops.asked == CTRL_C
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_time_limit_strikes_wherever_the_run_is() -> None:
    stops = Stops(TimeLimit.of(0.2))
    with pytest.raises(KeyboardInterrupt), heard(stops):
        time.sleep(20)
    assert stops.asked == "the time limit of 0.2s"
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_time_limit_leaves_time_to_save() -> None:
    """By as long as saving took, twice, and as long as it is from one check to the next."""

    def stops_at(left: float, saving: float = 0.0) -> bool:
        stops = Stops(TimeLimit(3600.0, "1h", time.monotonic() - 3600.0 + left))
        stops.saved(saving)
        return stops.due()

    assert not stops_at(3.0) and stops_at(0.9)
    assert stops_at(3.0, saving=1.5)
    assert not stops_at(1801.0, saving=5000.0)  # but never by more than half of the limit
    stops = Stops(TimeLimit(3600.0, "1h", time.monotonic() - 3600.0 + 1.3))
    assert not stops.due()
    time.sleep(0.16)
    assert stops.due()  # 1.14 left, and the last check was 0.16 ago


def test_a_time_limit_is_heard_in_other_threads_too() -> None:
    seen: list[bool] = []

    def work() -> None:
        with heard(Stops(TimeLimit.of(1e-3))) as stops:
            time.sleep(0.01)
            seen.append(stops.due())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("23h50m", 85800),
        ("90m", 5400),
        ("3600", 3600),
        ("1:30:00", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        ("7s", 7),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0h", "h", "1:30", "50m23h", "-5", "1h30", "10 m", "1:75:00", "soon", "nan"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--time-limit: expected a duration such as 23h50m"):
        parse_duration(text)
