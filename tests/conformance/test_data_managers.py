"""What every data manager promises, plain and behind an adapter."""

from __future__ import annotations

import gc
import logging
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.storage.hdf5 import simulation_path, write_trajectory
from tests.sides import Seen, implementation, registered, taken

GRID = Grid.of(x=(4.0, 8), y=(3.0, 6))
LAYOUT = FieldLayout((FieldSpec("velocity", vector=True), FieldSpec("height", static=True)), GRID.axes)
FRAMES = 5
MEGABYTES = 3 * FRAMES * 48 * 8 / 2**20  # of one trajectory in double precision
managers = pytest.mark.parametrize("seen", registered("data_manager"), ids=str)


def write(folder: Path, number: int, seed: int = 0, **changes: Any) -> NDArray[np.float64]:
    """One random trajectory on disk."""
    array = np.random.default_rng([seed, number]).standard_normal((3, FRAMES + number, *GRID.resolution))
    options = {"grid": GRID, "layout": LAYOUT, "dt": 0.5, "equation": "burgers", "parameters": {}, **changes}
    write_trajectory(simulation_path(folder / "data", number), array, fingerprint=f"{seed}", **options)
    return array


def build(seen: Seen, folder: Path, precision: str = "float64", **options: Any) -> Any:
    cls = implementation(seen.side, "data_manager", seen.name)
    settings: dict[str, Any] = {"device": "cpu", "precision": precision, **options}
    manager = cls(folder / "data", folder / "cache", grid=GRID, layout=LAYOUT, dt=0.5, **settings)
    return seen.adapted(manager, precision)


def numpy_of(manager: Any, simulation: int) -> NDArray[Any]:
    return taken(manager.load(simulation), manager.arrays, manager.layout).values


@managers
def test_a_trajectory_is_a_batch_of_one(seen: Seen, tmp_path: Path, precision: str) -> None:
    expected = write(tmp_path, 2)
    manager = build(seen, tmp_path, precision)
    found = taken(manager.load(2), manager.arrays, manager.layout)
    assert (manager.mode, manager.grid, manager.layout) == (seen.through, GRID, LAYOUT)
    assert found.dims == ("batch", "field", "time", "x", "y")
    assert found.names == {"field": ("velocity_x", "velocity_y", "height")}
    assert found.values.dtype == precision
    assert np.array_equal(found.values[0], expected.astype(precision))
    assert manager.frames(2) == FRAMES + 2


@managers
def test_what_was_cached_is_not_read_again_even_by_another_manager(seen: Seen, tmp_path: Path) -> None:
    expected = write(tmp_path, 0)
    first = build(seen, tmp_path)
    assert not first.is_cached(0)
    first.load(0)
    assert first.is_cached(0)
    source = simulation_path(tmp_path / "data", 0)
    before = source.stat()
    image = bytearray(source.read_bytes())
    place = image.find(expected.astype("<f8")[0, 0, :2].tobytes()[:8])
    assert place > 0
    image[place] ^= 1  # a damaged source, of the same size and age, would be refused if it were read
    source.write_bytes(bytes(image))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert np.array_equal(numpy_of(build(seen, tmp_path), 0)[0], expected)
    with pytest.raises(DataError):
        build(seen, tmp_path, "float32").load(0)


@managers
def test_a_second_load_hands_out_what_is_held(seen: Seen, tmp_path: Path) -> None:
    expected = write(tmp_path, 0)
    manager = build(seen, tmp_path)
    manager.load(0)
    for file in (tmp_path / "cache").iterdir():
        file.unlink()
    simulation_path(tmp_path / "data", 0).unlink()
    assert np.array_equal(numpy_of(manager, 0)[0], expected)


@managers
@pytest.mark.parametrize("damage", ["cut", "flipped", "not a cache"])
def test_a_damaged_cache_is_made_anew_with_one_warning(
    seen: Seen, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = write(tmp_path, 0)
    build(seen, tmp_path).load(0)
    (cache,) = (tmp_path / "cache").iterdir()
    image = bytearray(cache.read_bytes())
    place = image.find(expected.astype("<f8")[1, 2].tobytes())
    assert place > 0
    image[place + 5] ^= 64
    cache.write_bytes(
        {"cut": bytes(image[: len(image) // 2]), "flipped": bytes(image), "not a cache": b"?" * 99}[damage]
    )
    manager = build(seen, tmp_path)
    manager.prepare([0])
    assert np.array_equal(numpy_of(manager, 0)[0], expected)
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert cache.name in warnings[0]


@managers
def test_a_cache_of_other_data_is_made_anew(seen: Seen, tmp_path: Path) -> None:
    write(tmp_path, 0, seed=1)
    build(seen, tmp_path).load(0)
    expected = write(tmp_path, 0, seed=2)
    manager = build(seen, tmp_path)
    assert not manager.is_cached(0)
    assert np.array_equal(numpy_of(manager, 0)[0], expected)


@managers
def test_prepare_caches_what_is_missing(seen: Seen, tmp_path: Path) -> None:
    expected = [write(tmp_path, number) for number in range(3)]
    manager = build(seen, tmp_path)
    manager.prepare([0, 2])
    assert [manager.is_cached(n) for n in range(3)] == [True, False, True]
    assert np.array_equal(numpy_of(manager, 2)[0], expected[2])


@pytest.mark.parametrize("seen", [s for s in registered("data_manager") if s.mode != "hybrid"], ids=str)
def test_worker_processes_make_the_same_caches(seen: Seen, tmp_path: Path) -> None:
    expected = [write(tmp_path, number) for number in range(2)]
    manager = build(seen, tmp_path, workers=2)
    manager.prepare([0, 1])
    assert all(
        manager.is_cached(n) and np.array_equal(numpy_of(manager, n)[0], expected[n]) for n in range(2)
    )


@pytest.mark.parametrize("seen", [s for s in registered("data_manager") if s.mode != "hybrid"], ids=str)
def test_memory_is_bounded_and_the_least_recently_used_trajectory_goes(seen: Seen, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, number)
    manager = build(
        seen, tmp_path, memory_limit_mb=3.0 * MEGABYTES
    )  # trajectories of 5, 6 and 7 frames: two fit
    assert manager.resident([0, 1, 2]) == 2
    first, second = weakref.ref(manager.load(0)), weakref.ref(manager.load(1))
    manager.load(0)
    gc.collect()
    assert first() is not None
    assert second() is not None
    manager.load(2)
    gc.collect()
    assert first() is not None
    assert second() is None


@managers
def test_how_many_fit_into_memory_at_once(seen: Seen, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path, number)
    assert build(seen, tmp_path, memory_limit_mb=0.5 * MEGABYTES).resident([0]) == 1
    assert build(seen, tmp_path, memory_limit_mb=4.1 * MEGABYTES).resident([0]) == 4
    assert build(seen, tmp_path, memory_limit_mb=4.1 * MEGABYTES).resident([0, 1]) == 3
    assert build(seen, tmp_path, "float32", memory_limit_mb=4.1 * MEGABYTES).resident([0]) == 8


@managers
def test_trajectories_that_cannot_be_used_are_refused_by_name(seen: Seen, tmp_path: Path) -> None:
    write(tmp_path, 0, dt=0.25)
    write(tmp_path, 1, grid=Grid.of(x=(4.0, 8), y=(2.0, 6)))
    array = write(tmp_path, 2)
    array[0, 3, 2, 1] = np.nan
    options = {"grid": GRID, "layout": LAYOUT, "dt": 0.5, "equation": "burgers", "parameters": {}}
    write_trajectory(simulation_path(tmp_path / "data", 2), array, fingerprint="nan", **options)
    manager = build(seen, tmp_path)
    expectations = [
        (0, "time step of 0.5, got 0.25"),
        (1, "box of"),
        (2, "velocity_x of frame 3"),
        (3, "no such file"),
    ]
    for number, says in expectations:
        with pytest.raises(DataError, match=rf"sim_00000{number}\.h5.*{says}"):
            manager.load(number)


def test_phiml_holds_trajectories_in_either_backend(tmp_path: Path) -> None:
    expected = write(tmp_path, 0)
    seen = Seen("phiml", "default", "phiml")
    for backend in ("numpy", "torch"):
        manager = build(seen, tmp_path, backend=backend)
        assert manager.load(0).default_backend.name == backend
        assert np.array_equal(numpy_of(manager, 0)[0], expected)
