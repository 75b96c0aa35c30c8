"""Learning rates as functions of the epoch."""

from __future__ import annotations

import pytest

from hyco.learning.schedules import learning_rate_schedule


def test_cosine_falls_from_the_rate_to_zero_and_stays_there() -> None:
    schedule = learning_rate_schedule("cosine", 0.2, 8)
    assert [schedule(e) for e in (0, 4, 8, 11)] == pytest.approx([0.2, 0.1, 0.0, 0.0], abs=1e-17)
    assert schedule(2) == pytest.approx(0.2 * (2 + 2**0.5) / 4, rel=1e-14)
    rates = [schedule(e) for e in range(9)]
    assert rates == sorted(rates, reverse=True)


def test_constant_does_not_change() -> None:
    schedule = learning_rate_schedule("constant", 0.3, 8)
    assert {schedule(e) for e in (0, 3, 8, 100)} == {0.3}


def test_a_run_without_epochs_has_a_rate_too() -> None:
    assert learning_rate_schedule("cosine", 0.5, 0)(0) == 0.5
