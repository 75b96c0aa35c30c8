"""Windows: how many, where they lie, and in which order they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hyco.problem.windows import Windows, window_count


@pytest.mark.parametrize(("frames", "steps", "count"), [(100, 10, 91), (10, 10, 1), (9, 10, 0), (2, 2, 1)])
def test_count(frames: int, steps: int, count: int) -> None:
    assert window_count(frames, steps) == count


def test_five_simulations_of_100_frames_give_455_windows_of_10() -> None:
    assert len(Windows((100,) * 5, 10)) == 455


def test_windows_are_numbered_by_trajectory_and_start_the_generated_ones_last() -> None:
    windows = Windows((4, 3), 3, generated=(5,))
    places = [windows.locate(i) for i in range(len(windows))]
    assert places == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]
    assert (windows.real_count, windows.generated_count) == (3, 3)


@pytest.mark.parametrize("index", [-1, 6])
def test_a_window_that_does_not_exist_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"window {index} of 6"):
        Windows((4, 3), 3, generated=(5,)).locate(index)


def test_a_trajectory_that_is_too_short_has_no_window_and_shifts_nothing() -> None:
    assert [Windows((2, 4), 3).locate(i) for i in range(2)] == [(1, 0), (1, 1)]
    assert len(Windows((), 3)) == 0
    assert list(Windows((), 3).batches(4)) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [("both", [[0, 1, 2, 3], [4, 5]]), ("real", [[0, 1, 2]]), ("generated", [[3, 4, 5]])],
)
def test_without_a_generator_windows_come_in_order_and_the_last_batch_may_be_smaller(
    source: str, expected: list[list[int]]
) -> None:
    assert list(Windows((4, 3), 3, generated=(5,)).batches(4, source=source)) == expected


@pytest.mark.parametrize("resident", [1, 2, 3, 1 << 30])
def test_a_shuffled_pass_visits_every_window_once(resident: int) -> None:
    windows = Windows((9, 7, 8), 3, generated=(5, 6), resident=resident)
    batches = list(windows.batches(4, np.random.default_rng(1)))
    assert sorted(i for b in batches for i in b) == list(range(len(windows)))
    assert [len(b) for b in batches] == [4] * (len(windows) // 4) + [len(windows) % 4]
    assert [i for b in batches for i in b] != list(range(len(windows)))


def test_the_generator_decides_the_order() -> None:
    windows = Windows((30, 20), 4)
    first, again, other = (list(windows.batches(5, np.random.default_rng(seed))) for seed in (0, 0, 1))
    assert first == again != other


def test_real_windows_come_first_in_every_batch() -> None:
    windows = Windows((30,), 3, generated=(20, 20))
    batches = list(windows.batches(8, np.random.default_rng(3)))
    kinds = [[i >= windows.real_count for i in batch] for batch in batches]
    assert all(kind == sorted(kind) for kind in kinds)
    assert sum(any(kind) and not all(kind) for kind in kinds) > len(batches) // 2  # they are mixed


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_alpha_is_the_share_of_real_windows_and_leaves_the_generated_ones(alpha: float) -> None:
    windows = Windows((42,), 3, generated=(12,), alpha=alpha)
    seen = [i for batch in windows.batches(7, np.random.default_rng(0)) for i in batch]
    assert sum(i < 40 for i in seen) == 40 * alpha
    assert sorted(i for i in seen if i >= 40) == list(range(40, 50))


def test_passes_with_a_small_alpha_use_different_windows_and_at_least_one() -> None:
    windows = Windows((42,), 3, generated=(12,), alpha=0.01)
    used = {next(windows.batches(99, np.random.default_rng(seed)))[0] for seed in range(20)}
    assert len(used) > 10
    assert all(0 <= i < 40 for i in used)


def test_a_pass_in_order_ignores_alpha() -> None:
    windows = Windows((12,), 3, generated=(12,), alpha=0.1)
    assert [i for b in windows.batches(6, source="real") for i in b] == list(range(10))


@pytest.mark.parametrize("resident", [1, 2])
def test_trajectories_that_do_not_fit_into_memory_together_are_visited_in_groups(resident: int) -> None:
    windows = Windows((12,) * 6, 3, resident=resident)
    order = [i for b in windows.batches(1, np.random.default_rng(5)) for i in b]
    visited = [windows.locate(i)[0] for i in order]
    groups = [set(visited[i : i + 10 * resident]) for i in range(0, 60, 10 * resident)]
    assert all(len(group) == resident for group in groups)
    assert set.union(*groups) == set(range(6))
    assert visited != sorted(visited)


def test_generated_windows_are_spread_over_the_whole_pass() -> None:
    windows = Windows((202,), 3, generated=(102,))
    order = [i for b in windows.batches(30, np.random.default_rng(2)) for i in b]
    places = [n for n, i in enumerate(order) if i >= windows.real_count]
    assert len(places) == 100
    assert 90 < np.mean(places) < 210
    assert min(places) < 30
    assert max(places) > 270


def test_real_windows_keep_their_order_when_generated_ones_join() -> None:
    real = Windows((22,), 3)
    alone = [i for b in real.batches(5, np.random.default_rng(7)) for i in b]
    joined = Windows((22,), 3, generated=(8,)).batches(99, np.random.default_rng(7))
    assert [i for b in joined for i in b if i < 20] == alone


MASKED: dict[str, Any] = {
    "all": {},
    "frames": {"observed": (np.arange(9) % 2 == 0, np.arange(7) % 3 == 0)},
    "cells": {"space": np.eye(3, 4, dtype=bool)},
    "generated": {"points": ~np.eye(3, 4, dtype=bool)},
    "first": {"first_only": True, "space": np.eye(3, 4, dtype=bool)},
    "everything": {
        "observed": (np.arange(9) % 2 == 0, np.arange(7) % 3 == 0),
        "space": np.eye(3, 4, dtype=bool),
        "points": ~np.eye(3, 4, dtype=bool),
    },
}
masked = pytest.mark.parametrize("options", MASKED.values(), ids=MASKED)


@masked
def test_places_of_several_windows_are_those_of_each(options: dict[str, Any]) -> None:
    windows = Windows((9, 7), 4, generated=(6, 6), **options)
    numbers = np.random.default_rng(0).permutation(len(windows)).tolist()
    trajectories, starts = windows.positions(numbers)
    assert list(zip(trajectories.tolist(), starts.tolist(), strict=True)) == [
        windows.locate(n) for n in numbers
    ]
    for wrong in (-1, len(windows)):
        with pytest.raises(IndexError, match=f"window {wrong} of {len(windows)}"):
            windows.positions([0, wrong])


@masked
def test_what_is_observed_of_several_windows_is_what_is_observed_of_each(options: dict[str, Any]) -> None:
    windows = Windows((9, 7), 4, generated=(6, 6), **options)
    numbers = np.random.default_rng(1).permutation(len(windows)).tolist()
    expected = np.ones((len(numbers), 3, 3, 4), dtype=bool)
    for window, number in zip(expected, numbers, strict=True):
        trajectory, start = windows.locate(number)
        if trajectory < 2 and windows.observed is not None:
            window[~windows.observed[trajectory][start + 1 : start + 4]] = False
        cells = windows.space if trajectory < 2 else windows.points
        if cells is not None:
            window &= cells
    found = windows.observed_targets(numbers, (3, 4))
    assert (found is None) == bool(expected.all())
    assert found is None or np.array_equal(found, expected)


def test_masks_that_show_everything_are_no_masks() -> None:
    windows = Windows((9,), 4, observed=(np.ones(9, dtype=bool),), space=np.ones((3, 4), dtype=bool))
    assert windows.observed_targets([0, 3], (3, 4)) is None
    assert Windows((), 4, generated=(9,), observed=()).observed_targets([2], (3, 4)) is None
