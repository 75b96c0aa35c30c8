"""How phiml mode holds the trajectories of a dataset: once, in one block, or by and by, within a limit."""

from __future__ import annotations

import threading
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.phiml.data_manager import DataManager
from hyco.phiml.dataset import Dataset
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.problem.observations import Observations, Sensors
from hyco.storage.caching import TrajectoryCache
from hyco.storage.hdf5 import simulation_path, write_trajectory

GRID = Grid.of(x=(4.0, 32), y=(3.0, 32))
LAYOUT = FieldLayout((FieldSpec("velocity", vector=True),), GRID.axes)
FRAMES, STEPS, COUNT = 20, 4, 16
NBYTES = 2 * FRAMES * GRID.cells * 8  # of one trajectory: 320 KiB
MEGABYTES = NBYTES / 2**20
backends = pytest.mark.parametrize("backend", ["numpy", "torch"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen trajectories, cached."""
    folder = tmp_path_factory.mktemp("held")
    for number in range(COUNT):
        write(folder, number)
    build(folder, 99).prepare(range(COUNT))
    return folder


def trajectory(number: int) -> NDArray[np.float64]:
    return np.random.default_rng(number).standard_normal((2, FRAMES, *GRID.resolution))


def write(folder: Path, number: int) -> None:
    where = simulation_path(folder / "data", number)
    options: dict[str, Any] = {"equation": "burgers", "parameters": {}, "fingerprint": "made up"}
    write_trajectory(where, trajectory(number), grid=GRID, layout=LAYOUT, dt=0.5, **options)


def build(folder: Path, room: float, backend: str = "numpy") -> DataManager:
    """A manager with room for so many trajectories."""
    return DataManager(
        folder / "data",
        folder / "cache",
        grid=GRID,
        layout=LAYOUT,
        dt=0.5,
        memory_limit_mb=room * MEGABYTES,
        backend=backend,
        device="cpu",
        precision="float64",
    )


def dataset(manager: DataManager, simulations: range, noise: float = 0.0) -> Dataset:
    sensors = Sensors(noise=noise)
    seen = Observations(physical=sensors, synthetic=sensors)
    made = Dataset(manager, tuple(simulations), rollout_steps=STEPS, observations=seen)
    return made.seen_by("synthetic") if noise else made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each trajectory was read."""
    found: Counter[int] = Counter()
    load = TrajectoryCache.load

    def counted(cache: TrajectoryCache, simulation: int) -> NDArray[Any]:
        found[simulation] += 1
        return load(cache, simulation)

    monkeypatch.setattr(TrajectoryCache, "load", counted)
    return found


def memory(manager: DataManager, tensor: Any) -> NDArray[Any]:
    return manager.arrays.numpy(tensor)


@backends
def test_a_block_and_a_manager_hold_one_copy(folder: Path, reads: Counter[int], backend: str) -> None:
    manager = build(folder, 4.5, backend)
    manager.load(1)
    data = dataset(manager, range(3))
    first = data.get_batch([0])
    assert manager._memory.nbytes == 3 * NBYTES
    for number in range(3):
        loaded = memory(manager, manager.load(number))
        assert np.array_equal(loaded[0], trajectory(number))
        assert np.shares_memory(loaded, np.asarray(manager.block((0, 1, 2)).rows))
    assert np.shares_memory(memory(manager, first.targets), memory(manager, manager.load(0)))
    assert manager.load(2) is manager.load(2)
    list(data.batches(4, rng=np.random.default_rng(0)))
    assert manager._memory.nbytes == 3 * NBYTES
    assert reads == {0: 1, 1: 1, 2: 1}


@backends
def test_blocks_of_several_datasets_share_the_limit(folder: Path, reads: Counter[int], backend: str) -> None:
    manager = build(folder, 4.5, backend)
    train, judge = dataset(manager, range(3)), dataset(manager, range(3, 5))
    for data in (train, judge, train):
        expected = trajectory(data.simulations[0])[:, 0]
        assert np.array_equal(memory(manager, data.get_batch([0]).initial)[0], expected)
        assert manager._memory.nbytes <= 4.5 * NBYTES
    assert reads == {0: 2, 1: 2, 2: 2, 3: 1, 4: 1}
    roomy = build(folder, 5.5, backend)
    for data in (dataset(roomy, range(3)), dataset(roomy, range(3, 5))) * 2:
        data.get_batch([0])
    assert roomy._memory.nbytes == 5 * NBYTES


def peak_of_a_pass(folder: Path, count: int, room: float) -> int:
    """The most memory, in bytes, that numpy takes during a shuffled pass over so many trajectories."""
    data = dataset(build(folder, room), range(count))
    windows = count * (FRAMES - STEPS + 1)
    tracemalloc.start()
    try:
        found = sum(batch.size for batch in data.batches(2, rng=np.random.default_rng(0)))
        assert found == windows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_data(folder: Path) -> None:
    batches = 3 * 2 * 2 * STEPS * GRID.cells * 8  # two are kept, and one more is there while they change
    few, many = (peak_of_a_pass(folder, count, 3.5) for count in (5, COUNT))
    assert many < 3.5 * NBYTES + NBYTES + batches  # the limit, and what is on its way into it
    assert many < few + 0.5 * NBYTES
    assert peak_of_a_pass(folder, COUNT, COUNT + 1) > 15 * NBYTES  # that it would otherwise


@backends
@pytest.mark.parametrize("noise", [0.0, 0.1], ids=["clean", "noisy"])
@pytest.mark.parametrize("room", [0.5, 1.5, 3.5, 7.5])
def test_what_does_not_fit_is_read_about_once_a_pass(
    folder: Path, reads: Counter[int], backend: str, room: float, noise: float
) -> None:
    data = dataset(build(folder, room, backend), range(COUNT), noise)
    small = list(data.batches(1, rng=np.random.default_rng(2)))
    assert len(small) == COUNT * (FRAMES - STEPS + 1)
    assert sum(reads.values()) <= COUNT + 1
    reads.clear()
    assert sum(b.size for b in data.batches(8)) == len(small)
    assert sum(reads.values()) <= COUNT


@pytest.mark.parametrize("noise", [0.0, 0.1], ids=["clean", "noisy"])
def test_the_next_group_is_read_while_this_one_is_used(
    folder: Path, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the last window of a trajectory was cut, the next trajectory is read without being asked for.

    With noise, as soon as the noise was added.
    """
    began = {s: threading.Event() for s in range(4)}
    load = TrajectoryCache.load

    def noted(cache: TrajectoryCache, simulation: int) -> NDArray[Any]:
        began[simulation].set()
        return load(cache, simulation)

    monkeypatch.setattr(TrajectoryCache, "load", noted)
    size = FRAMES - STEPS + 1
    batches = dataset(build(folder, 1.5), range(4), noise).batches(size // 2 if noise else size)
    next(batches)
    assert began[1].wait(10.0)
    assert not began[2].is_set()
    batches.close()  # type: ignore[attr-defined]


def test_noise_is_the_same_whether_all_fits_or_is_read_ahead(folder: Path, reads: Counter[int]) -> None:
    few, all_of_them = (dataset(build(folder, room), range(8), 0.1) for room in (2.5, 99))
    for _ in range(2):
        for seen, expected in zip(few.batches(3), all_of_them.batches(3), strict=True):
            manager = few.manager
            assert np.array_equal(memory(manager, seen.initial), memory(manager, expected.initial))
            assert np.array_equal(memory(manager, seen.targets), memory(manager, expected.targets))
    assert reads == dict.fromkeys(range(8), 3)  # once for the one that holds all, once a pass for the other
    list(few.batches(3, rng=np.random.default_rng(0)))
    assert few.manager._memory._reserved == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", ["dropped", "error", "exhausted"])
def test_no_thread_is_left(folder: Path, tmp_path: Path, end: str) -> None:
    before = set(threading.enumerate())
    manager = build(folder, 2.5)
    data = dataset(manager, range(6))
    if end == "error":
        for number in range(3):
            write(tmp_path, number)
        manager = build(tmp_path, 1.5)
        data = dataset(manager, range(3))
        broken = simulation_path(tmp_path / "data", 2)
        image = bytearray(broken.read_bytes())
        place = image.find(np.ascontiguousarray(trajectory(2)[:, 0, 0, 0]).tobytes())
        assert place > 0
        image[place] ^= 255
        broken.write_bytes(bytes(image))
        with pytest.raises(DataError, match=r"sim_000002\.h5"):
            list(data.batches(5))
    else:
        batches = data.batches(5)
        next(batches)
        assert set(threading.enumerate()) > before
        if end == "exhausted":
            list(batches)
        del batches
    assert set(threading.enumerate()) == before
    assert manager._readers == []
    assert manager._memory.reserve(0) and manager._memory._reserved == 0


def test_data_in_memory_needs_no_thread(folder: Path) -> None:
    before = set(threading.enumerate())
    for _ in dataset(build(folder, 6.5), range(6)).batches(5):
        assert set(threading.enumerate()) == before


def test_a_pass_within_a_pass_reads_what_it_needs(folder: Path) -> None:
    manager = build(folder, 2.5)
    outer, inner = dataset(manager, range(4)), dataset(manager, range(4, 8))
    for number, batch in enumerate(outer.batches(FRAMES - STEPS + 1)):
        assert np.array_equal(memory(manager, batch.initial)[3], trajectory(number)[:, 3])
        for other, within in enumerate(inner.batches(FRAMES - STEPS + 1), 4):
            assert np.array_equal(memory(manager, within.initial)[5], trajectory(other)[:, 5])
        assert manager._memory.nbytes <= 2.5 * NBYTES
