"""Learning rates, curricula and ramps: where they start, where they end, and that they do not begin anew."""

from __future__ import annotations

from itertools import pairwise
from math import cos, pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyco.errors import ConfigError
from hyco.learning.schedules import curriculum, learning_rate_schedule, ramp

RATE = 0.2
EXACT = 1e-14  # relative; these are a few operations in float64


def rates(total: int, count: int, **options: Any) -> list[float]:
    schedule = learning_rate_schedule(RATE, total, **options)
    return [schedule(epoch) for epoch in range(count)]


def test_cosine_falls_from_the_rate_to_zero_and_stays_there() -> None:
    schedule = learning_rate_schedule(RATE, 8, name="cosine")
    assert [schedule(e) for e in (0, 4, 8, 11)] == pytest.approx([0.2, 0.1, 0.0, 0.0], abs=1e-17)
    assert schedule(2) == pytest.approx(0.2 * (2 + 2**0.5) / 4, rel=EXACT)


def test_cosine_ends_at_its_share_of_the_rate() -> None:
    schedule = learning_rate_schedule(RATE, 8, name="cosine", final=0.25)
    assert [schedule(e) for e in (0, 4, 8, 9)] == pytest.approx([0.2, 0.125, 0.05, 0.05], rel=EXACT)


def test_none_does_not_change() -> None:
    assert set(rates(8, 20, name="none")) == {RATE}


def test_steps_come_after_every_so_many_epochs() -> None:
    expected = [RATE] * 3 + [RATE / 4] * 3 + [RATE / 16]
    assert rates(7, 7, name="step", every=3, factor=0.25) == pytest.approx(expected, rel=EXACT)


def test_exponential_falls_with_every_epoch() -> None:
    assert rates(5, 4, name="exponential", factor=0.5) == pytest.approx([0.2, 0.1, 0.05, 0.025], rel=EXACT)


def test_one_cycle_goes_up_and_then_down() -> None:
    found = rates(10, 12, name="one-cycle", peak=0.4, start=0.1, final=0.01)
    up = [RATE * (1.0 - 0.9 * (1 + cos(pi * e / 4)) / 2) for e in range(4)]
    down = [RATE * (0.01 + 0.99 * (1 + cos(pi * (e - 4) / 6)) / 2) for e in range(4, 11)]
    assert found == pytest.approx([*up, *down, down[-1]], rel=EXACT)
    assert found[:5] == sorted(found[:5])
    assert found[4:] == sorted(found[4:], reverse=True)
    assert found[4] == RATE
    assert found[0] == pytest.approx(0.02, rel=EXACT)


OPTIONS: dict[str, dict[str, Any]] = {
    "cosine": {"final": 0.1},
    "none": {},
    "step": {"every": 3, "factor": 0.5},
    "exponential": {"factor": 0.9},
}


@pytest.mark.parametrize("name", OPTIONS)
@given(total=st.integers(0, 60))
def test_all_others_begin_with_the_rate_and_never_rise(name: str, total: int) -> None:
    found = rates(total, total + 3, name=name, **OPTIONS[name])
    assert found[0] == pytest.approx(RATE, rel=EXACT)
    assert all(a >= b for a, b in pairwise(found))
    assert min(found) >= 0.0


@pytest.mark.parametrize("name", [*OPTIONS, "one-cycle"])
def test_a_schedule_does_not_begin_anew_after_the_warm_up(name: str) -> None:
    """It is a function of the epoch of the run alone: no epoch of a later round has the first one's rate."""
    found = rates(12, 12, name=name, **OPTIONS.get(name, {}))
    if name != "none":
        assert found[4:8] != found[:4]
        assert found[11] < found[8]


def test_a_run_without_epochs_has_a_rate_too() -> None:
    assert learning_rate_schedule(0.5, 0)(0) == 0.5


def test_unknown_schedules_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        learning_rate_schedule(RATE, 3, name="cosin")
    with pytest.raises(ConfigError, match=r"exponential has no such option.*final"):
        learning_rate_schedule(RATE, 3, name="exponential", final=0.5)


# --------------------------------------------------------------------------------------------- curriculum


def lengths(total: int, count: int, **options: Any) -> list[int]:
    frames = curriculum(total, **options)
    return [frames(epoch) for epoch in range(count)]


def test_a_linear_curriculum_grows_in_equal_parts() -> None:
    assert lengths(7, 9, start=2, end=5) == [2, 3, 3, 4, 4, 5, 5, 5, 5]
    assert lengths(4, 4, start=2, end=5, strategy="linear") == [2, 3, 4, 5]


def test_a_power_stays_short_for_longer() -> None:
    # shares 0, 1/4, 1/2, 3/4, 1; squared, times 8: 0, 0.5, 2, 4.5, 8; halves go up
    assert lengths(5, 5, start=2, end=10, strategy="power", exponent=2.0) == [2, 3, 4, 7, 10]
    assert lengths(5, 5, start=2, end=10, strategy="power", exponent=1.0) == lengths(5, 5, start=2, end=10)


def test_steps_add_a_frame_after_every_so_many_epochs() -> None:
    assert lengths(9, 9, start=2, end=4, strategy="step", every=3) == [2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert lengths(9, 9, start=2, end=3, strategy="step", every=2) == [2, 2, 3, 3, 3, 3, 3, 3, 3]


@given(
    total=st.integers(2, 50),
    start=st.integers(2, 9),
    growth=st.integers(0, 20),
    strategy=st.sampled_from(["linear", "power"]),
    exponent=st.floats(0.2, 5.0),
)
def test_a_curriculum_begins_ends_and_never_shrinks(
    total: int, start: int, growth: int, strategy: str, exponent: float
) -> None:
    found = lengths(total, total + 2, start=start, end=start + growth, strategy=strategy, exponent=exponent)
    assert found[0] == start
    assert found[total - 1] == found[-1] == start + growth
    assert found == sorted(found)


@given(total=st.integers(1, 50), every=st.integers(1, 7), growth=st.integers(0, 20))
def test_steps_begin_never_shrink_and_stay_below_the_end(total: int, every: int, growth: int) -> None:
    found = lengths(total, total, start=3, end=3 + growth, strategy="step", every=every)
    assert found[0] == 3
    assert found == sorted(found)
    assert found[-1] == min(3 + growth, 3 + (total - 1) // every)


def test_a_single_epoch_has_the_windows_that_the_run_is_for() -> None:
    assert lengths(1, 2, start=2, end=6) == [6, 6]


def test_a_curriculum_that_shrinks_and_strategies_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="end is below the start"):
        curriculum(5, start=6, end=4)
    with pytest.raises(ConfigError, match="Did you mean 'power'"):
        curriculum(5, start=2, end=4, strategy="powr")


# --------------------------------------------------------------------------------------------------- ramp


def weights(cycles: int, weight: Any) -> list[float]:
    value = ramp(cycles, weight)
    return [value(cycle) for cycle in range(1, cycles + 1)]


def test_a_number_is_a_weight_that_stays() -> None:
    assert weights(3, 0.7) == [0.7] * 3


def test_ramps_go_from_start_to_end() -> None:
    block = {"start": 1.0, "end": 3.0}
    assert weights(5, block) == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0], rel=EXACT)
    assert weights(3, {**block, "strategy": "power", "exponent": 2.0}) == pytest.approx([1.0, 1.5, 3.0])
    assert weights(4, {**block, "strategy": "step"}) == [1.0, 1.0, 3.0, 3.0]
    assert weights(5, {**block, "strategy": "step"}) == [1.0, 1.0, 3.0, 3.0, 3.0]
    assert weights(1, block) == [3.0]
    with pytest.raises(ConfigError, match="Did you mean 'linear'"):
        ramp(3, {**block, "strategy": "liner"})


@given(
    cycles=st.integers(2, 30),
    ends=st.tuples(st.floats(0, 10), st.floats(0, 10)),
    strategy=st.sampled_from(["linear", "power", "step"]),
)
def test_ramps_are_exact_at_both_ends_and_go_one_way(
    cycles: int, ends: tuple[float, float], strategy: str
) -> None:
    found = weights(cycles, {"start": ends[0], "end": ends[1], "strategy": strategy})
    assert (found[0], found[-1]) == ends
    slack = 1e-12
    upward = ends[1] >= ends[0]
    assert all((b - a if upward else a - b) >= -slack for a, b in pairwise(found))
