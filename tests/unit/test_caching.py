"""Caches of trajectories: made once, valid for exactly one source, made anew with one warning."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.storage.caching import Algorithm, CacheEntry, RememberedFacts, TrajectoryCache, checksum
from hyco.storage.hdf5 import simulation_path, write_trajectory

GRID = Grid.of(x=(3.0, 6), y=(2.0, 4))
LAYOUT = FieldLayout((FieldSpec("velocity", vector=True),), GRID.axes)


class NumpyFormat:
    """Cache entries as `.npz` files."""

    suffix = ".npz"

    def write(self, path: Path, entry: CacheEntry) -> None:
        """All of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, array=entry.array, facts=np.array([entry.fingerprint, entry.checksum, entry.fits]))

    def read(self, path: Path) -> CacheEntry:
        """All of it; ValueError when it is none."""
        try:
            with np.load(path) as content:
                return CacheEntry(content["array"], *content["facts"].tolist())
        except Exception as error:
            raise ValueError("not a cache") from error

    def read_fingerprint(self, path: Path) -> str:
        """The fingerprint."""
        return self.read(path).fingerprint

    def read_origin(self, path: Path) -> tuple[str, str]:
        """The fingerprint, and what the source fits."""
        entry = self.read(path)
        return entry.fingerprint, entry.fits


def write_simulation(folder: Path, number: int, seed: int = 0) -> NDArray[np.float64]:
    """A random trajectory on disk."""
    array = np.random.default_rng([seed, number]).standard_normal((2, 5, *GRID.resolution))
    write_trajectory(
        simulation_path(folder, number),
        array,
        grid=GRID,
        layout=LAYOUT,
        dt=0.5,
        equation="burgers",
        parameters={},
        fingerprint=f"settings {seed}",
    )
    return array


@pytest.fixture(params=["plain", "quick"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> TrajectoryCache:
    """Caches of three trajectories in double precision, as legacy mode has them, and as phiml mode has."""
    for number in range(3):
        write_simulation(tmp_path / "data", number)
    form = NumpyFormat()
    made = TrajectoryCache(tmp_path / "data", tmp_path / "cache", GRID, LAYOUT, 0.5, "float64", form)
    if request.param == "plain":
        return made
    return replace(made, algorithm="xxh3", facts=RememberedFacts(), origin=form.read_origin)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings so far."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def poison(cache: TrajectoryCache, number: int) -> None:
    """Replace what a valid cache holds, checksum and all, so that reading it shows."""
    entry = cache.format.read(cache.path(number))
    array = np.full_like(entry.array, 7.0)
    total = checksum(array, cache.algorithm)
    cache.format.write(cache.path(number), replace(entry, array=array, checksum=total))


def test_the_first_load_makes_a_cache_and_the_second_reads_it(cache: TrajectoryCache) -> None:
    expected = write_simulation(cache.data_dir, 1)
    assert not cache.is_cached(1)
    assert np.array_equal(cache.load(1), expected)
    assert cache.is_cached(1)
    assert not cache.is_cached(0)
    poison(cache, 1)
    assert np.all(cache.load(1) == 7.0)


def test_a_trajectory_is_cached_in_the_precision_asked_for(cache: TrajectoryCache) -> None:
    single = replace(cache, precision="float32")
    array = single.load(0)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert np.array_equal(array, cache.load(0).astype(np.float32))


def test_facts_come_without_loading(cache: TrajectoryCache) -> None:
    assert cache.frames(2) == 5
    assert cache.nbytes(2) == 2 * 5 * 24 * 8
    assert replace(cache, precision="float32").nbytes(2) == 2 * 5 * 24 * 4
    assert not cache.cache_dir.exists()
    assert cache.path(2) == cache.cache_dir / "sim_000002.npz"


def touched(cache: TrajectoryCache) -> TrajectoryCache:
    """The same trajectory, written again later."""
    os.utime(simulation_path(cache.data_dir, 0), ns=(1, 1))
    return cache


def rewritten(cache: TrajectoryCache) -> TrajectoryCache:
    """Another trajectory in the same place, as old as the first one."""
    path = simulation_path(cache.data_dir, 0)
    before = path.stat()
    write_simulation(cache.data_dir, 0, seed=1)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return cache


def other_precision(cache: TrajectoryCache) -> TrajectoryCache:
    """The same folder in single precision."""
    return replace(cache, precision="float32")


@pytest.mark.parametrize("change", [touched, rewritten, other_precision])
@pytest.mark.parametrize("prepared", [True, False])
def test_a_stale_cache_is_made_anew_with_one_warning(
    cache: TrajectoryCache, caplog: pytest.LogCaptureFixture, change: object, prepared: bool
) -> None:
    cache.load(0)
    poison(cache, 0)
    cache = change(cache)  # type: ignore[operator]
    assert not cache.is_cached(0)
    if prepared:
        cache.prepare([0])
    assert not np.any(cache.load(0) == 7.0)
    assert cache.is_cached(0)
    cache.load(0)
    (warning,) = warnings_of(caplog)
    assert "sim_000000.npz" in warning
    assert "stale" in warning


@pytest.mark.parametrize("damage", ["value", "cut", "empty"])
@pytest.mark.parametrize("prepared", [True, False])
def test_a_damaged_cache_is_made_anew_with_one_warning(
    cache: TrajectoryCache, caplog: pytest.LogCaptureFixture, damage: str, prepared: bool
) -> None:
    expected = cache.load(0).copy()
    path = cache.path(0)
    if damage == "value":
        entry = cache.format.read(path)
        entry.array[0, 0, 0, 0] += 1.0
        cache.format.write(path, entry)
    else:
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"")
    if prepared:
        cache.prepare([0])
    assert np.array_equal(cache.load(0), expected)
    assert np.array_equal(cache.load(0), expected)
    (warning,) = warnings_of(caplog)
    assert "sim_000000.npz" in warning
    assert "made anew" in warning


def test_prepare_makes_what_is_missing_and_says_what_was_there(
    cache: TrajectoryCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.load(1)
    poison(cache, 1)
    with caplog.at_level(logging.INFO, "hyco.data"):
        cache.prepare([0, 1, 1, 2])
    assert [cache.is_cached(i) for i in range(3)] == [True] * 3
    assert np.all(cache.load(1) == 7.0)
    assert "1 of 3 trajectories are loaded from the cache" in caplog.text
    assert "caching 2" in caplog.text
    assert not warnings_of(caplog)


def test_workers_make_the_same_caches_as_one_process(cache: TrajectoryCache) -> None:
    replace(cache, workers=2).prepare([0, 1, 2])
    for number in range(3):
        assert cache.is_cached(number)
        assert np.array_equal(cache.load(number), write_simulation(cache.data_dir.parent / "again", number))


def test_workers_start_only_when_their_memory_allows_it(
    cache: TrajectoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("hyco.storage.caching.ProcessPoolExecutor", refuse)
    replace(cache, workers=4, limit_bytes=3 * cache.nbytes(0)).prepare([0, 1, 2])
    assert cache.is_cached(2)
    for number in range(3):
        cache.path(number).unlink()
    with pytest.raises(AssertionError, match="a worker was started"):
        replace(cache, workers=4, limit_bytes=6 * cache.nbytes(0)).prepare([0, 1, 2])


def test_a_broken_trajectory_is_an_error_and_leaves_no_cache(cache: TrajectoryCache) -> None:
    path = simulation_path(cache.data_dir, 0)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"sim_000000\.h5"):
        cache.load(0)
    with pytest.raises(DataError, match=r"sim_000009\.h5.*no such file"):
        cache.prepare([1, 9])
    assert not cache.path(0).exists()


def test_a_trajectory_of_another_problem_is_refused(cache: TrajectoryCache) -> None:
    cache.load(0)  # a cache that is valid changes nothing about it
    for other, says in (
        ({"dt": 0.25}, "time step"),
        ({"grid": Grid.of(x=(3.5, 6), y=(2.0, 4))}, "box"),
        ({"layout": FieldLayout((FieldSpec("density"),), GRID.axes)}, "field density"),
    ):
        another = replace(cache, **other)
        for use in (another.load, another.is_cached, lambda s, a=another: a.prepare([s])):
            with pytest.raises(DataError, match=says):
                use(0)
    assert cache.is_cached(0)


def test_a_checksum_of_either_kind_is_understood(
    cache: TrajectoryCache, caplog: pytest.LogCaptureFixture
) -> None:
    expected = cache.load(0)
    for algorithm in ("blake2b", "xxh3"):
        entry = cache.format.read(cache.path(0))
        cache.format.write(cache.path(0), replace(entry, checksum=checksum(expected, algorithm), fits=""))
        assert np.array_equal(cache.load(0), expected)
        assert cache.format.read(cache.path(0)).checksum == checksum(expected, algorithm)
    assert not warnings_of(caplog)


@pytest.mark.parametrize("cache", ["quick"], indirect=True)
def test_an_unchanged_source_is_not_looked_at_twice(
    cache: TrajectoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = cache.load(0)

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("hyco.storage.caching.read_facts", refuse)
    fresh = replace(cache, facts=RememberedFacts())
    assert np.array_equal(fresh.load(0), expected)
    assert fresh.is_cached(0)
    with pytest.raises(AssertionError, match="was read"):
        touched(fresh).is_cached(0)


def test_facts_are_read_again_when_the_file_has_changed(cache: TrajectoryCache) -> None:
    facts, path = RememberedFacts(), simulation_path(cache.data_dir, 0)
    first = facts(path)
    assert facts(path) is first
    rewritten(cache)  # of the same size and age
    assert facts(path).fingerprint == "settings 1" != first.fingerprint
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        facts(path)


@pytest.mark.parametrize("algorithm", ["blake2b", "xxh3"])
def test_a_checksum_sees_every_bit_and_not_the_memory_order(
    rng: np.random.Generator, algorithm: Algorithm
) -> None:
    array = rng.standard_normal((3, 4))
    total = checksum(array, algorithm)
    assert checksum(np.asfortranarray(array), algorithm) == total
    for bit in range(64):
        flipped = array.copy()
        flipped.view(np.uint64)[2, 3] ^= np.uint64(1 << bit)
        assert checksum(flipped, algorithm) != total
